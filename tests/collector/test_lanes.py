"""Lanes: which tenant reaches which destination with what, and whose sampling depends on whom."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import Collector, Span, beside_an_error, fill, logs, plain, requests, running, spans, wait_for

from theodore_otel.conventions import names

OWNERS = ["acme", "initech", "globex", "umbrella", "hooli"]


def tenants_of(folder: Path, name: str) -> list[str]:
    """Return the tenants of the spans of that name in a folder."""
    return sorted(resource["tenant.id"] for resource, span in spans(folder) if span["name"] == name)


# --- destinations and attributes of single tenants


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """Send the same as everybody to two destinations; return the folder of both."""
    folder = tmp_path_factory.mktemp("chosen")
    configuration = {
        "tracing": {"sampling": {"rate": 1.0, "decision_wait": "1s"}},
        "logging": {"deduplicate": {"enabled": True, "interval": "1s"}},
        "destinations": {name: {"type": "file", "directory": str(folder / name)} for name in ("first", "second")},
        "tenants": {
            "list": {
                "acme": {"isolation": "dedicated", "drop_attributes": ["customer.name"]},
                "initech": {"isolation": "dedicated", "destinations": ["second"]},
                "globex": {
                    "destinations": {"first": {}, "second": {"categories": ["audit", "business"]}},
                    "keep_attributes": ["kept"],
                },
                "umbrella": {"destinations": {"first": {"signals": ["logs"]}}},
            }
        },
    }
    attributes = {"customer.name": "Jo", "kept": "yes", "other": "yes"}
    with running(folder, configuration, OWNERS) as collector:
        for owner in OWNERS:
            request = ExportTraceServiceRequest()
            group = request.resource_spans.add()
            fill(group.resource.attributes, {"service.name": "theodore-v2", **attributes})
            span = group.scope_spans.add().spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="work")
            fill(span.attributes, {**attributes, names.OPERATION_TYPE: "ai"})
            fill(span.events.add(name="event").attributes, attributes)
            assert collector.post("traces", request.SerializeToString(), f"{owner}.1") == 200
            for category in ("system", "audit", "business"):
                record = (9, category, {**attributes, names.CATEGORY: category})
                assert collector.send_logs([record] * 3, f"{owner}.1") == 200
            assert collector.send_gauge("a.gauge", 1, attributes, f"{owner}.1") == 200
        complete = [folder / "first", folder / "first/acme", folder / "second/acme", folder / "second/initech"]
        for each in complete:
            wait_for(lambda each=each: spans(each) and points(each) and len({b for _, b in bodies(each)}) == 3, 20)
        wait_for(lambda: len(tenants_of(folder / "first", "work")) == 2 and len(points(folder / "first")) == 2)
    return folder


def bodies(folder: Path) -> set[tuple[str, str]]:
    return {(resource["tenant.id"], record["body"]["stringValue"]) for resource, record in logs(folder)}


def points(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return (tenant, attributes) of every point."""
    return [
        (plain(group["resource"]["attributes"])["tenant.id"], plain(point["attributes"]))
        for request in requests(folder, "metrics")
        for group in request["resourceMetrics"]
        for scope in group["scopeMetrics"]
        for metric in scope["metrics"]
        if metric["name"] == "a.gauge"
        for point in metric["gauge"]["dataPoints"]
    ]


def test_each_tenant_reaches_the_destinations_it_chose_and_no_other(chosen):
    everything = {"system", "audit", "business"}
    wanted = {
        "first": {"globex": everything, "umbrella": everything, "hooli": everything},
        "first/acme": {"acme": everything},
        "first/initech": {},
        "second": {"globex": {"audit", "business"}, "hooli": everything},
        "second/acme": {"acme": everything},
        "second/initech": {"initech": everything},
    }
    for lane, tenants in wanted.items():
        found = bodies(chosen / lane)
        assert found == {(tenant, body) for tenant, all_bodies in tenants.items() for body in all_bodies}, lane
        others = sorted(tenant for tenant in tenants if tenant != "umbrella")
        assert tenants_of(chosen / lane, "work") == others, lane
        assert sorted(tenant for tenant, _ in points(chosen / lane)) == others, lane


def test_attributes_that_a_tenant_drops_or_does_not_keep_are_gone_at_every_level(chosen):
    own = {"service.name", "tenant.id"}
    every = {"customer.name", "kept", "other"}
    wanted = {"first/acme": every - {"customer.name"}, "first": {"globex": {"kept"}, "hooli": every}}
    for lane, kept in wanted.items():
        for resource, span in spans(chosen / lane):
            expected = kept[resource["tenant.id"]] if isinstance(kept, dict) else kept
            # A tenant that keeps only some attributes does so for records; the resource says where they come from.
            on_resource = every if resource["tenant.id"] == "globex" else expected
            assert set(resource) == own | on_resource, lane
            assert set(span["attributes"]) == {names.OPERATION_TYPE} | expected, lane
            assert set(plain(span["events"][0].get("attributes", []))) == expected, lane
        for resource, record in logs(chosen / lane):
            expected = kept.get(resource["tenant.id"], every) if isinstance(kept, dict) else kept
            assert set(record["attributes"]) - set(DEDUPLICATED) == {names.CATEGORY} | expected, lane
    assert {tenant: set(each) for tenant, each in points(chosen / "first/acme") + points(chosen / "first")} == {
        "acme": {"tenant", "service", "kept", "other"},
        "globex": {"tenant", "service", *every},
        "hooli": {"tenant", "service", *every},
    }


DEDUPLICATED = ("log_count", "first_observed_timestamp", "last_observed_timestamp")


def test_equal_records_are_counted_for_each_tenant_and_audit_ones_are_not_joined(chosen):
    found = [
        (resource["tenant.id"], record["body"]["stringValue"], int(record["attributes"].get("log_count", 0)))
        for resource, record in logs(chosen / "first")
    ]
    for tenant in ("umbrella", "hooli"):
        assert sum(count for owner, body, count in found if (owner, body) == (tenant, "system")) == 3
        assert [count for owner, body, count in found if (owner, body) == (tenant, "audit")] == [0, 0, 0]


# --- sampling


@pytest.fixture
def sampled(tmp_path):
    """Run a collector that keeps errors only; acme and initech are dedicated, initech keeps all."""
    configuration = {
        "tracing": {"sampling": {"rate": 0.0, "decision_wait": "1s", "max_traces": 100}},
        "destinations": {"files": {"type": "file", "directory": str(tmp_path / "files")}},
        "tenants": {
            "list": {
                "acme": {"isolation": "dedicated"},
                "initech": {"isolation": "dedicated", "sampling": {"traces": 1.0}},
            }
        },
    }
    with running(tmp_path, configuration, OWNERS) as collector:
        yield collector


def lane(collector: Collector, tenant: str) -> Path:
    return collector.folder / "files" / (tenant if tenant in ("acme", "initech") else "")


def decided(collector: Collector, *tenants: str) -> None:
    """Wait until all that was sent before is decided."""
    for tenant in tenants:
        mark = os.urandom(4).hex()
        collector.send_spans(beside_an_error(mark), f"{tenant}.1")
        wait_for(lambda tenant=tenant, mark=mark: tenants_of(lane(collector, tenant), mark))


def kept(collector: Collector, name: str) -> set[str]:
    """Return the tenants whose spans of that name were kept."""
    return {each for tenant in ("acme", "initech", "") for each in tenants_of(lane(collector, tenant), name)}


def test_a_dedicated_tenants_sampling_does_not_depend_on_what_others_send_under_its_trace_id(sampled):
    first, second, third = (os.urandom(16) for _ in range(3))
    sampled.send_spans([Span("an error of acme", trace=first, error=True)], "acme.1")
    for other in ("initech", "globex"):
        sampled.send_spans([Span("beside an error of acme", trace=first)], f"{other}.1")
    sampled.send_spans([Span("an error of globex", trace=second, error=True)], "globex.1")
    sampled.send_spans([Span("beside an error of globex", trace=second)], "acme.1")
    # Others have had the trace id decided against before acme uses it.
    for other in ("globex", "umbrella"):
        sampled.send_spans([Span("sent ahead", trace=third)], f"{other}.1")
    decided(sampled, "globex", "initech")
    sampled.send_spans([Span("an error after another's decision", trace=third, error=True)], "acme.1")
    decided(sampled, "acme", "globex")
    assert kept(sampled, "an error of acme") == {"acme"}
    assert kept(sampled, "beside an error of acme") == {"initech"}
    assert kept(sampled, "an error of globex") == {"globex"}
    assert kept(sampled, "beside an error of globex") == set()
    assert kept(sampled, "sent ahead") == set()
    assert kept(sampled, "an error after another's decision") == {"acme"}


def test_who_knows_a_trace_id_in_the_shared_lane_decides_about_the_trace_but_gets_none_of_it(sampled):
    """What docs/tenants.md says of the shared lane; it is what a dedicated one is for."""
    costly, lost = os.urandom(16), os.urandom(16)
    sampled.send_spans([Span("ordinary", trace=costly)], "globex.1")
    sampled.send_spans([Span("an error under its trace id", trace=costly, error=True)], "umbrella.1")
    sampled.send_spans([Span("sent ahead", trace=lost)], "umbrella.1")
    decided(sampled, "umbrella")
    too_late = [Span("an error too late", trace=lost, error=True), Span("beside an error too late", trace=lost)]
    sampled.send_spans(too_late, "globex.1")
    sampled.send_spans([Span("an error of its own", error=True)], "globex.1")
    decided(sampled, "globex")
    assert kept(sampled, "ordinary") == {"globex"}
    assert kept(sampled, "an error under its trace id") == {"umbrella"}
    assert kept(sampled, "beside an error too late") == set()
    assert kept(sampled, "an error too late") == {"globex"}
    assert kept(sampled, "an error of its own") == {"globex"}


def test_a_flood_in_the_shared_lane_makes_its_tenants_wait_and_no_dedicated_one(sampled):
    with flood(lambda: sampled.send_spans([Span() for _ in range(50)], "umbrella.1")):
        # Three times what the sampler holds has come: whoever sends waits for decisions now.
        wait_for(lambda: received(sampled) >= 300, 60, lambda: received(sampled))
        patient = threading.Thread(target=lambda: sampled.send_spans([Span("patient", error=True)], "globex.1"))
        patient.start()
        for number in range(5):
            sampled.send_spans([Span(f"ordinary {number}") for _ in range(10)], "initech.1")
            sampled.send_spans([Span(f"error {number}", error=True) for _ in range(10)], "acme.1")
            wait_for(lambda n=number: len(tenants_of(lane(sampled, "initech"), f"ordinary {n}")) == 10)
            wait_for(lambda n=number: len(tenants_of(lane(sampled, "acme"), f"error {n}")) == 10)
    wait_for(lambda: kept(sampled, "patient") == {"globex"}, 60)
    patient.join()


def received(collector: Collector) -> float:
    series = collector.prometheus("telemetry")
    return sum(value for name, value in series.items() if name.startswith("otelcol_receiver_accepted_spans{"))


@contextmanager
def flood(send: Callable[[], object]) -> Iterator[None]:
    """Send without end from eight threads for the length of a block."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with suppress(OSError, HTTPException):
                send()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()

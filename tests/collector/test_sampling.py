"""Which traces and log records are kept: exactly those that have to be, and of the rest as many as the rate says.

Numbers left to chance are checked against bounds that a right rate breaks once in a thousand million times.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from math import comb

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.collector import Collector, Span, fill, running, spans, wait_for

from theodore_otel.conventions import names

FALSE_ALARMS = 1e-9


def bounds(number: int, rate: float) -> tuple[int, int]:
    """Return the numbers between which a binomial variable lies but for FALSE_ALARMS, half of them at each end."""
    chances = [comb(number, k) * rate**k * (1 - rate) ** (number - k) for k in range(number + 1)]
    return _tail(chances), number - _tail(chances[::-1])


def _tail(chances: Sequence[float]) -> int:
    total = 0.0
    for k, chance in enumerate(chances):
        total += chance
        if total > FALSE_ALARMS / 2:
            return k
    return len(chances) - 1


def test_the_bounds_are_those_of_the_binomial_distribution():
    assert bounds(10, 0.0) == (0, 0)
    assert bounds(10, 1.0) == (10, 10)
    low, high = bounds(1000, 0.2)
    chances = [comb(1000, k) * Fraction(1, 5) ** k * Fraction(4, 5) ** (1000 - k) for k in range(1001)]
    assert sum(chances[:low]) <= FALSE_ALARMS / 2 < sum(chances[: low + 1])
    assert sum(chances[high + 1 :]) <= FALSE_ALARMS / 2 < sum(chances[high:])


# --- traces

# Seconds from which a span is slow, by kind of operation.
SLOW = {"ai": 2.0, "scraping": 3.0, "storage": 1.0, "research": 4.0}
KEPT = ("error at the root", "error below", "error in another service", "slow ai", "slow scraping", "slow storage",
        "slow research", "slow and an error")  # fmt: skip
ORDINARY = ("ordinary", "almost slow", "slow but no operation", "status ok", "single")
# Share of ordinary traces kept, and whether the tenant is dedicated.
RATES = {
    "acme": (0.2, False), "globex": (1.0, False), "umbrella": (0.0, False), "hooli": (0.6, False),
    "initech": (0.5, True), "stark": (1.0, True), "wayne": (0.0, True), "cyberdyne": (0.2, True),
}  # fmt: skip
GENERAL = 0.2
EACH = 12
"""Traces of each kind and tenant; of ordinary kinds five times as many."""


_numbers = itertools.count()


@dataclass
class Trace:
    """A generated trace."""

    tenant: str
    kind: str
    id: bytes = field(default_factory=lambda: os.urandom(16))
    spans: list[tuple[str, Span]] = field(default_factory=list)
    """With the service each comes from."""

    def ids(self) -> set[str]:
        return {span.name for _, span in self.spans}


def generate(tenant: str, kind: str, chance: random.Random) -> Trace:
    """Return a trace of one to seven spans, of one to three services; its spans' names are unique."""
    trace = Trace(tenant, kind)
    number = 1 if kind == "single" else chance.randint(2, 7)
    services = ["api"] + [chance.choice(["api", "worker", "scraper"]) for _ in range(number - 1)]
    for service in services:
        attributes = {names.OPERATION_TYPE: chance.choice([*SLOW, "command", "similarity"])}
        trace.spans.append(
            (service, Span(f"span {next(_numbers)}", attributes, trace.id, chance.randint(1, 5), seconds=0.5))
        )
    _mark(trace, kind, chance)
    return trace


def _mark(trace: Trace, kind: str, chance: random.Random) -> None:
    at = 0 if kind == "error at the root" else chance.randrange(1, len(trace.spans)) if len(trace.spans) > 1 else 0
    service, span = trace.spans[at]
    if kind.startswith("error"):
        span.error = True
        trace.spans[at] = ("elsewhere" if kind == "error in another service" else service, span)
    for operation, seconds in SLOW.items():
        if kind == f"slow {operation}" or (kind == "slow and an error" and operation == "ai"):
            span.attributes, span.seconds = {names.OPERATION_TYPE: operation}, seconds + 0.001
    if kind == "slow and an error":
        trace.spans[0][1].error = True
    if kind == "almost slow":
        operation = chance.choice(list(SLOW))
        span.attributes, span.seconds = {names.OPERATION_TYPE: operation}, SLOW[operation]
    if kind == "slow but no operation":
        span.attributes, span.seconds = {}, 600.0


def send(collector: Collector, tenant: str, parts: Sequence[tuple[str, Span]]) -> None:
    """Send spans of any traces in one request, a resource for each service."""
    request, now = ExportTraceServiceRequest(), time.time_ns()
    for service in sorted({service for service, _ in parts}):
        group = request.resource_spans.add()
        fill(group.resource.attributes, {"service.name": service})
        scopes = [group.scope_spans.add(), group.scope_spans.add()]
        for number, (_, span) in enumerate(part for part in parts if part[0] == service):
            made = scopes[number % 2].spans.add(trace_id=span.trace, span_id=os.urandom(8), name=span.name)
            made.start_time_unix_nano, made.end_time_unix_nano = now - int(span.seconds * 1e9), now
            made.kind, made.status.code = span.kind, 2 if span.error else number % 2
            fill(made.attributes, span.attributes or {})
    assert collector.post("traces", request.SerializeToString(), f"{tenant}.1") == 200


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Send traces of every kind as every tenant, their spans mixed over many requests; return them and what was kept.

    A third of them has half of its spans sent when all the rest has gone.
    """
    folder = tmp_path_factory.mktemp("traces")
    tenants = {name: {"isolation": "dedicated"} if dedicated else {} for name, (rate, dedicated) in RATES.items()}
    for name, (rate, _) in RATES.items():
        if rate != GENERAL:
            tenants[name]["sampling"] = {"traces": rate}
    configuration = {
        "tracing": {
            "sampling": {
                # Long enough for the parts that come late on a machine that is busy.
                "decision_wait": "8s",
                "rate": GENERAL,
                "slow": {operation: f"{int(seconds)}s" for operation, seconds in SLOW.items()},
            }
        },
        "destinations": {"files": {"type": "file", "directory": str(folder / "files")}},
        "tenants": {"list": tenants},
    }
    chance = random.Random(20)
    traces = [
        generate(tenant, kind, chance)
        for tenant in RATES
        for kinds, number in ((KEPT, EACH), (ORDINARY, 5 * EACH))
        for kind in kinds
        for _ in range(number)
    ]
    with running(folder, configuration, list(RATES)) as collector:
        early, late = {name: [] for name in RATES}, {name: [] for name in RATES}
        for number, trace in enumerate(traces):
            chance.shuffle(trace.spans)
            held = len(trace.spans) // 2 if number % 3 == 0 else 0
            late[trace.tenant] += trace.spans[:held]
            early[trace.tenant] += trace.spans[held:]
        for part in (early, late):
            for tenant, parts in part.items():
                chance.shuffle(parts)
                for start in range(0, len(parts), 100):
                    send(collector, tenant, parts[start : start + 100])

        def found() -> Counter[tuple[str, str]]:
            folders = [folder / "files" / (name if dedicated else "") for name, (_, dedicated) in RATES.items()]
            return Counter(
                (resource["tenant.id"], span["name"])
                for each in dict.fromkeys(folders)
                for resource, span in spans(each)
            )

        wanted = {(t.tenant, name) for t in traces if t.kind in KEPT for name in t.ids()}
        with suppress(AssertionError):  # what is missing is told by the test that asks for it
            wait_for(lambda: wanted <= set(found()), 40)
        # Decided after all others, so those are decided too.
        for tenant in RATES:
            collector.send_spans([Span("the last", error=True)], f"{tenant}.1")
        wait_for(lambda: {(tenant, "the last") for tenant in RATES} <= set(found()), 40)
        return traces, found()


def test_every_error_and_every_slow_operation_is_kept(sampled):
    traces, found = sampled
    lost = Counter(t.kind for t in traces if t.kind in KEPT and not all((t.tenant, n) in found for n in t.ids()))
    assert not lost


def test_a_kept_trace_is_whole_and_each_span_there_once(sampled):
    traces, found = sampled
    for trace in traces:
        there = [name for name in trace.ids() if (trace.tenant, name) in found]
        assert len(there) in (0, len(trace.spans)), trace
    assert set(found.values()) == {1}


@pytest.mark.parametrize("tenant", list(RATES))
def test_of_ordinary_traces_the_tenants_share_is_kept(sampled, tenant):
    traces, found = sampled
    ordinary = [trace for trace in traces if trace.tenant == tenant and trace.kind in ORDINARY]
    kept = sum((tenant, trace.spans[0][1].name) in found for trace in ordinary)
    low, high = bounds(len(ordinary), RATES[tenant][0])
    assert low <= kept <= high


def test_the_limit_is_for_ordinary_traces_and_errors_do_not_use_it_up(tmp_path):
    configuration = {"tracing": {"sampling": {"rate": 1.0, "decision_wait": "1s", "max_spans_per_second": 50}}}
    configuration["destinations"] = {"files": {"type": "file", "directory": str(tmp_path / "files")}}
    with running(tmp_path, configuration, ["acme"]) as collector:
        # In one request, so all of it is decided at once: within a second, or around the end of one.
        request = [Span("error", error=True) for _ in range(500)] + [Span("ordinary") for _ in range(500)]
        random.Random(1).shuffle(request)
        collector.send_spans(request, "acme.1")

        def count() -> Counter[str]:
            return Counter(span["name"] for _, span in spans(tmp_path / "files"))

        wait_for(lambda: decided(collector) == 1000, otherwise=count)
        # The sampler keeps less than its limit, so 49 a second.
        wait_for(lambda: count()["ordinary"] >= 49, otherwise=count)
        assert count()["ordinary"] <= 2 * 49
        assert count()["error"] == 500


def decided(collector: Collector) -> float:
    """Return how many traces the samplers have decided on."""
    name = "otelcol_processor_tail_sampling_global_count_traces_sampled"
    return sum(value for series, value in collector.prometheus("telemetry").items() if series.startswith(name))


def test_spans_that_come_after_the_decision_follow_it(tmp_path):
    configuration = {"profile": "local", "tracing": {"sampling": {"rate": 0.0, "decision_wait": "1s"}}}
    with running(tmp_path, configuration, ["acme"]) as collector:
        kept, dropped = os.urandom(16), os.urandom(16)
        collector.send_spans([Span("error", trace=kept, error=True), Span("ordinary", trace=dropped)], "acme.1")

        def found() -> set[str]:
            return {span["name"] for _, span in collector.spans()}

        wait_for(lambda: decided(collector) == 2, otherwise=found)
        for number in range(3):
            late = [Span(f"late {number}", trace=kept), Span(f"lost {number}", trace=dropped)]
            collector.send_spans(late, "acme.1")
        collector.send_spans([Span("another error", error=True)], "acme.1")
        wait_for(lambda: decided(collector) == 3, otherwise=found)
        wait_for(lambda: found() == {"error", "another error", "late 0", "late 1", "late 2"}, otherwise=found)
        series = collector.prometheus("telemetry")
        name = "otelcol_processor_tail_sampling_early_releases_from_cache_decision"
        assert series[f'{name}{{sampled="true"}}'] == series[f'{name}{{sampled="false"}}'] == 3


@pytest.mark.case("late_root")
def test_a_span_that_failed_or_was_slow_is_kept_however_late_and_once(tmp_path):
    """Whether its trace was kept, left out, or still waits."""
    slow = {operation: f"{seconds}s" for operation, seconds in SLOW.items()}
    sampling = {"rate": 0.0, "decision_wait": "1s", "slow": slow}
    with running(tmp_path, {"profile": "local", "tracing": {"sampling": sampling}}, ["acme"]) as collector:
        left_out, kept = [os.urandom(16) for _ in range(20)], [os.urandom(16) for _ in range(20)]
        parts = [Span("part", trace=trace) for trace in left_out]
        parts += [Span("kept part", trace=trace, error=not number) for trace in kept for number in range(2)]
        collector.send_spans(parts, "acme.1")
        wait_for(lambda: decided(collector) == 40)
        roots = []
        for number, trace in enumerate(left_out + kept):
            operation = list(SLOW)[number % len(SLOW)]
            late = {"error": True} if number % 5 == 0 else {"seconds": SLOW[operation] + 0.001}
            roots.append(Span(f"root {number}", {names.OPERATION_TYPE: operation}, trace, **late))
        roots += [Span("quick root", {names.OPERATION_TYPE: "research"}, trace, seconds=1) for trace in left_out]
        collector.send_spans(roots, "acme.1")
        collector.send_spans(
            [Span("early", trace=bytes(15) + b"\1"), Span("failed", trace=bytes(15) + b"\1", error=True)], "acme.1"
        )
        wait_for(lambda: decided(collector) == 41)

        def found() -> Counter[str]:
            return Counter(span["name"] for _, span in collector.spans())

        wanted = Counter({f"root {number}": 1 for number in range(40)} | {"kept part": 40, "early": 1, "failed": 1})
        wait_for(lambda: found().total() >= wanted.total(), otherwise=found)
        assert found() == wanted


# --- logs


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    configuration = {
        "profile": "local",
        "logging": {"sampling": {"INFO": 0.25, "DEBUG": 0.0}},
        "tenants": {
            "list": {
                "globex": {"sampling": {"logs": {"INFO": 1.0, "DEBUG": 0.5}}},
                "umbrella": {"sampling": {"logs": {"INFO": 0.0, "TRACE": 0.1}}},
            }
        },
    }
    with running(tmp_path_factory.mktemp("logs"), configuration, ["acme", "globex", "umbrella"]) as started:
        yield started


LEVELS = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "CRITICAL": 21}
LOG_RATES = {
    "acme": {"TRACE": 1.0, "DEBUG": 0.0, "INFO": 0.25},
    "globex": {"TRACE": 1.0, "DEBUG": 0.5, "INFO": 1.0},
    "umbrella": {"TRACE": 0.1, "DEBUG": 0.0, "INFO": 0.0},
}


def test_logs_below_warn_are_kept_at_the_tenants_share_and_warn_audit_and_security_always(collector):
    number = 300
    kinds = [("", level) for level in LEVELS] + [(c, level) for c in ("audit", "security") for level in LEVELS]
    for tenant in LOG_RATES:
        for category, level in kinds:
            severities = [LEVELS[level] + n % 4 for n in range(number)]
            attributes = {names.CATEGORY: category} if category else {}
            records = [(severity, f"{category} {level}", attributes) for severity in severities]
            assert collector.send_logs(records, f"{tenant}.1") == 200

    def count() -> Counter[tuple[str, str]]:
        return Counter((resource["tenant.id"], record["body"]["stringValue"]) for resource, record in collector.logs())

    collector.send_logs([(13, "the last", {})], "umbrella.1")
    wait_for(lambda: count()["umbrella", "the last"])
    for tenant, rates in LOG_RATES.items():
        for category, level in kinds:
            low, high = bounds(number, 1.0 if category else rates.get(level, 1.0))
            assert low <= count()[tenant, f"{category} {level}"] <= high, (tenant, category, level)


def test_records_of_how_the_product_is_used_are_all_kept(collector):
    used = [(LEVELS["INFO"], "research succeeded", {names.CATEGORY: "user_activity", "n": n}) for n in range(100)]
    assert collector.send_logs(used, "umbrella.1") == 200
    other = [(LEVELS["INFO"], "of no use", {names.CATEGORY: "business", "n": n}) for n in range(100)]
    assert collector.send_logs(other, "umbrella.1") == 200
    assert collector.send_logs([(LEVELS["WARN"], "after the uses", {})], "umbrella.1") == 200

    def bodies() -> Counter[str]:
        return Counter(record["body"]["stringValue"] for _, record in collector.logs())

    wait_for(lambda: bodies()["after the uses"])
    assert bodies()["research succeeded"] == 100
    assert bodies()["of no use"] == 0


def test_a_client_steers_the_sampling_of_logs_by_nothing_it_sends(collector):
    secret = "hunter2hunter2"  # as long as the sampler's own value; a sampler that cannot read it would print it
    steering = {
        "theodore.sampling.percent": 100, "theodore.sampling.random": "x", "sampling.priority": 100,
        "sampling.randomness": secret, "sampling.threshold": "0",
    }  # fmt: skip
    collector.send_logs([(5, "steered", {key: value}) for key, value in steering.items()] * 20, "acme.1")
    collector.send_logs([(5, "steered", steering)] * 20, "acme.1")
    collector.send_logs([(13, "steered warning", steering)], "acme.1")
    record = wait_for(lambda: [r for _, r in collector.logs() if r["body"]["stringValue"] == "steered warning"])[0]
    assert set(record["attributes"]) == {names.CATEGORY}
    assert "steered" not in {r["body"]["stringValue"] for _, r in collector.logs()}
    assert secret not in collector.log.read_text()


def test_severity_and_category_have_one_spelling(collector):
    sent = {
        "s1": (21, {names.CATEGORY: "nonsense"}), "s2": (17, {names.CATEGORY: "security"}), "s3": (24, {}),
        "s4": (13, {names.CATEGORY: ["audit"]}), "s5": (0, {names.CATEGORY: "audit"}),
        "s6": (99, {names.CATEGORY: "audit"}), "s7": (-1, {names.CATEGORY: "audit"}),
    }  # fmt: skip
    collector.send_logs([(severity, body, attributes) for body, (severity, attributes) in sent.items()], "acme.1")

    def found() -> dict[str, tuple[int, str, str]]:
        logs = [record for _, record in collector.logs() if record["body"]["stringValue"] in sent]
        return {
            r["body"]["stringValue"]: (r["severityNumber"], r["severityText"], r["attributes"][names.CATEGORY])
            for r in logs
        }

    wait_for(lambda: len(found()) == len(sent), otherwise=collector.logs)
    assert found() == {
        "s1": (21, "CRITICAL", "system"), "s2": (17, "ERROR", "security"), "s3": (24, "CRITICAL", "system"),
        "s4": (13, "WARN", "system"), "s5": (9, "INFO", "audit"), "s6": (9, "INFO", "audit"),
        "s7": (9, "INFO", "audit"),
    }  # fmt: skip


@pytest.mark.parametrize("sampling", [{}, {"DEBUG": 0.0, "INFO": 1.0}], ids=["alone", "with sampling"])
def test_equal_records_become_one_that_says_how_many_they_were(tmp_path, sampling):
    configuration = {
        "profile": "local",
        "logging": {"sampling": sampling, "deduplicate": {"enabled": True, "interval": "1s"}},
    }
    kept_apart = {"audit": 30, "security": 30, "WARN": 30}
    with running(tmp_path, configuration, ["acme", "globex"]) as collector:
        records = [(9, "equal", {"a": 1})] * 200 + [(9, "equal", {"a": 2})] * 3 + [(13, "WARN", {})] * 30
        records += [(9, name, {names.CATEGORY: name}) for name in ("audit", "security")] * 30
        # A request is added up as a whole, so the numbers are exact wherever the interval ends.
        collector.send_logs(records, "acme.1")
        collector.send_logs([(9, "equal", {"a": 1})] * 7, "globex.1")

        def count() -> Counter[tuple[str, str, str | None, str | None]]:
            return Counter(
                (tenant["tenant.id"], record["body"]["stringValue"], each.get("a"), each.get("log_count"))
                for tenant, record in collector.logs()
                for each in [record["attributes"]]
            )

        wanted = {("acme", "equal", "1", "200"): 1, ("acme", "equal", "2", "3"): 1, ("globex", "equal", "1", "7"): 1}
        wanted |= {("acme", name, None, None): number for name, number in kept_apart.items()}
        wait_for(lambda: sum(count().values()) >= sum(wanted.values()), otherwise=count)
        assert count() == wanted
        assert not [key for _, record in collector.logs() for key in record["attributes"] if "sampling" in key]

"""What a SIEM is given of odd records, over TCP and as datagrams: header, names, values, lengths and times."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from destinations.kit import OWNERS, configuration
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from standins.syslog import Message, Syslog, SyslogDatagrams
from support.collector import Collector, fill, running, set_value, wait_for

ELEMENT = "theodore@32473"
LATEST = 2**64 - 1


@pytest.fixture(scope="module")
def services():
    with Syslog() as stream, SyslogDatagrams() as datagrams:
        yield {"tcp": stream, "udp": datagrams}
        assert stream.wrong + datagrams.wrong == []


@pytest.fixture(scope="module")
def collector(services, tmp_path_factory):
    named = {
        name: {
            "type": "siem",
            "endpoint": f"127.0.0.1:{service.port}",
            "network": name,
            "tls": {"enabled": False},
            "categories": ["all"],
        }
        for name, service in services.items()
    }
    with running(tmp_path_factory.mktemp("siem"), configuration(**named), OWNERS) as started:
        yield started


@pytest.fixture(params=["tcp", "udp"])
def siem(request, services):
    return services[request.param]


def send(
    collector: Collector,
    body: Any,
    attributes: Any = (),
    resource: Any = (),
    tenant: str = "acme",
    **fields: Any,
) -> None:
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    fill(group.resource.attributes, resource)
    record = group.scope_logs.add().log_records.add(
        **{"time_unix_nano": time.time_ns(), "observed_time_unix_nano": time.time_ns(), "severity_number": 9, **fields}
    )
    set_value(record.body, body)
    fill(record.attributes, attributes)
    assert collector.post("logs", request.SerializeToString(), f"{tenant}.1") == 200


def received(collector: Collector, siem: Syslog, text: str) -> Message:
    (message,) = wait_for(lambda: [each for each in siem.messages if each.text.startswith(text)], 20, collector.said)
    assert list(message.data) == [ELEMENT]
    assert message.data[ELEMENT]["tenant.id"] in OWNERS
    return message


VALUES: dict[str, tuple[Any, dict[str, str]]] = {
    "whole number": (7, {"x": "7"}),
    "largest number": (2**63 - 1, {"x": str(2**63 - 1)}),
    "number": (1.5, {"x": "1.5"}),
    "NaN": (float("nan"), {"x": "NaN"}),
    "infinity": (-float("inf"), {"x": "-Inf"}),
    "truth": (True, {"x": "true"}),
    "untruth": (False, {"x": "false"}),
    "bytes": (b"\xff\x00", {"x": "/wA="}),
    "list": (["a", 1, None], {"x.0": "a", "x.1": "1", "x.2": ""}),
    "mapping": ({"k": 1.5, "l": {"m": True}}, {"x.k": "1.5", "x.l.m": "true"}),
    # It cannot be measured, and goes before any destination.
    "mapping with NaN": ({"k": float("nan")}, {"theodore.truncated": "nan"}),
    "nothing": (None, {"x": ""}),
    "quotes": ('a" tenant.id="globex', {"x": 'a" tenant.id="globex'}),
    "brackets": ('a"] [x@1 tenant.id="globex"', {"x": 'a"  [x@1 tenant.id="globex"'}),
    "backslash": ("a\\", {"x": "a\\"}),
    "backslashes and a quote": ('a\\\\" t="x', {"x": 'a\\\\" t="x'}),
    "line break": ("a\r\n<13>1 - - - - - - forged", {"x": "a <13>1 - - - - - - forged"}),
    "separators of lines": ("a\u2028b\u2029c\x85d", {"x": "a b c d"}),
    "controls": ("a\x00\x1b\x1e\x1f\x7f\x9bb", {"x": "ab"}),
    "what a number reads like": ("json: unsupported value: NaN!", {"x": "json: unsupported value: NaN!"}),
}


@pytest.mark.case("siem_values")
@pytest.mark.parametrize("name", VALUES)
def test_every_value_arrives_as_text(collector, siem, name):
    value, wanted = VALUES[name]
    body = f"value {name}; {siem.port}"
    send(collector, body, {"x": value, "audit.sequence": 12})
    data = received(collector, siem, body).data[ELEMENT]
    assert {**wanted, "audit.sequence": "12", "tenant.id": "acme"}.items() <= data.items()


NAMES = {
    "as far as they go": ["a" * 32 + "1", "a" * 32 + "2", "a" * 31, "a" * 32],
    "without letters": ["", " ", "  ", "\t"],
    "of other letters": ["ключ", "ключ2", "名前"],
    "with separators": ["tenant id", "tenant=id", '"tenant.id', "tenant.id]", 'tenant.id"', "a b", "a=b"],
    "of ours": ["service.name", "severity", "trace_id", "structured_data", "message", "hostname", "priority"],
    "within": ["m.k", "m"],
    "many": [f"k{number}" for number in range(200)],
}


@pytest.mark.case("siem_names")
@pytest.mark.parametrize("name", NAMES)
def test_no_attribute_takes_the_place_of_another(collector, siem, name):
    ours = ("service.name", "severity", "trace_id")
    given = {key: f"value {number}" for number, key in enumerate(NAMES[name])}
    if name == "within":
        given = {"m.k": "value 0", "m": {"k": "value 1"}}
    body = f"names {name}; {siem.port}"
    send(collector, body, given, {"service.name": "real"})
    data = received(collector, siem, body).data[ELEMENT]
    assert (data["tenant.id"], data["service.name"], data["severity"]) == ("acme", "real", "INFO")
    missing = [key for key in given if f"value {list(given).index(key)}" not in data.values() and key not in ours]
    assert missing == []


HEADERS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "empty": (
        {"host.name": "", "service.name": "", "process.pid": ""},
        {"hostname": "-", "app_name": "-", "process_id": "-"},
    ),
    "absent": ({}, {"hostname": "-", "app_name": "-", "process_id": "-"}),
    "too long": (
        {"host.name": "h" * 300, "service.name": "s" * 300, "process.pid": "9" * 300},
        {"hostname": "h" * 255, "app_name": "s" * 48, "process_id": "9" * 128},
    ),
    "numbers": (
        {"host.name": 5, "service.name": 7.5, "process.pid": 9},
        {"hostname": "5", "app_name": "7.5", "process_id": "9"},
    ),
    "of other letters": (
        {"host.name": "ü", "service.name": "é b", "process.pid": "a b"},
        {"hostname": "_", "app_name": "__b"},
    ),
    "mappings": (
        {"host.name": {"a": "b c"}, "process.pid": {"a": float("nan")}},
        {"hostname": '{"a":"b_c"}', "process_id": "-"},
    ),
    "line breaks": (
        {"host.name": "h\n<13>1", "service.name": "s\n[x]", "process.pid": "1\n2"},
        {"hostname": "h_<13>1"},
    ),
}


@pytest.mark.case("siem_header")
@pytest.mark.parametrize("name", HEADERS)
def test_the_header_is_rfc_5424_whatever_a_resource_holds(collector, siem, name):
    resource, wanted = HEADERS[name]
    body = f"header {name}; {siem.port}"
    send(collector, body, {}, resource)
    message = received(collector, siem, body)
    assert {field: getattr(message, field) for field in wanted} == {
        field: value.replace("__", "_") for field, value in wanted.items()
    }


TIMES = {"zero": 0, "one": 1, "behind 2262": 2**63 + 1, "the last": LATEST}


@pytest.mark.case("siem_header")
def test_odd_times_and_ids_of_zeros_are_left_out(collector, siem):
    for name, moment in TIMES.items():
        body = f"time {name}; {siem.port}"
        send(collector, body, time_unix_nano=moment, observed_time_unix_nano=moment, trace_id=b"\0" * 16)
        message = received(collector, siem, body)
        age = datetime.now(UTC) - datetime.fromisoformat(message.timestamp)
        assert abs(age) < timedelta(minutes=2)
        assert "trace_id" not in message.data[ELEMENT]


@pytest.mark.case("siem_bodies")
def test_a_record_without_a_text_is_a_message(collector, siem):
    bodies = {"none": None, "empty": "", "bytes": b"", "NaN": float("nan"), "map": {"a": float("nan")}, "list": [1]}
    for name, body in bodies.items():
        send(collector, body, {"mark": f"body {name} {siem.port}"})
    found = {}

    def texts() -> dict[str, str]:
        for message in siem.messages:
            found[message.data[ELEMENT].get("mark", "")] = message.text
        return {name: found.get(f"body {name} {siem.port}") for name in bodies}

    # A mapping with a NaN cannot be measured, and goes before any destination.
    wanted = {"none": "-", "empty": "-", "bytes": "-", "NaN": "NaN", "map": "-", "list": "[1]"}
    wait_for(lambda: texts() == wanted, 20, texts)


@pytest.mark.case("siem_datagrams")
def test_records_larger_than_a_datagram_are_cut_and_hold_up_nobody(collector, services):
    """Whatever quoting makes of a text: letters, quotes, and what is written as a code three times as long."""
    fillings = {"letters": "B", "quotes": '"', "codes": "\u00ad", "wide": "\U000e0001", "parts": "é"}
    for name, filling in fillings.items():
        long = filling * 60_000
        send(collector, f"large {name} {long}", {"theodore.category": "audit", "context": long}, {"service.name": long})
        many = {f"k{number:03}": filling * 400 for number in range(200)}
        send(collector, f"many {name} {long}", {"theodore.category": "audit", **many})
    for number in range(20):
        send(collector, f"neighbour {number}.", {"theodore.category": "audit"}, tenant="globex")
    datagrams = services["udp"]
    for number in range(20):
        received(collector, datagrams, f"neighbour {number}.")
    for name in fillings:
        for kind in ("large", "many"):
            message = received(collector, datagrams, f"{kind} {name} ")
            assert message.data[ELEMENT]["theodore.truncated"] == "true"
            assert message.data[ELEMENT]["theodore.category"] == "audit"
    assert "theodore.truncated" not in str([each.data for each in datagrams.messages if "neighbour" in each.text])
    whole = received(collector, services["tcp"], "large letters ")
    assert whole.data[ELEMENT]["context"] == "B" * 60_000

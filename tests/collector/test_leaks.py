"""No secret leaves the collector: one of every kind, in every field of OTLP, as every kind of credential."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import json_format
from standins.datadog import Datadog
from support.canaries import (
    NUMBERS,
    REQUESTS,
    Canary,
    canary,
    complete,
    fitting,
    key_canary,
    key_words,
    kinds,
    levels,
    paths,
    plant,
    skeleton,
)
from support.collector import Collector, Span, running, wait_for

from theodore_otel import paths as places
from theodore_otel.redaction.presets import all_presets, open_fields

TENANTS = {
    "services": {"api": {"may_report": ["acme", "globex"]}},
    "list": {"globex": {"isolation": "dedicated"}},
}
OWNERS = ["acme", "globex", "svc-api"]
OPEN = {entry["field"] for entry in open_fields()}
CARD = next(preset for preset in all_presets() if preset.name == "credit_card")


@dataclass(frozen=True)
class Probe:
    """One canary in one field; its resource's attribute `probe` tells it from all others."""

    number: int
    signal: str
    path: tuple[str, ...]
    canary: Canary
    keys: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        return ".".join(self.path)

    @property
    def needle(self) -> str:
        return fitting(self.path, self.canary)[1]

    @property
    def is_dropped(self) -> bool:
        return "exemplars" in self.path

    def message(self) -> Any:
        made = skeleton(self.signal, {"probe": str(self.number)})
        plant(made, self.path, fitting(self.path, self.canary)[0], self.keys)
        complete(made)
        return made


def every_preset_everywhere() -> Iterator[Probe]:
    number = 0
    for signal, path in every_path():
        for preset in [CARD] if path[-1] in NUMBERS else all_presets():
            number += 1
            example = 0 if path[-1] in NUMBERS else number % len(preset.masked)
            yield Probe(number, signal, path, canary(preset, example, number))


def every_key_everywhere() -> Iterator[Probe]:
    """Under a secret key at each level: an attribute's own, and those of maps in it."""
    number = 100_000
    for signal, path in every_path():
        for level in range(levels(path)):
            for index, word in enumerate(key_words()):
                number += 1
                keys = ["planted"] * levels(path)
                keys[level] = (f"x.{word}", f"my{word.title().replace('_', '')}", f"X_{word.upper()}_1")[index % 3]
                yield Probe(number, signal, path, key_canary(word, number), tuple(keys))


def a_few(begin: int) -> list[Probe]:
    """Every field once, with one kind after the other."""
    found = []
    for index, (signal, path) in enumerate(every_path()):
        preset, example = (CARD, 0) if path[-1] in NUMBERS else kinds()[(index + begin) % len(kinds())]
        found.append(Probe(begin + index, signal, path, canary(preset, example, begin + index)))
    return found


def every_path() -> Iterator[tuple[str, tuple[str, ...]]]:
    for signal, request in REQUESTS.items():
        for path in paths(request):
            yield signal, path


def requests(probes: Sequence[Probe], size: int = 200) -> Iterator[tuple[str, Any]]:
    for signal, kind in REQUESTS.items():
        of_signal = [probe for probe in probes if probe.signal == signal]
        for start in range(0, len(of_signal), size):
            request = kind()
            for probe in of_signal[start : start + size]:
                request.MergeFrom(probe.message())
            yield signal, request


def arrived(collector: Collector) -> dict[int, str]:
    """Return what arrived of each probe as one text, with bytes decoded."""
    texts: dict[int, str] = {}
    for signal in REQUESTS:
        for request in collector.received(signal):
            for group in next(iter(request.values())):
                number = next(
                    (a["value"]["stringValue"] for a in group["resource"].get("attributes", []) if a["key"] == "probe"),
                    None,
                )
                if number:
                    texts[int(number)] = texts.get(int(number), "") + readable(group)
    return texts


def readable(group: Any) -> str:
    text = json.dumps(group, ensure_ascii=False).replace("\\n", "\n").replace('\\"', '"')
    decoded = [base64.b64decode(found) for found in re.findall(r'"bytesValue": "([^"]*)"', text)]
    ids = [bytes.fromhex(found) for found in re.findall(r'(?:Trace|trace|pan)Id": "([0-9a-f]*)"', text)]
    return "\n".join([text, text.replace(".", ""), *(part.decode("utf-8", "replace") for part in decoded + ids)])


def wait_until_all_arrived(collector: Collector, probes: Sequence[Probe]) -> dict[int, str]:
    wanted = {probe.number for probe in probes if not probe.is_dropped}

    def missing() -> set[int]:
        files = (collector.home / "otlp").glob("*.jsonl")
        return wanted.difference(
            int(number)
            for file in files
            for number in re.findall(r'"probe","value":{"stringValue":"(\d+)"', file.read_text())
        )

    wait_for(lambda: not missing(), 60, lambda: [probe for probe in probes if probe.number in missing()][:5])
    return arrived(collector)


def leaks(probes: Sequence[Probe], texts: dict[int, str]) -> list[Probe]:
    return [probe for probe in probes if probe.needle in texts.get(probe.number, "")]


def assert_only_open_fields_leak(found: Sequence[Probe]) -> None:
    surprising = [probe for probe in found if probe.field not in OPEN]
    fields = sorted({(probe.field, probe.canary.kind, str(probe.keys)) for probe in surprising})
    assert not surprising, "\n".join(map(str, fields))


# Every type of point is taken.
TAKEN = {"metrics": {"exponential_histograms": True}}


def test_no_secret_passes_in_any_field_but_the_open_ones(tmp_path):
    probes = [*every_preset_everywhere(), *every_key_everywhere()]
    with running(tmp_path, {"profile": "local", "tenants": TENANTS, **TAKEN}, OWNERS) as collector:
        for signal, request in requests(probes):
            assert collector.post(signal, request.SerializeToString(), "acme.1") == 200
        texts = wait_until_all_arrived(collector, probes)
    found = leaks(probes, texts)
    assert_only_open_fields_leak(found)
    assert {probe.field for probe in found} == OPEN
    assert not [probe for probe in probes if probe.is_dropped and probe.number in texts]
    assert "error" not in collector.log.read_text()


DOWN = {"destinations": {"local": {"type": "local"}, "down": {"type": "otlp", "endpoint": "127.0.0.1:1"}}}


@pytest.mark.parametrize(
    ("credential", "transport", "tenants"),
    [
        ("acme.1", "grpc", TENANTS),
        ("globex.1", "protobuf", TENANTS),
        ("svc-api.1", "json", TENANTS),
        (None, "protobuf", {"identify_by": "none"}),
    ],
)
def test_no_secret_stays_in_a_queue_or_in_the_collectors_log(tmp_path, credential, transport, tenants):
    probes = a_few(1_000 * (len(transport) + len(tenants)))
    with running(tmp_path, {"profile": "local", "tenants": tenants, **DOWN, **TAKEN}, OWNERS) as collector:
        for signal, request in requests(probes):
            assert send(collector, transport, signal, request, credential)
        texts = wait_until_all_arrived(collector, probes)
        queues = wait_for(lambda: written(collector, probes), 20)
        scraped = json.dumps(collector.prometheus("telemetry"))
        collector.kill()
    assert_only_open_fields_leak(leaks(probes, texts))
    log = collector.log.read_bytes()
    assert b"connection refused" in log, "the destination is not down"
    closed = [probe for probe in probes if probe.field not in OPEN]
    for place in (queues, log, scraped.encode()):
        found = [probe for probe in closed if probe.needle.encode() in place]
        assert not found, [(probe.field, probe.canary) for probe in found]


def send(collector: Collector, transport: str, signal: str, request: Any, credential: str | None) -> bool:
    if transport == "grpc":
        return collector.call(signal, request.SerializeToString(), credential) == grpc.StatusCode.OK
    if transport == "json":
        return collector.post(signal, otlp_json(request), credential, kind="application/json") == 200
    return collector.post(signal, request.SerializeToString(), credential) == 200


def otlp_json(request: Any) -> bytes:
    """Return the request as OTLP writes JSON: ids in hexadecimal, everything else as protobuf does."""
    text = json_format.MessageToJson(request, indent=None)
    return re.sub(
        r'("(?:traceId|spanId|parentSpanId)": ?")([^"]*)"',
        lambda found: f'{found[1]}{base64.b64decode(found[2]).hex()}"',
        text,
    ).encode()


def written(collector: Collector, probes: Sequence[Probe]) -> bytes | None:
    """Return what is in the queues on disk, once every record is."""
    data = b"".join(file.read_bytes() for file in (collector.home / "queue").iterdir() if file.is_file())
    found = {int(number) for number in re.findall(rb"([0-9]+)\n\x05probe", data)}
    return data if found >= {probe.number for probe in probes if not probe.is_dropped} else None


def test_no_secret_becomes_a_label(tmp_path):
    """What is counted before redaction takes its labels from attributes that anybody may send."""
    labels = yaml.safe_load((places.data("templates") / "collector/derived.yaml").read_text("utf-8"))["labels"]
    sent = []
    with running(tmp_path, {"profile": "local", "tenants": TENANTS, **DOWN}, OWNERS) as collector:
        for number, (preset, example) in enumerate(kinds()):
            for kind in ("command", "research", "ai", "storage", "similarity"):
                request = skeleton("traces", {"service.name": "theodore-v2"})
                (span,) = request.resource_spans[0].scope_spans[0].spans
                span.attributes.add(key="theodore.operation.type").value.string_value = kind
                for place, label in enumerate(labels):
                    made = canary(preset, example, 10_000 + number * 100 + place)
                    sent.append(made)
                    span.attributes.add(key=label).value.string_value = made.text
                assert collector.post("traces", request.SerializeToString(), "acme.1") == 200
        wait_for(lambda: "theodore_requests_total" in str(collector.received("metrics")) or derived(collector))
        everything = wait_for(lambda: derived(collector))
    assert not [made for made in sent if made.core in everything]


def derived(collector: Collector) -> str | None:
    text = json.dumps(collector.received("metrics"), ensure_ascii=False)
    return text if "theodore.companies.researched" in text and "theodore.similarity" in text else None


def test_no_secret_reaches_datadog_or_its_statistics(tmp_path):
    """The statistics are counted before sampling, from copies of all spans."""
    key = "0123456789abcdef0123456789abcdef"
    probes = a_few(20_000)
    with Datadog(key) as datadog:
        destinations = {
            "local": {"type": "local"},
            "datadog": {"type": "datadog", "api_key": {"env": "DD_API_KEY"}, "endpoint": datadog.url},
        }
        configuration = {"profile": "local", "tenants": TENANTS, "destinations": destinations}
        with running(tmp_path, configuration, OWNERS, {"DD_API_KEY": key}) as collector:
            for signal, request in requests(probes):
                assert collector.post(signal, request.SerializeToString(), "acme.1") == 200
            for index, (preset, example) in enumerate(kinds()):
                secret = canary(preset, example, 30_000 + index)
                probes.append(Probe(0, "traces", ("resource_spans", "scope_spans", "spans", "name"), secret))
                span = Span(secret.text, {"peer.service": secret.text, "http.route": secret.text}, kind=2, error=True)
                assert collector.send_spans([span], "acme.1", {"service.name": secret.text}) == 200
            # What the interval has counted is queued when the collector stops, and sent when it starts again.
            wait_for(lambda: len(datadog.spans) > len(kinds()))
            collector.stop()
            collector.start()
            wait_for(lambda: sum(group["Hits"] for group in datadog.stats) >= len(kinds()))
        everything = json.dumps([datadog.spans, datadog.logs, datadog.series, datadog.stats], default=str)
    assert "[REDACTED]" in str(datadog.stats)
    found = [probe for probe in probes if probe.field not in OPEN and probe.needle in everything]
    assert not found, [(probe.field, probe.canary) for probe in found]

"""Random records go through the process's matcher and the real collector: what comes out is equal, and no secret.

Neighbours are what goes wrong: secret words and tails of values, separators, control characters, quotes, masks that
were there before, names that steer, odd types, nested values.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.canaries import canary, key_words, kinds
from support.collector import Collector, fill, running, set_value, wait_for
from support.fuzzing import rounds
from support.receiver import Receiver, receiving

from theodore_otel import paths
from theodore_otel.instrument.scrub import Scrubber
from theodore_otel.redaction.presets import load
from theodore_otel.render.filters import names_below
from theodore_otel.telemetry import redact

MASK = "[REDACTED]"
DIGEST = re.compile(r"\[HASH:[0-9a-f]{64}\]")
RECORDS = 500
TABLES = yaml.safe_load((paths.data("templates") / "collector/derived.yaml").read_text("utf-8"))
STEERS = re.compile(names_below(TABLES["steering"] + TABLES["stamped"]))
# What the collector writes beside what was sent.
WRITTEN = {"theodore.category", "tenant", "service", "probe"}
OWN = {"extra_values": {"code": "^[a-z]{3}-[0-9]{3}$", "ticket": "INC-[0-9]+"}, "extra_keys": ["internal_ref"]}
CONTROLS = "\t\n\r"
# Under a key that is secret any text is one.
HERE = "\ue000"
# One word of a record, so that values and names with the same one stand beside one another.
WORD = "\ue001"
POOL = [canary(preset, example, 1) for preset, example in kinds()]
BESIDE = [canary(preset, example, 2) for preset, example in kinds()]
WORDS = [*key_words(), "internal_ref"]

spellings = st.sampled_from(WORDS).flatmap(
    lambda word: st.sampled_from(
        [word, word.upper(), word.title().replace("_", ""), f"x.{word}", f"X_{word.upper()}", f"{word}.n", f"my-{word}"]
    )
)
neighbours = st.one_of(
    st.just(WORD),
    st.sampled_from(WORDS),
    st.sampled_from([word.upper() for word in WORDS]),
    st.sampled_from(["password=", "token: '", '"secret": "', "api_key=", "://", "bearer ", "INC-7", "abc-123", "sk-"]),
    st.sampled_from([*" \t\n.,;:&=@+-_/'\"\\{}[]()<>?#%|", '\\"', "%3D", "%40", "': '", '":"']),
    st.sampled_from([MASK, "x", "q7", "12", "1e+300", "null", "true", "ü", "🚀", "\ufffd", "\u200b", "\u2028", "work"]),
    st.sampled_from(CONTROLS),
)
NAMES = ["author", "n1", "type", "0", "msg", "a.b", "a", "b", "_x", "gen_ai.token.type", "aws.s3.key", "audit.hash"]
NAMES += ["elasticsearch.index", "tenant.id", "data_stream.type", "com.splunk.index", "ddtags"]
names = st.sampled_from(NAMES)
split = st.tuples(names, st.sampled_from(CONTROLS), st.integers(0, 20)).map(
    lambda made: made[0][: made[2]] + made[1] + made[0][made[2] :]
)
joined = st.lists(neighbours, min_size=1, max_size=5).map("".join)
pooled = st.sampled_from(POOL).map(lambda made: made.text)
beside = st.sampled_from(BESIDE).map(lambda made: made.text)
# A secret with room around it is one whatever stands beside it.
planted = st.tuples(
    st.one_of(st.just(""), joined.map(lambda text: text + "\n")),
    pooled,
    st.one_of(st.just(""), joined.map(lambda text: "\n" + text)),
).map("".join)
ending = st.sampled_from([WORD, f"enter the {WORD}", f"x\n{WORD}"])
texts = st.one_of(joined, planted, st.tuples(joined, beside, joined).map("".join), ending)
keys = st.one_of(
    st.sampled_from([WORD, f"x.{WORD}"]),
    names,
    split,
    spellings,
    st.lists(neighbours, min_size=1, max_size=3).map("".join),
    beside,
    pooled,
)
scalars = st.one_of(
    texts,
    st.sampled_from(
        [0, 7, -1, 4111111111111111, 5500000000000004, 1732409400123456789, True, False, None, 1.5, math.nan]
    ),
    st.sampled_from([b"", b"raw", b"ada@example.com", b"\x00\xff" * 9]),
)


def cleaned(text: str) -> str:
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "", text)


def mapping(values: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return attributes, no two of which have one name; some of a secret's name."""
    pairs = st.one_of(
        st.tuples(keys, values),
        st.tuples(
            st.one_of(st.just(WORD), spellings),
            st.one_of(st.just(HERE), st.just([HERE]), st.just({"n": HERE, "m": [HERE]})),
        ),
    )
    follows = st.tuples(st.just(WORD), st.just(HERE))
    return st.lists(
        st.one_of(pairs, pairs, follows), min_size=1, max_size=most, unique_by=lambda pair: cleaned(pair[0])
    ).map(lambda made: {key if cleaned(key) else "n": value for key, value in made})


# What holds a NaN within cannot be measured, and goes (tests/collector/test_limits.py).
within = scalars.filter(lambda value: value == value)
values = st.one_of(
    scalars,
    st.recursive(
        within, lambda inner: st.one_of(st.lists(inner, min_size=1, max_size=3), mapping(inner, 3)), max_leaves=5
    ),
)
attributes = mapping(values, 4)
maybe = st.one_of(st.just({}), attributes)
short = st.one_of(st.just(""), texts)


@dataclass
class Record:
    """What is sent: one span, log record or point, with what it stands under."""

    signal: str
    resource: dict[str, Any]
    scope: dict[str, Any]
    own: dict[str, Any]
    name: str
    more: list[str]
    body: Any
    word: str
    secrets: list[str] = field(default_factory=list)


records = st.builds(
    Record,
    signal=st.sampled_from(["traces", "traces", "logs", "logs", "metrics"]),
    resource=st.one_of(st.just({}), st.just({}), attributes),
    scope=st.one_of(st.just({}), st.just({}), attributes),
    own=maybe,
    name=texts,
    more=st.lists(short, min_size=4, max_size=4),
    body=st.one_of(texts, values),
    word=st.sampled_from([form for word in WORDS for form in (word, word.upper(), word.title().replace("_", ""))]),
)


def drawn(number: int) -> list[Record]:
    """Return random records, always the same of a number."""
    made: list[Record] = []

    @seed(number)
    @settings(
        max_examples=RECORDS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(records)
    def draw(record: Record) -> None:
        fields = ("resource", "scope", "own", "name", "more", "body")
        made.append(replace(record, **{name: spelled(getattr(record, name), record.word) for name in fields}))

    draw()
    return made


def spelled(value: Any, word: str) -> Any:
    if isinstance(value, str):
        return value.replace(WORD, word)
    if isinstance(value, Mapping):
        return {spelled(key, word): spelled(inner, word) for key, inner in value.items()}
    return [spelled(inner, word) for inner in value] if isinstance(value, list) else value


class Numbered:
    """Puts another text at each place of a secret."""

    def __init__(self, record: Record, number: int) -> None:
        self.record, self.count = record, itertools.count(number * 1000)

    def filled(self, value: Any) -> Any:
        if isinstance(value, str) and HERE in value:
            self.record.secrets.append(f"q{next(self.count)}Canary")
            return value.replace(HERE, self.record.secrets[-1])
        if isinstance(value, Mapping):
            return {key: self.filled(inner) for key, inner in value.items()}
        return [self.filled(inner) for inner in value] if isinstance(value, list) else value


def request(record: Record, number: int) -> Any:
    """Return the record as an OTLP request; its number stands in its time."""
    numbered = Numbered(record, number)
    time, trace = 10**18 + number, number.to_bytes(16, "big")
    if record.signal == "traces":
        made: Any = ExportTraceServiceRequest()
        group = made.resource_spans.add()
        inner = group.scope_spans.add()
        one = inner.spans.add(name=record.name, trace_state=record.more[2], trace_id=trace, span_id=trace[8:], kind=1)
        one.start_time_unix_nano, one.end_time_unix_nano = time, time + 1000
        one.status.message = record.more[3]
        event = one.events.add(name=record.more[0] or "e")
        if isinstance(record.body, Mapping):
            fill(event.attributes, numbered.filled(record.body))
    elif record.signal == "logs":
        made = ExportLogsServiceRequest()
        group = made.resource_logs.add()
        inner = group.scope_logs.add()
        one = inner.log_records.add(time_unix_nano=time, severity_number=17, event_name=record.more[2])
        one.severity_text = record.more[3]
        set_value(one.body, numbered.filled(record.body))
    else:
        made = ExportMetricsServiceRequest()
        group = made.resource_metrics.add()
        inner = group.scope_metrics.add()
        metric = inner.metrics.add(name=record.name or "m", description=record.more[2], unit=record.more[3])
        one = metric.gauge.data_points.add(time_unix_nano=time, as_int=1)
    inner.scope.name, inner.scope.version = record.more[0], record.more[1]
    # Metrics of one name, resource and scope become one.
    group.resource.attributes.add(key="probe").value.string_value = f"r{number}"
    for target, content in ((group.resource, record.resource), (inner.scope, record.scope), (one, record.own)):
        fill(target.attributes, numbered.filled(content))
    return made


def by_number(signal: str, requests: list[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return each record by its number, as a mapping of every place's texts and attributes."""
    for one in requests:
        for group in getattr(one, f"resource_{'spans' if signal == 'traces' else signal}"):
            for inner in getattr(group, f"scope_{'spans' if signal == 'traces' else signal}"):
                above = {"resource": flat(group.resource), "scope": flat(inner.scope)}
                above |= {"scope.name": inner.scope.name, "scope.version": inner.scope.version}
                for number, content in of_scope(signal, inner):
                    yield number, {**above, **content}


def of_scope(signal: str, inner: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    if signal == "traces":
        for span in inner.spans:
            found = {"name": span.name, "state": span.trace_state, "status": span.status.message, "own": flat(span)}
            (event,) = span.events
            yield span.start_time_unix_nano - 10**18, found | {"event": event.name, "of event": flat(event)}
    elif signal == "logs":
        for log in inner.log_records:
            body: dict[str, str] = {}
            opened(log.body, "body", body)
            # The collector writes the severity itself.
            found = {"event": log.event_name, "body": body, "own": flat(log)}
            yield log.time_unix_nano - 10**18, found
    else:
        for metric in inner.metrics:
            texts = {"name": metric.name, "description": metric.description, "unit": metric.unit}
            for point in metric.gauge.data_points:
                yield point.time_unix_nano - 10**18, {**texts, "own": flat(point)}


def flat(owner: Any) -> dict[str, str]:
    """Return attributes by their names, those of nested values joined by dots, each value as text.

    A secret in a name makes all values of a record text; and what holds one is opened in the collector.
    """
    found: dict[str, str] = {}
    for one in owner.attributes:
        if not STEERS.fullmatch(one.key) and one.key not in WRITTEN:
            opened(one.value, one.key, found)
    return {key: value for key, value in found.items() if not STEERS.fullmatch(key)}


def opened(value: Any, name: str, found: dict[str, str], dot: str = ".") -> None:
    """Add what is in a value; the collector writes no dot between the numbers of a list and of one in it."""
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        for one in value.kvlist_value.values:
            opened(one.value, f"{name}.{one.key}", found)
    elif kind == "array_value":
        for index, one in enumerate(value.array_value.values):
            opened(one, f"{name}{dot}{index}", found, "" if dot else ".")
    else:
        found[name] = as_text(kind, getattr(value, kind)) if kind else "none"


def as_text(kind: str | None, value: Any) -> str:
    if kind == "bytes_value":
        return "bytes"
    text = str(value).lower() if isinstance(value, bool) else DIGEST.sub(MASK, str(value))
    # What Go makes a text of a number that JSON does not know.
    text = text.removeprefix("json: unsupported value: ")
    try:
        return str(float(text))
    except ValueError:
        return text


@cache
def rules() -> dict[str, Any]:
    """Return the settings of the process but for the Luhn check: Go's expressions cannot count."""
    made = load(extra_keys=OWN["extra_keys"], extra_values=OWN["extra_values"]).settings()
    return {**made, "values": [{k: v for k, v in rule.items() if k != "luhn"} for rule in made["values"]]}


@cache
def scrubber() -> Scrubber:
    return Scrubber(rules())


def in_the_process(record: Record, message: Any) -> Any:
    """Mask a request as the process does before it sends it."""
    getattr(scrubber(), {"traces": "spans"}.get(record.signal, record.signal))(message)
    return message


def differences(expected: Mapping[str, Any], arrived: Mapping[str, Any]) -> Iterator[str]:
    for place, wanted in expected.items():
        got = arrived[place]
        if isinstance(wanted, str):
            if as_text("", wanted) != as_text("", got):
                yield f"{place}: {wanted!r} in the process, {got!r} in the collector"
        else:
            yield from (f"{place} {text}" for text in of_attributes(wanted, got))


def of_attributes(wanted: Mapping[str, str], got: Mapping[str, str]) -> Iterator[str]:
    """Compare but for names that hold a secret: two of those may have become one."""
    # What cannot be measured goes, and says so (tests/collector/test_limits.py).
    cut = "theodore.truncated" in got and "theodore.truncated" not in wanted
    masked_names = any(MASK in as_text("", key) for key in (*wanted, *got))
    for key in {*wanted, *got}:
        if any(MASK in as_text("", name) for name in (key, *(k for k in wanted if key.startswith(f"{k}.")))):
            continue
        ours, theirs = found_at(key, wanted), found_at(key, got)
        if ours == "bytes" and re.fullmatch(r"[A-Za-z0-9+/=]*|\[REDACTED\]", theirs or ""):
            continue  # the collector cannot look into them
        if ours == "none" and theirs in ("", MASK):
            continue  # nothing under a secret's name stays nothing in the process
        if cut and (theirs is None or key == "theodore.truncated"):
            continue
        if ours != theirs and not (masked_names and None in (ours, theirs)):
            yield f"{key!r}: {ours!r} in the process, {theirs!r} in the collector"


def found_at(key: str, attributes: Mapping[str, str]) -> str | None:
    """Return the value of a key, or the mask that all above or all below it is."""
    above = {attributes[name] for name in attributes if key.startswith(f"{name}.")}
    below = {attributes[name] for name in attributes if name.startswith(f"{key}.")}
    return attributes.get(key, next((MASK for values in (above, below) if values == {MASK}), None))


def exchange(collector: Collector, receiver: Receiver, made: list[tuple[int, Record]]) -> list[str]:
    """Send records and return what is wrong with them, the shortest first."""
    sent = {number: (record, request(record, number)) for number, record in made}
    for signal, kind in (
        ("traces", ExportTraceServiceRequest),
        ("logs", ExportLogsServiceRequest),
        ("metrics", ExportMetricsServiceRequest),
    ):
        whole: Any = kind()
        for record, message in sent.values():
            if record.signal == signal:
                whole.MergeFrom(message)
        assert collector.post(signal, whole.SerializeToString(), None) == 200
    arrived: dict[int, dict[str, Any]] = {}

    def all_there() -> bool:
        for one in receiver.requests:
            signal = {ExportTraceServiceRequest: "traces", ExportLogsServiceRequest: "logs"}.get(type(one), "metrics")
            arrived.update((number, found) for number, found in by_number(signal, [one]) if number in sent)
        receiver.requests.clear()
        return len(arrived) == len(sent)

    wait_for(all_there, 30, lambda: (sorted(sent.keys() - arrived)[:5], collector.said()))
    wrong = []
    for number, (record, message) in sent.items():
        before = str(message)
        ((_, expected),) = by_number(record.signal, [in_the_process(record, message)])
        found = [*differences(expected, arrived[number])]
        planted = [made.core for made in POOL if isolated(record, made.text)] + record.secrets
        found += [f"{text!r} left the process" for text in planted if text in repr(expected)]
        found += [f"{text!r} left the collector" for text in planted if text in repr(arrived[number])]
        found += in_the_program(record, expected)
        if found:
            wrong.append("\n".join([f"record {number}", *found[:4], before]))
    return sorted(wrong, key=len)


def isolated(record: Record, text: str) -> bool:
    """Say whether a secret stands somewhere with nothing but ends of lines around it, or as a name."""
    places = [record.resource, record.scope, record.own]
    places += [] if record.signal == "logs" else [record.name]
    structured = record.signal == "traces" and isinstance(record.body, Mapping)
    places += [record.body] if record.signal == "logs" or structured else []
    return any(text in place for place in stand_alone(places))


def stand_alone(value: Any) -> Iterator[list[str]]:
    if isinstance(value, str):
        yield value.split("\n")
    elif isinstance(value, Mapping):
        yield list(value)
        yield from (found for inner in value.values() for found in stand_alone(inner))
    elif isinstance(value, list):
        yield from (found for inner in value for found in stand_alone(inner))


def in_the_program(record: Record, expected: Mapping[str, Any]) -> Iterator[str]:
    """Compare with what a logger of the program's makes of a message and its context."""
    if record.signal != "logs" or not isinstance(record.body, str):
        return
    text, _ = redact.record(record.body, {})
    if as_text("", text) != expected["body"]["body"]:
        yield f"body: {text!r} in the program, {expected['body']['body']!r} in the process"


@pytest.mark.fuzz
@pytest.mark.parametrize("mode", ["mask", "hash"])
def test_process_and_collector_mask_the_same(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(redact, "_matcher", None)
    redact.use(rules())
    with receiving() as receiver:
        configuration: dict[str, Any] = {
            "profile": "local",
            "tenants": {"identify_by": "none"},
            "destinations": {"there": {"type": "otlp", "protocol": "http", "endpoint": receiver.url}},
            "redaction": {**OWN, **({"mode": "hash", "hash_key": {"env": "PEPPER"}} if mode == "hash" else {})},
        }
        with running(tmp_path, configuration, environment={"PEPPER": "pepper"}) as collector:
            count = itertools.count(1)
            for number in rounds(20 if mode == "mask" else 10):
                wrong = exchange(collector, receiver, list(zip(count, drawn(number), strict=False)))
                assert not wrong, f"seed {number}: {len(wrong)} of {RECORDS}\n\n" + "\n\n".join(wrong[:3])

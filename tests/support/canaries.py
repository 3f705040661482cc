"""Secrets that can be told apart, made from the presets' examples, and every place of an OTLP request they fit in."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from theodore_otel.redaction.matcher import Matcher
from theodore_otel.redaction.presets import Preset, all_presets, load

REQUESTS: Mapping[str, type[Message]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
NUMBERS = ("int_value", "double_value")
# What looks like a secret to a careless pattern and is none: attributes as they may be sent.
INNOCENT: Mapping[str, Any] = {
    "gen_ai.usage.input_tokens": 1830,
    "gen_ai.usage.output_tokens": 412,
    "gen_ai.token.type": "input",
    "max_tokens": 4096,
    "total_token_count": 512,
    "candidatesTokenCount": 40,
    "llm.token_count.prompt_details.cache_read": 10,
    "token_limit": 4096,
    "next_page_token": 3,
    "session.id": "s-1",
    "db.redis.key": "company:1",
    "primary_key": "id",
    "key_people": "Ann Lee",
    "auth.type": "oidc",
    "author": "Ada Lovelace",
    "authors": ["Ada Lovelace", "Charles Babbage"],
    "keyword": "turnover",
    "keywords": ["key figures", "secretary of state"],
    "monkey": "banana",
    "page.broken": False,
    "hockey.team": "none",
    "tokenizer": "cl100k_base",
    "authority": "example.com:443",
    "messaging.kafka.message.key": "acme-42",
    "aws.s3.key": "companies/acme.json",
    "passenger": "Yoko Ono",
    "day": "2024-11-24",
    "moment": "2024-11-24T01:50:00.123456+01:00",
    "space between": "2024-11-24 01:50:00",
    "correlation.id": "7f0e3c52-7f39-4ec1-9f6f-2f4b9a5f0c11",
    "digits only uuid": "41111111-1111-4111-8111-111111111111",
    "sha1": "e83c5163316f89bfbde7d9ab23ca2e25604af290",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "arn": "arn:aws:iam::123456789012:role/researcher",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "price": "EUR 1.299,00",
    "cost": 0.00871,
    "version": "2.0.0-rc.1+build.4711",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0",
    "epoch.s": 1732409400,
    "epoch.ms": 1732409400123,
    "epoch.ns": 1732409400123456789,
    "epoch text": "1732409400123456789",
    "negative": -40,
    "large": 1e300,
    "ratio": 0.5123456789012345,
    "text.ratio": "0.5123456789012345",
    "yes": True,
    "no": False,
    "nothing": "",
    "german": "Müller & Söhne GmbH, Straße des 17. Juni 135, 10623 Berlin",
    "japanese": "株式会社日立製作所は、東京に本社を置く企業です。",
    "emoji": "🚀 done",
    "quotes": "he said \"it's 5 o'clock\" and left",
    "backslashes": "C:\\Users\\ada\\new",
    "lines": "first\nsecond\tindented\r\n",
    "markup": "<p class='x'>a &amp; b</p>",
    "url.full": "https://www.siemens.com/de/unternehmen?q=secretary&page=2",
    "ssh": "ssh://git@host/x.git",
    "broker": "amqp://mq:5672/",
    "decorator": "@pytest.fixture",
    "sql": "SELECT id, name FROM company WHERE id = ? AND year = 2024",
    "json": '{"model": "gpt-4o-2024-08-06", "n": 1, "stop": ["\\n"]}',
    "slug": "task-runner-for-the-whole-company-and-its-many-subsidiaries",
    "disk": "disk-0123456789abcdef0123456789abcdef",
    "news": "the bearer of bad news",
    "sentence": "The key to success: no token gesture, no secret sauce. Password: required.",
    "phone": "dial 112",
    "isbn": "ISBN 978-05-1120-3",
    "range": "10 + 12 = 22; C++17; 1e+300",
    "class": "CompanyResearcher",
    "base64 looking text": "TheQuickBrownFoxJumps",
    "ports": "127.0.0.1:4317, [::1]:4318",
    "http.request.header.accept": ["text/html", "application/json;q=0.9"],
    "nested": {"author": "me", "list": [1, 2.5, True, "x", {"deep": ["ü"]}], "input_tokens": 7, "empty": {}},
    "strings": ["a", "b"],
    "numbers": [1, 2, 3],
    "mixed": [1, "a", None, False],
}
_IDS = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
_ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_CHANGED = 10
_MATCHER = Matcher(load().settings())


@dataclass(frozen=True)
class Canary:
    """A text with a secret in it. `core` is the part that no other canary has, and that must not be seen again."""

    kind: str
    text: str
    core: str


def canary(preset: Preset, example: int, number: int) -> Canary:
    """Return the preset's example with other letters and digits in its secret."""
    text = preset.masked[example]
    secret = next(hit.text for hit in _MATCHER.find(text) if hit.name == preset.name)
    start = text.index(secret)
    for attempt in range(10_000):
        chance = random.Random(f"{preset.name} {example} {number} {attempt}")
        end = len(secret) - (attempt // 20) % len(secret)
        changed, core = _changed(secret, end, chance)
        made = text[:start] + changed + text[start + len(secret) :]
        if core and core not in text and core not in _MATCHER.text(made):
            return Canary(f"{preset.name} {example}", made, core)
    raise AssertionError(f"no canary can be made from {preset.name}: {text}")


def kinds() -> list[tuple[Preset, int]]:
    """Return every example of every preset."""
    return [(preset, example) for preset in all_presets() for example in range(len(preset.masked))]


def key_words() -> list[str]:
    """Return a word of every kind that makes a key's value a secret."""
    return [re.sub(r"\((\w+)\|[^)]*\)|\(s\)|\W", r"\1", key.word) for key in load().keys]


def key_canary(word: str, number: int) -> Canary:
    """Return a harmless looking number for a key with such a word."""
    text = str(random.Random(f"{word} {number}").randrange(10**10, 10**11))
    return Canary(f"key {word}", text, text)


def paths(request: type[Message], depth: int = 2) -> list[tuple[str, ...]]:
    """Return the path of every string and bytes field, of values nested `depth` times, and of numbers in values."""
    return list(_paths(request.DESCRIPTOR, (), depth))


def plant(target: Message, path: Sequence[str], text: str, keys: Sequence[str] = ()) -> None:
    """Write the text into the field, in the first of each repeated message, in a new attribute. `keys` name the
    attribute, and the entries of maps in it, that the field belongs to.
    """
    name, rest = path[0], path[1:]
    field = target.DESCRIPTOR.fields_by_name[name]
    if not rest:
        _write(target, field, text)
        return
    inner = _enter(target, field)
    if field.message_type.name == "KeyValue":
        if rest[0] == "key":
            inner.value.string_value = "planted"
        else:
            inner.key, *keys = [*keys, "planted"] if keys else ["planted"]
    plant(inner, rest, text, keys)


def levels(path: Sequence[str]) -> int:
    """Return how many keys stand above a field: an attribute's, and those of maps in it."""
    lists = ("attributes", "filtered_attributes", "metadata", "kvlist_value")
    return sum(part in lists for part in path) if path[-1] != "key" else 0


def fitting(path: Sequence[str], canary: Canary) -> tuple[str, str]:
    """Return what to plant into the field, and what of it must not be seen again. An id holds the core's end only."""
    length = _IDS.get(path[-1])
    return (canary.core[-length:],) * 2 if length else (canary.text, canary.core)


def skeleton(signal: str, attributes: Mapping[str, str]) -> Message:
    """Return a request with one record and these resource attributes."""
    request: Any = REQUESTS[signal]()
    if signal == "traces":
        group = request.resource_spans.add()
        span = group.scope_spans.add().spans.add(name="work", kind=1, trace_id=_id(16), span_id=_id(8))
        span.start_time_unix_nano, span.end_time_unix_nano = 10**18, 10**18 + 10**6
    elif signal == "logs":
        group = request.resource_logs.add()
        group.scope_logs.add().log_records.add(time_unix_nano=10**18).body.string_value = "said"
    else:
        group = request.resource_metrics.add()
        group.scope_metrics.add().metrics.add(name="measured")
    for key, value in attributes.items():
        group.resource.attributes.add(key=key).value.string_value = value
    return request


def complete(request: Any) -> None:
    """Give each metric without a type a point, and each point a time."""
    for group in getattr(request, "resource_metrics", ()):
        for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data") or "gauge"
            data = getattr(metric, kind)
            point = data.data_points[0] if data.data_points else data.data_points.add()
            point.time_unix_nano = 10**18
            if kind in ("sum", "histogram", "exponential_histogram"):
                data.aggregation_temporality = 2


def _paths(descriptor: Descriptor, before: tuple[str, ...], depth: int) -> Iterator[tuple[str, ...]]:
    for field in descriptor.fields:
        path = (*before, field.name)
        if field.message_type and field.message_type.name == "AnyValue":
            yield from _value_paths(path, depth)
        elif field.message_type:
            yield from _paths(field.message_type, path, depth)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            yield path


def _value_paths(before: tuple[str, ...], depth: int) -> Iterator[tuple[str, ...]]:
    for leaf in ("string_value", "bytes_value", *NUMBERS):
        yield (*before, leaf)
    if depth:
        yield from _value_paths((*before, "array_value", "values"), depth - 1)
        yield (*before, "kvlist_value", "values", "key")
        yield from _value_paths((*before, "kvlist_value", "values", "value"), depth - 1)


def _enter(target: Message, field: FieldDescriptor) -> Any:
    inner = getattr(target, field.name)
    if not field.is_repeated:
        inner.SetInParent()
        return inner
    is_new = field.message_type.name in ("KeyValue", "AnyValue") or not inner
    return inner.add() if is_new else inner[0]


def _write(target: Any, field: FieldDescriptor, text: str) -> None:
    value: Any = text
    if field.type == FieldDescriptor.TYPE_BYTES:
        length = _IDS.get(field.name, 0)
        value = text.encode()[-length:].ljust(length, b".")
    elif field.name in NUMBERS:
        value = float(text) if field.name == "double_value" else int(text)
    if field.is_repeated:
        getattr(target, field.name).append(value)
    else:
        setattr(target, field.name, value)


def _changed(secret: str, end: int, chance: random.Random) -> tuple[str, str]:
    """Return the secret with up to ten letters and digits before `end` changed, and what lies between them."""
    places = [index for index in range(end) if secret[index].isascii() and secret[index].isalnum()][-_CHANGED:]
    letters = list(secret)
    for place in places:
        letters[place] = chance.choice(next(alphabet for alphabet in _ALPHABETS if secret[place] in alphabet))
    changed = "".join(letters)
    return changed, changed[places[0] : places[-1] + 1] if places else ""


def _id(length: int) -> bytes:
    return random.randbytes(length)

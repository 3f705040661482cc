"""Datadog's intake: traces, APM statistics, metrics and logs at one address."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc_tools import protoc

from standins.http import HttpStandIn, Request, WireError, expect, no_constant

_PROTO = Path(__file__).with_name("datadog.proto")


class Datadog(HttpStandIn):
    """Keeps what was sent with its key, decoded: lists of spans, statistics, series, sketches and log records."""

    def __init__(self, api_key: str) -> None:
        super().__init__()
        self.api_key = api_key
        self.spans: list[dict[str, Any]] = []
        self.stats: list[dict[str, Any]] = []
        self.series: list[dict[str, Any]] = []
        self.sketches: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        self._intakes = {
            "/api/v0.2/traces": self._traces,
            "/api/v0.2/stats": self._stats,
            "/api/v2/series": self._series,
            "/api/beta/sketches": self._sketches,
            "/api/v2/logs": self._logs,
        }

    def take(self, request: Request) -> tuple[int, object]:
        if request.path == f"/api/v1/validate?api_key={self.api_key}":
            return 200, {"valid": True}
        request.expect("DD-Api-Key", self.api_key)
        if request.path == "/api/v1/validate":
            return 200, {"valid": True}
        expect("method", request.method, "POST")
        if request.path not in self._intakes:
            raise WireError("no such path")
        if request.body != b"{}":  # What is sent to see whether the intake is there.
            self._intakes[request.path](request)
        return 202, {}

    def _traces(self, request: Request) -> None:
        request.expect("Content-Type", "application/x-protobuf")
        payload = decode("AgentPayload", request.body)
        for tracer in payload.get("tracerPayloads", []):
            for chunk in tracer.get("chunks", []):
                self.spans += [_with(tracer, span) for span in chunk["spans"]]

    def _stats(self, request: Request) -> None:
        request.expect("Content-Type", "application/msgpack")
        payload = msgpack.unpackb(request.body)
        for client in payload["Stats"]:
            for bucket in client["Stats"]:
                self.stats += [_with(client, group) for group in bucket["Stats"]]

    def _series(self, request: Request) -> None:
        if request.headers.get("content-type") == "application/json":  # How the exporter reports its own usage.
            payload = json_format.Parse(request.body, _messages()["datadog.MetricPayload"]())
            self.series += _as_data(payload)["series"]
        else:
            request.expect("Content-Type", "application/x-protobuf")
            self.series += decode("MetricPayload", request.body).get("series", [])

    def _sketches(self, request: Request) -> None:
        request.expect("Content-Type", "application/x-protobuf")
        self.sketches += decode("SketchPayload", request.body).get("sketches", [])

    def _logs(self, request: Request) -> None:
        request.expect("Content-Type", "application/json")
        records = json.loads(request.body, parse_constant=no_constant)
        for record in records:
            if not isinstance(record.get("message"), str) or not isinstance(record.get("ddtags"), str):
                raise WireError(f"message and ddtags are strings, got {record!r}")
            if not record["message"]:
                raise WireError(f"message: may not be empty, got {record!r}")
            if record["message"].startswith("{"):
                json.loads(record["message"], parse_constant=no_constant)
        self.logs += records


def _with(envelope: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with what its envelope says beside it."""
    return {**record, "envelope": {key: value for key, value in envelope.items() if key not in ("chunks", "Stats")}}


def decode(name: str, body: bytes) -> dict[str, Any]:
    """Return a message of datadog.proto as plain data; raise WireError when it has fields that are not there."""
    try:
        message = _messages()[f"datadog.{name}"].FromString(body)
    except DecodeError as error:
        raise WireError(f"no {name}: {error}") from error
    unknown = list(_unknown(message))
    if unknown:
        raise WireError(f"{name} has unknown fields: {unknown}")
    return _as_data(message)


def _as_data(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _unknown(message: Message) -> Iterator[str]:
    for field in UnknownFieldSet(message):
        yield f"{message.DESCRIPTOR.name} {field.field_number}"
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        for part in [value] if isinstance(value, Message) else value:
            yield from _unknown(part)


@functools.cache
def _messages() -> dict[str, type[Message]]:
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "set"
        arguments = ["protoc", f"-I{_PROTO.parent}", f"--descriptor_set_out={compiled}", str(_PROTO)]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"{_PROTO} does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    return message_factory.GetMessages(files.file, pool=descriptor_pool.DescriptorPool())

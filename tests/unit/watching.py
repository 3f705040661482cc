"""Helpers of the tests of watched functions: a small application on the path, and the spans it makes."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import requests
import urllib3
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from theodore_otel.instrument import watch
from theodore_otel.instrument.processors import EntrySpanProcessor

CLIENTS: list[tuple[Any, str]] = [
    (requests.Session, "send"),
    (httpx.Client, "send"),
    (httpx.AsyncClient, "send"),
    (aiohttp.ClientSession, "_request"),
    (aiohttp.ClientResponse, "read"),
    (aiohttp.ClientResponse, "close"),
    (aiohttp.ClientResponse, "release"),
    (urllib3.HTTPConnectionPool, "urlopen"),
]
"""What recognising model calls patches in the HTTP clients."""

_numbers = itertools.count()


@dataclass
class Settings:
    """The part of the process's settings that watching needs."""

    watch: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    model_apis: list[dict[str, Any]] = field(default_factory=list)
    prices: dict[str, dict[str, float]] = field(default_factory=dict)
    redaction: dict[str, Any] = field(default_factory=dict)


class Observed:
    """What was reported and which spans ended."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(EntrySpanProcessor())
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def install(self, settings: Settings) -> Callable[[], None]:
        return watch.install(settings, self.provider, self.reports.append)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def only(self) -> ReadableSpan:
        (found,) = self.spans
        return found


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@contextmanager
def application(folder: Path, source: str) -> Iterator[str]:
    """Put a module with this source on the path, under a name of its own, and give the name."""
    name = f"watched_app_{next(_numbers)}"
    (folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield name
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


@contextmanager
def put_back(places: list[tuple[Any, str]]) -> Iterator[None]:
    """Undo afterwards what is wrapped inside, so that no function is wrapped twice."""
    originals = [(owner, name, vars(owner)[name]) for owner, name in places]
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve a stand-in on the loopback for the length of a block; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

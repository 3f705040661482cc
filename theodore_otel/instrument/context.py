"""What belongs to the whole process: its correlation id and the context a parent process handed over."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry import baggage, context
from opentelemetry.context import Context

from theodore_otel.conventions import names

KEYS: Final = frozenset({names.TENANT_ID, names.CORRELATION_ID, names.USER_ID, names.COMPONENT})
"""The only baggage entries that are copied onto spans and log records."""

_ENVIRONMENT_HEADERS: Final = {"TRACEPARENT": "traceparent", "TRACESTATE": "tracestate", "BAGGAGE": "baggage"}
_LONGEST_ID: Final = 128
_root: Context = Context()


def carried(key: str) -> bool:
    """Say whether a baggage entry is copied onto spans and log records."""
    return key in KEYS


def clean_id(value: object) -> str | None:
    """Return an id as it may stand in a header and on a record: 1 to 128 printable ASCII characters; else None."""
    text = str(value).strip() if value is not None else ""
    return text if 0 < len(text) <= _LONGEST_ID and text.isascii() and text.isprintable() else None


def cleaned(handed: Context) -> Context:
    """Return a context in whose baggage every entry that is copied onto records is an id as `clean_id` has it.

    What is none is left out: baggage is written by whoever sends a request.
    """
    for key in KEYS:
        given = baggage.get_baggage(key, handed)
        kept = clean_id(given)
        if kept is None and given is not None:
            handed = baggage.remove_baggage(key, handed)
        elif kept is not None and kept != given:
            handed = baggage.set_baggage(key, kept, handed)
    return handed


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name in lower case; values of a name that comes twice are joined, as HTTP has it.

    So two tenants in one request are no tenant, rather than the last one.
    """
    carrier: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        carrier[key] = f"{carrier[key]},{value}" if carrier.get(key, value) != value else value
    return carrier


def new_correlation_id() -> str:
    """Return a fresh correlation id."""
    return uuid.uuid4().hex


def start(environ: Mapping[str, str] = os.environ) -> Context:
    """Make the process's root context current: what TRACEPARENT, TRACESTATE, BAGGAGE and CORRELATION_ID hand over,
    and a correlation id in any case, so that everything one command does carries the same one.
    """
    global _root
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {header: environ[name] for name, header in _ENVIRONMENT_HEADERS.items() if environ.get(name)}
    handed = W3CBaggagePropagator().extract(carrier, TraceContextTextMapPropagator().extract(carrier, Context()))
    handed = cleaned(handed)
    given = clean_id(environ.get("CORRELATION_ID")) or baggage.get_baggage(names.CORRELATION_ID, handed)
    correlation = given or new_correlation_id()
    _root = baggage.set_baggage(names.CORRELATION_ID, correlation, handed)
    context.attach(_root)
    return _root


def root() -> Context:
    """Return the context the process began with; threads that inherited none fall back to its baggage."""
    return _root

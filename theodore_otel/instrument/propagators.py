"""What goes over the wire, and to whom: trace context, baggage and correlation id, to allow-listed hosts only.

The host is read from the current span: every HTTP client instrumentation starts a CLIENT span with `url.full` or
`server.address` before it injects, so one place knows the destination of requests, urllib3, httpx, aiohttp and urllib
alike. A CLIENT span without a destination (not sampled, or an unknown library) gets nothing. Where no CLIENT span is
current, the application itself called `inject`, for a carrier of its own such as a queue: that is let through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import INVALID_SPAN, SpanKind, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from theodore_otel.conventions import names
from theodore_otel.instrument import context as process_context
from theodore_otel.instrument.settings import Settings

_REMEMBERED: Final = 10_000
"""Requests until the next hop of one of them, which may belong to a trace of its own."""
_TRACE: Final = frozenset({"traceparent", "tracestate"})
_TRACE_HEADERS: Final = _TRACE | {"baggage"}


class CorrelationPropagator(TextMapPropagator):
    """Tenant, user and correlation headers into baggage; the correlation id back into its header."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Take header names from the settings; as an entry point it is made without arguments."""
        settings = settings or Settings()
        self._correlation = settings.correlation_header
        self._headers = {names.TENANT_ID: settings.tenant_header, names.USER_ID: settings.user_header}

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Read the headers of an incoming request. Without a correlation id one is made: a request never continues
        the one its server process began with.
        """
        context = process_context.cleaned(context if context is not None else Context())
        for key, header in self._headers.items():
            sent, value = _sent(getter, carrier, header)
            if value:
                context = baggage.set_baggage(key, value, context)
            elif sent:
                # Not what baggage says instead: that is another one than the header meant.
                context = baggage.remove_baggage(key, context)
        _, correlation = _sent(getter, carrier, self._correlation)
        if correlation is None:
            handed = W3CBaggagePropagator().extract(carrier, Context(), getter)
            correlation = process_context.clean_id(baggage.get_baggage(names.CORRELATION_ID, handed))
        correlation = correlation or process_context.new_correlation_id()
        return baggage.set_baggage(names.CORRELATION_ID, correlation, context)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write the correlation id into its header."""
        value = process_context.clean_id(baggage.get_baggage(names.CORRELATION_ID, context))
        if self._correlation and value:
            setter.set(carrier, self._correlation, value)

    @property
    def fields(self) -> set[str]:
        """The headers written."""
        return {self._correlation} if self._correlation else set()


class GuardedPropagator(TextMapPropagator):
    """Lets other propagators speak to allow-listed hosts only."""

    def __init__(self, inner: TextMapPropagator, propagate_to: frozenset[str]) -> None:
        """Guard `inner`; `propagate_to` holds host names, or `.example.com` for every host below."""
        self._inner = inner
        self._allowed = propagate_to
        self._written: deque[str] = deque(maxlen=_REMEMBERED)

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Read an incoming carrier; what did not come from a caller is not its parent.

        A span that is current in a server before the request arrives is the server's own command.
        """
        try:
            found = process_context.cleaned(self._inner.extract(carrier, context, getter))
        except Exception:  # noqa: BLE001 - a carrier nobody can read carries nothing
            found = context if context is not None else Context()
        remote = get_current_span(found).get_span_context().is_remote
        return found if remote else set_span_in_context(INVALID_SPAN, found)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write to an allow-listed host; take away what an earlier hop of a redirect wrote for another host."""
        with suppress(Exception):  # the request goes on, whatever its carrier is
            known, host = destination(context)
            if not known:
                self._inner.inject(carrier, context, setter)
            elif self.allows(host):
                self._write(carrier, context, setter)
            else:
                self.strip(carrier, context)

    def allows(self, host: str | None) -> bool:
        """Say whether a host may be told about the trace."""
        if not host:
            return False
        host = host.lower().rstrip(".")
        return host in self._allowed or any(host.endswith(name) for name in self._allowed if name.startswith("."))

    def _write(self, carrier: CarrierT, context: Context | None, setter: Setter[CarrierT]) -> None:
        """Write to the headers of a request, beside those of the same name that the application set itself."""
        written = self._headers(context)
        own = self._of_the_application(carrier, written) if isinstance(carrier, Mapping) else set()
        for name, value in written.items():
            if name.lower() not in own:
                setter.set(carrier, name, value)
                if name == "traceparent":
                    self._written.append(value)

    def strip(self, carrier: Any, context: Context | None = None) -> None:
        """Remove what an earlier hop wrote; what the application set itself goes where it sends it."""
        written = self._headers(context)
        ours = {*_TRACE_HEADERS, *map(str.lower, written)} - self._of_the_application(carrier, written)
        for name in [str(name) for name in carrier]:
            if name.lower() in ours:
                del carrier[name]

    def _of_the_application(self, carrier: Mapping[Any, Any], written: Mapping[str, str]) -> set[str]:
        """Return the names of headers that the application set itself, rather than an earlier hop or attempt of ours:
        a trace that neither is the current one nor was written before, and other values. Without a current trace nobody
        can tell.
        """
        found = {str(name).lower(): str(carrier[name]) for name in carrier}
        ours = {name.lower(): value for name, value in written.items()}
        own = {name for name in ours.keys() & found.keys() - _TRACE_HEADERS if found[name] != ours[name]}
        current = _trace_id(ours.get("traceparent"))
        if current and not _TRACE.isdisjoint(found):
            there = found.get("traceparent")
            if _trace_id(there) != current and there not in self._written:
                own |= _TRACE
        if current and found.get("baggage", "") not in ("", ours.get("baggage")):
            own.add("baggage")
        return own

    def _headers(self, context: Context | None) -> dict[str, str]:
        written: dict[str, str] = {}
        self._inner.inject(written, context)
        return written

    @property
    def fields(self) -> set[str]:
        """The headers written."""
        return self._inner.fields


def destination(context: Context | None) -> tuple[bool, str | None]:
    """Return whether an HTTP client is about to send, and the host it sends to if the span tells."""
    span = get_current_span(context)
    if getattr(span, "kind", None) is not SpanKind.CLIENT:
        # A span that does not record has no kind: with a sampler of the user's, silence is the safe answer.
        # A remote one is whose message is worked on: no client's.
        own = span.get_span_context()
        return (span is not INVALID_SPAN and not span.is_recording() and own.is_valid and not own.is_remote), None
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    url = attributes.get("url.full") or attributes.get("http.url")
    if url:
        try:
            return True, urlsplit(str(url)).hostname
        except ValueError:
            return True, None
    return True, attributes.get("server.address")


def _trace_id(traceparent: str | None) -> list[str]:
    return (traceparent or "").split("-")[1:2]


def build(settings: Settings) -> GuardedPropagator:
    """Return the propagator of this process."""
    from opentelemetry.propagators.composite import CompositePropagator

    parts: list[TextMapPropagator] = [TraceContextTextMapPropagator(), W3CBaggagePropagator()]
    return GuardedPropagator(CompositePropagator([*parts, CorrelationPropagator(settings)]), settings.propagate_to)


def _sent(getter: Getter[CarrierT], carrier: CarrierT, header: str | None) -> tuple[bool, str | None]:
    """Return whether a header was sent, and its value; no value where it is no id or the header has several."""
    if not header:
        return False, None
    # Some carriers match any case, some only the one they have, some cannot say what they have.
    spelt = [name for name in getter.keys(carrier) if str(name).lower() == header.lower()]
    values = [v for name in dict.fromkeys(spelt or (header, header.lower())) for v in getter.get(carrier, name) or ()]
    if not values:
        return False, None
    return True, process_context.clean_id(values[0]) if len(set(values)) == 1 else None

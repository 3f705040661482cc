"""What goes over the wire, and to whom: trace context, baggage and correlation id, to allow-listed hosts only.

The host is read from the current span: every HTTP client instrumentation starts a CLIENT span with `url.full` or
`server.address` before it injects, so one place knows the destination of requests, urllib3, httpx, aiohttp and urllib
alike. A CLIENT span without a destination (not sampled, or an unknown library) gets nothing. Where no CLIENT span is
current, the application itself called `inject`, for a carrier of its own such as a queue: that is let through.
"""

from __future__ import annotations

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

_TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate", "baggage"})


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
            if not known or self.allows(host):
                self._inner.inject(carrier, context, setter)
            else:
                self.strip(carrier, context)

    def allows(self, host: str | None) -> bool:
        """Say whether a host may be told about the trace."""
        if not host:
            return False
        host = host.lower().rstrip(".")
        return host in self._allowed or any(host.endswith(name) for name in self._allowed if name.startswith("."))

    def strip(self, carrier: Any, context: Context | None = None) -> None:
        """Remove what an earlier hop wrote: trace headers always, others only with the value we would have written,
        because the application may use a header of that name for its own purposes.
        """
        written: dict[str, str] = {}
        self._inner.inject(written, context)
        ours = {name.lower(): value for name, value in written.items()}
        for name in [str(name) for name in carrier]:
            if name.lower() in _TRACE_HEADERS or str(carrier[name]) == ours.get(name.lower()):
                del carrier[name]

    @property
    def fields(self) -> set[str]:
        """The headers written."""
        return self._inner.fields


def destination(context: Context | None) -> tuple[bool, str | None]:
    """Return whether an HTTP client is about to send, and the host it sends to if the span tells."""
    span = get_current_span(context)
    if getattr(span, "kind", None) is not SpanKind.CLIENT:
        # A span that does not record has no kind: with a sampler of the user's, silence is the safe answer.
        return (span is not INVALID_SPAN and not span.is_recording() and span.get_span_context().is_valid), None
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    url = attributes.get("url.full") or attributes.get("http.url")
    if url:
        try:
            return True, urlsplit(str(url)).hostname
        except ValueError:
            return True, None
    return True, attributes.get("server.address")


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

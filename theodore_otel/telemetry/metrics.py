"""Numbers about operations, for code that measures them itself.

The collector counts from spans, once. So what is recorded here goes onto the span that covers the operation: the one
that runs, or the one that has just ended. Where there is none, a span with the measured times is made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import SpanKind, Status, StatusCode

from theodore_otel.conventions import names
from theodore_otel.instrument import active, entry, finished
from theodore_otel.instrument.say import say
from theodore_otel.instrument.texts import as_count, as_text
from theodore_otel.telemetry import redact
from theodore_otel.telemetry.config import MetricsConfig
from theodore_otel.telemetry.operations import HELPED, Helper, Part, covered, finite, given_of, not_told
from theodore_otel.telemetry.tracing import TracingManager

if TYPE_CHECKING:
    from theodore_otel.telemetry.prometheus import Endpoint

_ADDITION: Final = "addition"
_REQUESTS: Final = "command"
_TOLD_LATER: Final = (
    names.GEN_AI_INPUT_TOKENS,
    names.GEN_AI_OUTPUT_TOKENS,
    names.AI_TOTAL_TOKENS,
    names.AI_COST,
    names.RESEARCH_PAGES,
)
"""What is counted of an operation besides that it ended."""


class MetricsManager:
    """Records what operations were and used. Nothing here raises because of what it is given.

    Durations are seconds. An operation is looked for by what it is: a model call by its model, a research by company
    and type, a storage operation by store and operation.
    """

    def __init__(self, config: MetricsConfig | None = None, tracing: TracingManager | None = None) -> None:
        """Without a configuration, the defaults of `MetricsConfig` hold; `tracing` makes the spans."""
        self.config = config or MetricsConfig()
        self.tracing = tracing or TracingManager()
        self.endpoint: Endpoint | None = None
        """The endpoint for a Prometheus, while there is one."""

    def initialize(self, meter: Meter | None = None, *, host: str = "127.0.0.1") -> None:
        """Begin. Running operations are reported with `meter` from now on; without one with the process's own meter,
        once it has run for 30 seconds. With `prometheus_enabled`, the endpoint of this process opens, on loopback
        unless `host` says otherwise. Harmless the second time.
        """
        if not self.config.enabled:
            return
        if meter is not None:
            active.report(meter)
        if self.config.prometheus_enabled and self.endpoint is None:
            self.endpoint = self._open(host)

    def record_request(self, endpoint: str, method: str, status_code: int | str, duration: float) -> None:
        """Record an API request, or with `CLI` as its method a command, whose status is 0 or an exit code.

        `endpoint` is the route, such as `/companies/{id}`, or the command's name. The request or command that the
        instrumentation observes already is not counted again.
        """
        if not self.config.enabled or _is_observed():
            return
        code, name = finite(status_code), as_text(endpoint, redact.text) or "unknown"
        if str(method).upper() == "CLI":
            failed = bool(code) if code is not None else str(status_code).lower() not in ("ok", "success", "")
            told: dict[str, Any] = {names.OPERATION_TYPE: _REQUESTS, names.COMMAND: name, names.SUCCESS: not failed}
            self._make(name, told, duration, "" if not failed else f"exit code {status_code}")
            return
        failed = code is not None and code >= 500
        told = {names.HTTP_METHOD: str(method).upper(), names.HTTP_ROUTE: name, names.HTTP_STATUS: int(code or 0)}
        words = f"HTTP {status_code}" if failed else ""
        self._make(f"{str(method).upper()} {name}", told, duration, words, kind=SpanKind.SERVER)

    def record_ai_operation(
        self,
        provider: str,
        model: str,
        operation: str,
        tokens_used: int,
        duration: float,
        cost: float,
        success: bool,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
    ) -> None:
        """Record one call of a model. `cost` is US dollars; tokens by kind, where they are known, win over the sum."""
        told: dict[str, Any] = {} if (price := finite(cost)) is None else {names.AI_COST: price}
        if input_tokens is not None or output_tokens is not None:
            told[names.GEN_AI_INPUT_TOKENS] = as_count(input_tokens, redact.text) or 0
            told[names.GEN_AI_OUTPUT_TOKENS] = as_count(output_tokens, redact.text) or 0
        elif tokens_used is not None:
            told[names.AI_TOTAL_TOKENS] = as_count(tokens_used, redact.text) or 0
        given = {"provider": provider, "model": model, "operation": operation}
        self._record("ai", given, told, duration, success=success, identity=(names.GEN_AI_REQUEST_MODEL,))

    def record_company_research(
        self, company_name: str, research_type: str, success: bool, duration: float, pages_scraped: int = 0
    ) -> None:
        """Record the research of one company. Its name is on the span and never a label."""
        told = {names.RESEARCH_PAGES: as_count(pages_scraped, redact.text) or 0}
        given = {"company": company_name, "research_type": research_type}
        self._record("research", given, told, duration, success=success)

    def record_storage_operation(
        self,
        storage_type: str,
        operation: str,
        success: bool,
        duration: float,
        data_size_bytes: int | None = None,
    ) -> None:
        """Record one operation of a store; the size stands on its span."""
        size = as_count(data_size_bytes, redact.text)
        told = {} if size is None else {names.STORAGE_SIZE: size}
        given = {"operation": operation, "storage_type": storage_type}
        self._record("storage", given, told, duration, success=success)

    def record_similarity_calculation(self, duration: float = 0.0) -> None:
        """Record one calculation of how similar companies are."""
        self._record("similarity", {}, {}, duration, success=True)

    def track_operation(self, operation_name: str, **labels: Any) -> Helper:
        """Return an operation for `with`, `async with` or as a decorator: it is among `theodore_active_operations` by
        its name, and a failure is counted. `labels` stand on its span.
        """
        tracked = redact.text(operation_name) if self.config.enabled else None
        return self.tracing.named(operation_name, labels, tracked=tracked)

    def _open(self, host: str) -> Endpoint | None:
        """Open the endpoint; what is in the way is told in one line, and the program goes on without."""
        provider = self.tracing.provider
        add = getattr(provider, "add_span_processor", None)
        if add is None:
            say("no Prometheus endpoint: nothing makes spans in this process; call theodore_otel.configure() before")
            return None
        try:
            from theodore_otel.telemetry.prometheus import Endpoint

            resource = getattr(provider, "resource", None)
            service = str(resource.attributes.get(names.SERVICE_NAME, "theodore-v2")) if resource else "theodore-v2"
            endpoint = Endpoint(self.config.prometheus_port, host, service=service)
        except ImportError as error:
            say(f"no Prometheus endpoint: {error.name} is not installed; pip install 'theodore-otel[prometheus]'")
        except OSError as error:
            say(f"no Prometheus endpoint: cannot listen on {host}:{self.config.prometheus_port}: {error.strerror}")
        else:
            add(endpoint.processor)
            return endpoint
        return None

    def _record(
        self,
        type_: str,
        entry_: Mapping[str, Any],
        told: dict[str, Any],
        duration: float,
        *,
        success: bool,
        identity: tuple[str, ...] | None = None,
    ) -> None:
        if not self.config.enabled:
            return
        given = given_of(HELPED[type_], entry_, self.tracing.tools).given
        known = given if identity is None else {name: given[name] for name in identity if name in given}
        if covered(HELPED[type_], known):
            part = Part(type_, given, None)
            part.tell_again(told)
            if not success:
                part.fail()
            return
        now = time.time_ns()
        before = finished.claim(type_, known, now - _nanoseconds(duration), now)
        if before is None:
            words = "" if success else f"{type_} failed"
            attributes = {names.OPERATION_TYPE: type_, **given, **told, names.SUCCESS: bool(success)}
            name = HELPED[type_].name(given)
            self._make(name, attributes, duration, words, kind=_kind(type_), error=f"{type_}_failed")
        elif new := {k: v for k, v in not_told(told, before.attributes).items() if v and k in _TOLD_LATER}:
            attributes = {**before.attributes, **new, names.SUCCESS: bool(success), names.OPERATION_TYPE: _ADDITION}
            kept = {k: v for k, v in attributes.items() if k in new or k not in _TOLD_LATER}
            self._make(f"{HELPED[type_].name(given)} addition", kept, 0.0, "")

    def _make(
        self,
        name: str,
        attributes: Mapping[str, Any],
        duration: float,
        failure: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        error: str = "error",
    ) -> None:
        end = time.time_ns()
        begin = end - _nanoseconds(duration)
        span = self.tracing.tools.tracer.start_span(name, kind=kind, attributes=attributes, start_time=begin)
        if failure:
            span.set_attribute(names.ERROR_TYPE, error)
            span.set_status(Status(StatusCode.ERROR, failure))
        span.end(end_time=end)


def _nanoseconds(seconds: Any) -> int:
    number = finite(seconds)
    return int(number * 1e9) if number is not None and 0 <= number < 1e7 else 0


def _kind(type_: str) -> SpanKind:
    return SpanKind.CLIENT if HELPED[type_].client else SpanKind.INTERNAL


def _is_observed() -> bool:
    """Say whether the current request or command has a span that is counted."""
    found = entry.current()
    span = found.span if found is not None else trace.get_current_span()
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    server = getattr(span, "kind", None) is SpanKind.SERVER and names.HTTP_METHOD in attributes
    return server or attributes.get(names.OPERATION_TYPE) == _REQUESTS

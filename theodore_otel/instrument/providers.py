"""The global providers: ours, until the application sets one of its own. Then its provider is the global one, as it
would be without us, and its spans are reported both ways.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from opentelemetry import trace

from theodore_otel.instrument import context
from theodore_otel.instrument.say import say

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    from theodore_otel.instrument.pipeline import Pipeline


def install_tracing(resource: Resource, pipeline: Pipeline) -> TracerProvider | None:
    """Set the global tracer provider, or add to the one that is set already. Returns None where that is impossible."""
    from opentelemetry.sdk.trace import TracerProvider

    present = trace.get_tracer_provider()
    if not isinstance(present, trace.ProxyTracerProvider):
        processors = _processors(lambda: resource, pipeline)
        return present if _join(present, processors, "a tracer provider is set already") else None
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    processors = _processors(lambda: provider.resource, pipeline)  # it changes in a forked child
    for processor in processors:
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    give_way(trace, "tracer", lambda own: _join(own, processors, "the application set a tracer provider of its own"))
    return provider


def give_way(module: Any, kind: str, joined: Callable[[Any], object]) -> None:
    """Let the application's first `set_<kind>_provider` succeed, and call `joined` with what it set.

    Upstream refuses a second provider, so the application's own telemetry would go nowhere because of ours. `module`
    is the one that holds the global; later attempts are refused as they would be without us.
    """
    setter, variable = f"_set_{kind}_provider", f"_{kind.upper()}_PROVIDER"
    refusing = getattr(module, setter)

    def set_provider(provider: Any, log: bool) -> None:  # noqa: ARG001 - upstream's signature
        setattr(module, setter, refusing)
        setattr(module, variable, provider)
        logging.getLogger("opentelemetry").setLevel(logging.NOTSET)  # what its own side complains of is to be seen
        joined(provider)

    setattr(module, setter, set_provider)


def _join(provider: Any, processors: Sequence[SpanProcessor], what: str) -> TypeGuard[TracerProvider]:
    from opentelemetry.sdk.trace import TracerProvider

    if not isinstance(provider, TracerProvider):
        say(f"{what} ({type(provider).__name__}); its spans are left to it")
        return False
    for processor in processors:
        provider.add_span_processor(processor)
    say(f"{what}; its spans are reported too")
    return True


def _processors(resource: Callable[[], Resource], pipeline: Pipeline) -> list[SpanProcessor]:
    from theodore_otel.instrument.processors import (
        EntrySpanProcessor,
        PipelineSpanProcessor,
        RootedBaggageSpanProcessor,
    )

    return [
        EntrySpanProcessor(),
        RootedBaggageSpanProcessor(context.carried),
        PipelineSpanProcessor(pipeline, resource),
    ]

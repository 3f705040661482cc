"""What the helpers and redaction cost a program: `python tests/perf/bench_spans.py [ROUNDS]`.

Each round takes a raw SDK span and each helper in turn, so that the load of the machine is the same for all; medians
and ratios are printed, and for redaction the fastest round. The exit code is 1 when a budget is missed.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import time
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from theodore_otel.conventions import names
from theodore_otel.instrument import settings
from theodore_otel.redaction.matcher import Matcher
from theodore_otel.telemetry.tracing import TheodoreTracer, TracingManager

CALLS = 100
"""Of each case in turn: short, so that what else the machine does meets all of them."""
RECORDS = 2_000
SPAN_BUDGET = 1.25
"""Times a raw SDK span with the same attributes."""
RECORD_BUDGET = 2.0
"""Microseconds for a message and eight values in which nothing matches."""

Case = Callable[[], object]


def main(rounds: int) -> int:
    """Measure, print and return the exit code."""
    trace.set_tracer_provider(TracerProvider())
    gc.disable()
    return _report({**_measure(_spans(), rounds, CALLS), **_measure(_records(), rounds // 10, RECORDS)})


def _measure(cases: dict[str, Case], rounds: int, calls: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, case in cases.items():
            taken[name].append(_microseconds(case, calls))
        if number % 20 == 0:
            gc.collect()
    return taken


def _spans() -> dict[str, Case]:
    tracer = trace.get_tracer("bench")
    helpers = TheodoreTracer(TracingManager())
    ai = {
        names.OPERATION_TYPE: "ai",
        names.GEN_AI_PROVIDER: "openrouter",
        names.GEN_AI_REQUEST_MODEL: "anthropic/claude-3.5-sonnet",
        names.GEN_AI_OPERATION: "chat",
    }
    storage = {
        names.OPERATION_TYPE: "storage",
        names.STORAGE_OPERATION: "upsert",
        names.STORAGE_TYPE: "vector_storage",
    }

    def raw(name: str, attributes: dict[str, str], kind: SpanKind) -> None:
        with tracer.start_as_current_span(name, attributes=attributes, kind=kind) as span:
            span.set_attribute(names.SUCCESS, True)

    def helped_ai() -> None:
        with helpers.trace_ai_operation("openrouter", "anthropic/claude-3.5-sonnet", "chat"):
            pass

    def helped_storage() -> None:
        with helpers.trace_storage_operation("upsert"):
            pass

    @tracer.start_as_current_span("storage upsert", attributes=storage)
    def raw_decorated() -> None:
        trace.get_current_span().set_attribute(names.SUCCESS, True)

    @helpers.trace_storage_operation("upsert")
    def decorated() -> None:
        pass

    return {
        "raw SDK span, ai": lambda: raw("chat anthropic/claude-3.5-sonnet", ai, SpanKind.CLIENT),
        "helper, ai": helped_ai,
        "raw SDK span, storage": lambda: raw("storage upsert", storage, SpanKind.INTERNAL),
        "helper, storage": helped_storage,
        "raw SDK span, decorator": raw_decorated,
        "helper, decorator": decorated,
    }


def _records() -> dict[str, Case]:
    matcher = Matcher(settings.load({})[0].redaction)
    records = [
        (
            f"Research of company {number % 90} finished in {number % 37 / 3:.1f} seconds",
            {
                "company_name": f"Company {number % 50}",
                "operation": "research",
                "duration_ms": number * 1.7,
                "pages": number % 40,
                "success": True,
                "model": "anthropic/claude-3.5-sonnet",
                "url": f"https://c{number % 50}.example/about",
                "tenant": "acme",
            },
        )
        for number in range(RECORDS)
    ]
    turns = iter(())

    def record() -> None:
        nonlocal turns
        with contextlib.suppress(StopIteration):
            text, values = next(turns)
            matcher.record(text, values)
            return
        turns = iter(records)

    def nothing() -> None:
        nonlocal turns
        with contextlib.suppress(StopIteration):
            next(turns)
            return
        turns = iter(records)

    return {"record, loop only": nothing, "record": record}


def _microseconds(case: Case, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        case()
    return (time.perf_counter() - start) / calls * 1e6


def _report(taken: dict[str, list[float]]) -> int:
    for name, times in taken.items():
        print(f"{name:24} {statistics.median(times):7.2f} us")
    found = {
        "helper / raw, ai": (_ratio(taken, "helper, ai", "raw SDK span, ai"), SPAN_BUDGET),
        "helper / raw, storage": (_ratio(taken, "helper, storage", "raw SDK span, storage"), SPAN_BUDGET),
        "helper / raw, decorator": (_ratio(taken, "helper, decorator", "raw SDK span, decorator"), SPAN_BUDGET),
        "redaction of a record, us": (min(taken["record"]) - min(taken["record, loop only"]), RECORD_BUDGET),
    }
    for name, (value, budget) in found.items():
        print(f"{name:28} {value:5.2f}  (at most {budget}) {'ok' if value <= budget else 'MISSED'}")
    return int(any(value > budget for value, budget in found.values()))


def _ratio(taken: dict[str, list[float]], ours: str, peer: str) -> float:
    """Return the median of the rounds' ratios: what slows the machine down in one slows both."""
    return statistics.median(a / b for a, b in zip(taken[ours], taken[peer], strict=True))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))

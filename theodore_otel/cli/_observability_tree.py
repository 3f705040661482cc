"""One trace as a tree: what called what, when it began, how long it took, what it cost, what went wrong."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from theodore_otel.cli import _observability_common as common
from theodore_otel.conventions import names

if TYPE_CHECKING:
    from theodore_otel.query import Span, Trace

_LONGEST_DETAIL = 48


@dataclass(frozen=True)
class _Drawing:
    """The characters of a tree."""

    branch: str
    last: str
    bar: str
    gap: str = "   "


_UNICODE = _Drawing("├─ ", "└─ ", "│  ")
_ASCII = _Drawing("|- ", "`- ", "|  ")


def totals(trace: Trace) -> dict[str, Any]:
    """Return what the trace adds up to."""
    spans = trace.spans
    begin, end = min(s.time for s in spans), max(s.time + s.duration_ns for s in spans)
    costs = [span.cost_usd for span in spans if span.cost_usd is not None]
    unpriced = any(span.cost_usd is None and span.input_tokens + span.output_tokens for span in spans)
    return {
        "time": common.iso(begin),
        "tenant": _first(span.tenant for span in spans),
        "service": _first(span.service for span in spans),
        "company": _first(span.company for span in spans),
        "correlation_id": _first(span.correlation_id for span in spans),
        "duration_ns": end - begin,
        "input_tokens": sum(span.input_tokens for span in spans),
        "output_tokens": sum(span.output_tokens for span in spans),
        "cost_usd": None if unpriced else sum(costs),
        "errors": sum(span.status == "error" for span in spans),
    }


def _first(values: Iterator[str | None]) -> str | None:
    return next((value for value in values if value), None)


def render(trace: Trace) -> Iterator[str]:
    """Yield the lines that show a trace, styled for a terminal."""
    total = totals(trace)
    yield from _heading(trace, total)
    yield ""
    begin = min(span.time for span in trace.spans)
    rows = [_cells(prefix, span, begin) for prefix, span in _walk(trace.spans, _drawing())]
    header = ("SPAN", "START", "DURATION", "TOKENS", "COST", "")
    widths = [max(len(row[i]) for row in [header, *(cells for cells, _ in rows)]) for i in range(5)]
    yield click.style(_line(header, widths), bold=True)
    for cells, failed in rows:
        line = _line(cells, widths)
        yield click.style(line, fg="red") if failed else line


def _heading(trace: Trace, total: dict[str, Any]) -> Iterator[str]:
    yield click.style(f"trace {common.clean(trace.trace_id)}", bold=True)
    for facts in (
        {key: total[key] for key in ("tenant", "service", "company")} | {"correlation": total["correlation_id"]},
        {
            "started": common.moment(min(span.time for span in trace.spans)) + " UTC",
            "took": common.duration(total["duration_ns"]),
            "spans": str(len(trace.spans)),
            "errors": str(total["errors"]),
        },
        {
            "tokens": f"{total['input_tokens']:,} in, {total['output_tokens']:,} out",
            "cost": common.dollars(total["cost_usd"]),
        },
    ):
        yield "   ".join(f"{key} {common.clean(value)}" for key, value in facts.items() if value)


def _cells(prefix: str, span: Span, begin: int) -> tuple[tuple[str, ...], bool]:
    tokens = f"{span.input_tokens:,}+{span.output_tokens:,}" if span.input_tokens or span.output_tokens else ""
    cells = (
        prefix + _label(span),
        f"+{common.duration(span.time - begin)}" if span.time > begin else "0",
        common.duration(span.duration_ns),
        tokens,
        common.dollars(span.cost_usd) if span.cost_usd else "",
        f"error: {common.clean(span.error)}" if span.error else "",
    )
    return cells, span.error is not None


def _label(span: Span) -> str:
    url = None if span.model else span.attributes.get(names.URL_FULL)
    for detail in (span.company, url, span.model):
        if detail and str(detail) not in span.name:
            return f"{common.clean(span.name)}  {_shortened(common.clean(str(detail)))}"
    return _shortened(common.clean(span.name))


def _shortened(text: str) -> str:
    """Return a long text without its middle: the pages of a site differ at the end."""
    if len(text) <= _LONGEST_DETAIL:
        return text
    half = (_LONGEST_DETAIL - 3) // 2
    return f"{text[: _LONGEST_DETAIL - 3 - half]}...{text[-half:]}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cells[0].ljust(widths[0])]
    padded += [cell.rjust(width) for cell, width in zip(cells[1:5], widths[1:], strict=True)]
    return "  ".join([*padded, cells[5]]).rstrip()


def _walk(spans: Sequence[Span], drawing: _Drawing) -> Iterator[tuple[str, Span]]:
    """Yield every span once, below its parent; a span whose parent is missing or below itself stands at the root."""
    children: dict[str | None, list[Span]] = defaultdict(list)
    known = {span.span_id for span in spans}
    for span in spans:
        children[span.parent_span_id if span.parent_span_id in known else None].append(span)
    seen: set[str] = set()
    for root in [*children[None], *spans]:
        # By hand, not by recursion: a trace may be deeper than Python's stack.
        waiting = [("", "", root)]
        while waiting:
            prefix, below, span = waiting.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            yield prefix, span
            offspring = children[span.span_id]
            for index in range(len(offspring) - 1, -1, -1):
                final = index == len(offspring) - 1
                mark, room = (drawing.last, drawing.gap) if final else (drawing.branch, drawing.bar)
                waiting.append((below + mark, below + room, offspring[index]))


def _drawing() -> _Drawing:
    try:
        "├└│─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _UNICODE

"""Questions about traces, in SQL over the spans."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from theodore_otel.query.local.relation import Conditions
from theodore_otel.query.model import Event, FailedResearch, Span, Trace, TraceQuery, TraceSummary

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What a person asked for is a command, a research or a request; the root span stands for it.
_FAILED_RESEARCH = "operation = 'research' AND (status = 'error' OR success = false)"
_ERROR_TEXT = """coalesce(
    json_extract_string(events, '$[#-1].attributes."exception.type"')
        || coalesce(': ' || json_extract_string(events, '$[#-1].attributes."exception.message"'), ''),
    nullif(status_message, ''), error_type)"""

# What makes a whole trace a failed one.
_DECIDES = f"""coalesce(
    status = 'error' AND (parent_span_id IS NULL OR operation IN ('command', 'research'))
    OR {_FAILED_RESEARCH}, false)"""
# A request, a message and a command begin here even when who asked for them is observed elsewhere.
_ENTRANCE = "(coalesce(kind IN ('server', 'consumer'), false) OR coalesce(operation = 'command', false))"
_NO_ROOT = "the operation that began it has not ended: it still runs, or was killed"
# That of the operation itself; else the only one that was researched. A batch is not its first company's.
_OWN_COMPANY = """coalesce(
    min_by(company, time) FILTER (company IS NOT NULL AND parent_span_id IS NULL),
    CASE WHEN count(DISTINCT company) FILTER (operation = 'research') = 1
            THEN min(company) FILTER (operation = 'research')
        WHEN count(DISTINCT company) = 1 THEN min(company) END)"""
_UNPRICED = "coalesce(input_tokens, 0) + coalesce(output_tokens, 0) > 0 AND cost_usd IS NULL"

_COLUMNS = (
    "trace_id, span_id, parent_span_id, name, kind, epoch_ns(time), duration_ns, status, status_message, tenant_id, "
    "service, component, correlation_id, operation, company, model, error_type, coalesce(input_tokens, 0), "
    "coalesce(output_tokens, 0), cost_usd, attributes, resource, events"
)


def summaries(database: DuckDBPyConnection, spans: str, query: TraceQuery) -> list[TraceSummary]:
    """Return the newest traces that match, newest first; a trace counts whole if any span lies in the time."""
    where, having = Conditions(), Conditions()
    where.add("tenant_id = ?", query.tenant)
    having.add("max(end_time) >= make_timestamp_ns(?)", query.since)
    having.add("min(time) <= make_timestamp_ns(?)", query.until)
    having.add("trace_status = ?", query.status)
    having.add("contains(lower(string_agg(company, ' ')), lower(?))", query.company)
    question = f"""
        WITH held AS (SELECT *, {_DECIDES} AS decides FROM {spans}),
        known AS (SELECT DISTINCT trace_id, span_id FROM held),
        placed AS (
            SELECT held.*, parent_span_id IS NOT NULL AND known.span_id IS NULL AND NOT {_ENTRANCE} AS orphan
            FROM held LEFT JOIN known ON known.trace_id = held.trace_id AND known.span_id = held.parent_span_id)
        SELECT trace_id, epoch_ns(min(time)),
            coalesce(min_by(tenant_id, time) FILTER (tenant_id IS NOT NULL), NULL),
            min_by(service, time), min_by(name, (parent_span_id IS NOT NULL, time)),
            {_OWN_COMPANY},
            CASE WHEN bool_or(decides) THEN 'error' WHEN bool_or(orphan) THEN 'incomplete' ELSE 'ok' END
                AS trace_status,
            min_by({_ERROR_TEXT}, (NOT decides, time, -duration_ns))
                FILTER ((status = 'error' OR decides) AND {_ERROR_TEXT} IS NOT NULL),
            epoch_ns(max(end_time)) - epoch_ns(min(time)), count(*), count(*) FILTER (status = 'error'),
            coalesce(sum(input_tokens), 0) + coalesce(sum(output_tokens), 0),
            CASE WHEN count(*) FILTER ({_UNPRICED}) = 0 THEN coalesce(sum(cost_usd), 0) END,
            min_by(correlation_id, time) FILTER (correlation_id IS NOT NULL)
        FROM placed WHERE {where}
        GROUP BY trace_id HAVING {having} ORDER BY 2 DESC LIMIT ?"""  # noqa: S608
    rows = database.execute(question, [*where.parameters, *having.parameters, query.limit]).fetchall()
    return [_summary(row) for row in rows]


def _summary(row: tuple[Any, ...]) -> TraceSummary:
    trace_id, time, tenant, service, name, company, status, error, duration, spans, errors, tokens, cost, corr = row
    return TraceSummary(
        trace_id=trace_id,
        time=time,
        tenant=tenant,
        service=service,
        name=name,
        company=company,
        status=status,
        error=error,
        reason=_NO_ROOT if status == "incomplete" else None,
        duration_ns=duration,
        spans=spans,
        errors=errors,
        tokens=int(tokens),
        cost_usd=cost,
        correlation_id=corr,
    )


def ids(database: DuckDBPyConnection, spans: str, beginning: str) -> list[str]:
    """Return at most two trace ids that begin so."""
    question = f"SELECT DISTINCT trace_id FROM {spans} WHERE starts_with(trace_id, ?) LIMIT 2"  # noqa: S608
    return [row[0] for row in database.execute(question, [beginning.lower()]).fetchall()]


def one(database: DuckDBPyConnection, spans: str, trace_id: str) -> Trace:
    """Return a trace by its whole id. A span that was delivered twice stands once."""
    question = f"SELECT {_COLUMNS} FROM {spans} WHERE trace_id = ? ORDER BY time, duration_ns DESC"  # noqa: S608
    rows = database.execute(question, [trace_id]).fetchall()
    unique = {row[1]: _span(row) for row in rows}
    return Trace(trace_id, list(unique.values()))


def _span(row: tuple[Any, ...]) -> Span:
    *plain, attributes, resource, events = row
    happened = tuple(Event(**event) for event in json.loads(events or "[]"))
    fields = [*plain, json.loads(attributes or "{}"), json.loads(resource or "{}"), happened]
    return Span(*fields)


def failed_researches(database: DuckDBPyConnection, spans: str, since: int) -> tuple[int, int, list[FailedResearch]]:
    """Return how many researches ended since then, how many failed, and the newest twenty of those."""
    recent = f"FROM {spans} WHERE operation = 'research' AND time >= make_timestamp_ns(?)"
    counts = f"SELECT count(*), count(*) FILTER ({_FAILED_RESEARCH}) {recent}"
    total, failures = database.execute(counts, [since]).fetchall()[0]
    newest = (
        f"SELECT epoch_ns(time), tenant_id, company, {_ERROR_TEXT}, trace_id {recent} "
        f"AND {_FAILED_RESEARCH} ORDER BY time DESC LIMIT 20"
    )
    return total, failures, [FailedResearch(*row) for row in database.execute(newest, [since]).fetchall()]

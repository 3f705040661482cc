"""Lists of traces tell what happened: each span once, what never ended, whose it is, why it failed, what is unknown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support import otlp

from theodore_otel.conventions import names
from theodore_otel.query import LogQuery, TraceQuery, TraceSummary
from theodore_otel.query.local import LocalStore

COMMAND, RESEARCH = {names.OPERATION_TYPE: "command"}, {names.OPERATION_TYPE: "research"}
AI = {names.OPERATION_TYPE: "ai", names.GEN_AI_INPUT_TOKENS: 100, names.GEN_AI_OUTPUT_TOKENS: 20}


def span(number: int, parent: int | None = None, **given: Any) -> dict[str, Any]:
    """Return a span with a number for an id, a second later than the one before."""
    given.setdefault("start", time.time_ns() - (100 - number) * otlp.SECOND)
    return otlp.span(
        given.pop("name", f"span {number}"), id=f"{number:016x}", parent=parent and f"{parent:016x}", **given
    )


def listed(home: Path, *spans: dict[str, Any]) -> TraceSummary:
    """Return the one line of a list over one trace."""
    otlp.write(home, "traces", otlp.traces(*spans))
    (found,) = LocalStore(home).traces(TraceQuery())
    return found


@pytest.mark.case("late_answer_doubles")
def test_spans_and_records_that_were_delivered_again_count_once_everywhere(tmp_path):
    spans = otlp.traces(
        span(1, attributes=COMMAND),
        span(2, 1, error="gone", attributes={**RESEARCH, names.SUCCESS: False}),
        span(3, 2, attributes={**AI, names.AI_COST: 0.5}),
    )
    now = time.time_ns()
    records = otlp.logs(*(otlp.record(f"page {number}", time=now + number) for number in range(5)))
    for _ in range(3):
        otlp.write(tmp_path, "traces", spans)
        otlp.write(tmp_path, "logs", records)
        LocalStore(tmp_path).load()  # each time in files of their own
    store = LocalStore(tmp_path)
    (trace,) = store.traces(TraceQuery())
    assert (trace.spans, trace.errors, trace.tokens, trace.cost_usd) == (3, 1, 120, 0.5)
    assert [record.message for record in store.logs(LogQuery())] == [f"page {number}" for number in range(5)]
    status = store.status(0)
    assert (status.researches, status.failures, len(status.failed), status.signals["logs"].records) == (1, 1, 1, 5)


@pytest.mark.case("late_answer_doubles")
def test_equal_ids_of_two_tenants_hide_nothing(tmp_path):
    otlp.write(
        tmp_path, "traces", otlp.traces(span(1), tenant_id="acme"), otlp.traces(span(1, error="x"), tenant_id="globex")
    )
    store = LocalStore(tmp_path)
    assert [store.traces(TraceQuery(tenant=tenant))[0].errors for tenant in ("acme", "globex")] == [0, 1]


@pytest.mark.case("killed_is_incomplete")
def test_a_trace_whose_root_never_came_is_incomplete_and_says_why(tmp_path):
    found = listed(tmp_path, span(2, 1, attributes=RESEARCH), span(3, 2, attributes=AI))
    assert found.status == "incomplete"
    assert "killed" in (found.reason or "")
    store = LocalStore(tmp_path)
    assert [len(store.traces(TraceQuery(status=status))) for status in ("incomplete", "ok", "error")] == [1, 0, 0]


@pytest.mark.case("killed_is_incomplete")
@pytest.mark.parametrize("entrance", [{"kind": 2}, {"kind": 5}, {"attributes": otlp.attributes(COMMAND)}])
def test_what_others_asked_for_is_complete_without_them(tmp_path, entrance):
    assert listed(tmp_path, span(2, 1) | entrance, span(3, 2)).status == "ok"


@pytest.mark.case("company_of_a_batch")
def test_a_batch_is_not_its_first_companys(tmp_path):
    first, second = ({**RESEARCH, names.COMPANY_NAME: name} for name in ("ACME", "Globex"))
    batch = [span(1, attributes=COMMAND), span(2, 1, attributes=first), span(3, 1, attributes=second)]
    assert listed(tmp_path / "of many", *batch).company is None
    named = span(1, attributes={**COMMAND, names.COMPANY_NAME: "Holding"})
    assert listed(tmp_path / "named", named, *batch[1:]).company == "Holding"
    rival = span(4, 2, attributes={names.OPERATION_TYPE: "similarity", names.COMPANY_NAME: "Rival"})
    assert listed(tmp_path / "of one", *batch[:2], rival).company == "ACME"
    assert LocalStore(tmp_path / "of many").traces(TraceQuery(company="globex"))


@pytest.mark.case("error_of_the_outermost")
def test_the_error_is_that_of_the_outermost_operation_that_failed(tmp_path):
    handled = span(2, 1, error="a page is missing", seconds=0.1, attributes={names.OPERATION_TYPE: "scraping"})
    research = span(3, 1, error="no model answers", seconds=9.0, attributes=RESEARCH)
    call = span(4, 3, error="timeout", seconds=1.0, attributes=AI)
    found = listed(tmp_path / "research", span(1, attributes=COMMAND, seconds=20.0), handled, research, call)
    assert (found.status, found.error) == ("error", "no model answers")
    # A task that outlives what began it.
    root, outliving = span(1, error="the command", seconds=1.0, attributes=COMMAND), span(2, 1, error="x", seconds=50.0)
    assert listed(tmp_path / "outliving", root, outliving).error == "the command"


@pytest.mark.case("unknown_cost_is_none")
def test_a_cost_that_is_not_known_is_none_and_no_zero(tmp_path):
    assert listed(tmp_path / "unknown", span(1, attributes=COMMAND), span(2, 1, attributes=AI)).cost_usd is None
    known = {**AI, names.AI_COST: 0.25}
    assert listed(tmp_path / "known", span(1, attributes=COMMAND), span(2, 1, attributes=known)).cost_usd == 0.25
    assert listed(tmp_path / "without", span(1, attributes=COMMAND)).cost_usd == 0.0

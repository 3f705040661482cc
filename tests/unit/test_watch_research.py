"""What a company cost is told by the spans of its model calls and by one log record of its research."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from watching import Observed, Settings, application, attributes, load

SOURCE = """
    from concurrent.futures import ThreadPoolExecutor
    import contextvars

    def ask(model, tokens):
        return {"in": tokens, "out": 1}

    def execute(company, models):
        for model in models:
            ask(model, 1000)
        return {"success": company != "bad", "pages": 3}

    def twice(company):
        execute("inner", ["known"])
        execute("inner", ["known"])
"""
PRICES = {"known": {"input_per_million": 1000.0, "output_per_million": 0.0}}


@pytest.fixture
def records(monkeypatch):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr("opentelemetry._logs.get_logger", provider.get_logger)
    return lambda: [one.log_record for one in exporter.get_finished_logs()]


@pytest.fixture
def seen():
    return Observed()


@pytest.fixture
def module(seen, tmp_path):
    ask = {"provider": "house", "model": "arg.model", "input_tokens": "result.in", "output_tokens": "result.out"}
    with application(tmp_path, SOURCE) as app:
        watch = {
            "research": [
                {"function": f"{app}:execute", "company": "arg.company", "pages": "result.pages"},
                {"function": f"{app}:twice", "company": "arg.company"},
            ],
            "ai": [{"function": f"{app}:ask", **ask}],
        }
        seen.install(Settings(watch=watch, prices=PRICES))
        yield load(app)


def test_a_research_is_told_with_its_company_tokens_and_cost(seen, module, records):
    module.execute("ACME", ["known", "known"])
    (record,) = records()
    assert dict(record.attributes) == {
        "theodore.category": "business",
        "theodore.company.name": "ACME",
        "theodore.research.type": "company_research",
        "theodore.research.pages": 3,
        "theodore.success": True,
        "gen_ai.usage.input_tokens": 2000,
        "gen_ai.usage.output_tokens": 2,
        "theodore.ai.cost_usd": pytest.approx(2.0),
    }
    assert record.span_id == seen.span("research company_research").context.span_id
    calls = [attributes(span) for span in seen.spans if span.name == "chat known"]
    assert [call["theodore.company.name"] for call in calls] == ["ACME", "ACME"]
    assert "theodore.ai.cost_usd" not in attributes(seen.span("research company_research"))


def test_the_cost_is_left_out_when_one_call_has_no_price(module, records):
    module.execute("ACME", ["known", "nobody-knows-it"])
    (research,) = [record for record in records() if "theodore.category" in (record.attributes or {})]
    assert research.attributes["gen_ai.usage.input_tokens"] == 2000
    assert "theodore.ai.cost_usd" not in research.attributes


def test_a_failed_research_is_told_as_one(module, records):
    module.execute("bad", [])
    (record,) = records()
    assert record.body == "research failed"
    assert record.attributes["theodore.success"] is False


def test_only_the_outermost_research_is_told_with_the_sum(module, records):
    module.twice("ACME")
    (record,) = records()
    assert record.attributes["theodore.company.name"] == "ACME"
    assert record.attributes["gen_ai.usage.input_tokens"] == 2000


def test_researches_side_by_side_do_not_mix_their_costs(module, records):
    threads = [threading.Thread(target=module.execute, args=(f"c{n}", ["known"] * n)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    costs = {r.attributes["theodore.company.name"]: r.attributes["theodore.ai.cost_usd"] for r in records()}
    assert costs == {f"c{n}": pytest.approx(float(n)) for n in range(1, 9)}

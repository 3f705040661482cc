"""The helpers in whole processes: under the wrapper, after `configure()`, and set up by their manager."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.receiver import attributes, environment, receiving, run

from theodore_otel.conventions import names

BODY = """
import click, sys
from theodore_otel import MetricsManager, TheodoreTracer, TracingConfig, TracingManager
{set_up}
tracer, metrics = TheodoreTracer({manager}), MetricsManager()

@tracer.trace_storage_operation("upsert")
def upsert():
    raise ConnectionError("refused, api_key=sk-ant-abcdefghijklmnopqrstuvwxyz012345")

@click.command()
def research():
    with tracer.trace_research_operation("ACME"):
        with tracer.trace_ai_operation("openrouter", "m", "chat") as call:
            call.set_usage(100, 20, cost_usd=0.25)
        metrics.record_ai_operation("openrouter", "m", "chat", 120, 1.0, 0.25, True)
        upsert()

research()
"""
SET_UPS = {
    "wrapper": ("", "", True),
    "configure": ("import theodore_otel; theodore_otel.configure()", "", False),
    "manager": (
        "manager = TracingManager(TracingConfig(otlp_endpoint=sys.argv.pop())); manager.initialize()", "manager", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("set_up", SET_UPS)
def test_each_operation_is_sent_once_and_its_exception_too(tmp_path: Path, set_up: str) -> None:
    lines, manager, instrumented = SET_UPS[set_up]
    (tmp_path / "program.py").write_text(BODY.format(set_up=lines, manager=manager))
    with receiving() as receiver:
        env = environment(receiver.url, {"THEODORE_OTEL_HOME": str(tmp_path / "home")})
        arguments = []
        if not instrumented:
            del env["OTEL_PYTHON_DISTRO"], env["OTEL_PYTHON_CONFIGURATOR"]
        if set_up == "manager":
            arguments = [env.pop("OTEL_EXPORTER_OTLP_ENDPOINT")]
        done = run([sys.executable, "program.py", *arguments], env, tmp_path, instrumented=instrumented)
        spans = {span.name: span for span in receiver.spans()}
        raw = b"".join(request.SerializeToString() for request in receiver.requests)
    assert done.code == 1, done.err
    assert len(receiver.spans()) == len(spans) == 4
    assert {attributes(span).get(names.OPERATION_TYPE) for span in spans.values()} == {
        "command", "research", "ai", "storage",
    }  # fmt: skip
    found = attributes(spans["chat m"])
    assert (found[names.GEN_AI_INPUT_TOKENS], found[names.AI_COST], found[names.SUCCESS]) == (100, 0.25, True)
    assert [span.name for span in spans.values() for event in span.events] == ["storage upsert"]
    assert sorted(name for name, span in spans.items() if span.status.code == 2) == sorted(set(spans) - {"chat m"})
    assert b"sk-ant-abc" not in raw

"""Watched functions that are audited: one record a call, with how it ended, whether it has a span or not."""

from __future__ import annotations

import asyncio

import pytest
from watching import Observed, Settings, application, load

from theodore_otel.journal import audit_lazy, audit_process
from theodore_otel.journal.audit_read import of_journal

APPLICATION = """
    class Store:
        owner = "u-store"

        def delete(self, company, force=False):
            if company == "locked":
                raise PermissionError("password=hunter22-correct-horse")
            return {"success": company != "unknown", "error": f"no {company}"}

    async def export(company):
        return {"id": f"export:{company}"}

    def stream(company):
        yield 1
        yield 2

    def ask(model):
        return inner(model)

    def inner(model):
        return "answer"
"""


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """Give the records that were written, oldest first."""
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    monkeypatch.delenv("THEODORE_OTEL_CONFIG", raising=False)
    monkeypatch.setattr(audit_process, "_journal", None)
    monkeypatch.setattr(audit_lazy, "current", None)
    yield lambda: sorted(of_journal(tmp_path / "audit"), key=lambda each: each.sequence)
    if audit_process._journal is not None:
        audit_process._journal.writer.abandon()


@pytest.fixture
def app(tmp_path):
    with application(tmp_path, APPLICATION) as name:
        yield name


def watch(app: str, kind: str, function: str, **entry: object) -> Observed:
    observed = Observed()
    observed.install(Settings(watch={kind: [{"function": f"{app}:{function}", **entry}]}))
    return observed


def test_a_call_is_recorded_with_what_it_did_to_what_for_whom_and_how_it_ended(journal, app):
    audit = {"action": "company.delete", "resource": "arg.company", "user": "self.owner"}
    observed = watch(app, "storage", "Store.delete", audit=audit)
    store = load(app).Store()
    assert store.delete("acme")["success"]
    store.delete("unknown")
    with pytest.raises(PermissionError):
        store.delete(company="locked")
    told = [(each.action, each.actor, each.resource, each.outcome) for each in journal()]
    assert told == [
        ("company.delete", "u-store", "acme", "success"),
        ("company.delete", "u-store", "unknown", "failure"),
        ("company.delete", "u-store", "locked", "failure"),
    ]
    reasons = [each.details().get("reason") for each in journal()]
    assert reasons == [None, "no unknown", "PermissionError: password=[REDACTED]"]
    assert [each.details()["trace_id"] for each in journal()] == [
        f"{each.context.trace_id:032x}" for each in observed.spans
    ]


def test_the_function_is_the_action_and_results_can_be_read(journal, app):
    watch(app, "phase", "export", audit={"resource": "result.id"})
    assert asyncio.run(load(app).export("acme")) == {"id": "export:acme"}
    (made,) = journal()
    assert (made.action, made.resource, made.actor) == ("export", "export:acme", None)


def test_a_generator_is_one_record_when_it_ends_or_is_left(journal, app):
    watch(app, "phase", "stream", audit={"resource": "arg.company"})
    assert list(load(app).stream("acme")) == [1, 2]
    left = load(app).stream("globex")
    next(left)
    left.close()
    assert [(each.resource, each.outcome) for each in journal()] == [("acme", "success"), ("globex", "success")]


def test_a_call_without_a_span_of_its_own_is_recorded_all_the_same(journal, app):
    observed = Observed()
    entries = [{"function": f"{app}:ask"}, {"function": f"{app}:inner", "audit": {"action": "model.ask"}}]
    observed.install(Settings(watch={"ai": entries}))
    assert load(app).ask("m") == "answer"
    assert len(observed.spans) == 1
    assert [each.action for each in journal()] == ["model.ask"]


def test_calls_that_are_not_meant_are_not_recorded(journal, app):
    watch(app, "storage", "Store.delete", audit={"action": "forced"}, when={"arg.force": [True]})
    store = load(app).Store()
    store.delete("acme")
    store.delete("acme", force=True)
    assert [each.action for each in journal()] == ["forced"]


def test_a_function_that_is_not_audited_writes_nothing(journal, app):
    watch(app, "storage", "Store.delete")
    load(app).Store().delete("acme")
    assert journal() == []

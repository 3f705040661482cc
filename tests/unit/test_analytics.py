"""How the product is used: one record for each command or request, with a hash in place of the user."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

from theodore_otel.instrument import context as process_context
from theodore_otel.instrument.analytics import ActivityProcessor
from theodore_otel.instrument.processors import RootedBaggageLogProcessor, RootedBaggageSpanProcessor

KEY = "a-key-of-more-than-16-characters"


class Activity:
    """Spans that end, the records they make and what is reported."""

    def __init__(self, **settings):
        self._exporter = InMemoryLogRecordExporter()
        self.reports = []
        logs = LoggerProvider()
        logs.add_log_record_processor(RootedBaggageLogProcessor(process_context.carried))
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))
        spans = TracerProvider()
        spans.add_span_processor(RootedBaggageSpanProcessor(process_context.carried))
        spans.add_span_processor(ActivityProcessor(settings, logs, self.reports.append))
        self._tracer = spans.get_tracer("test")

    def end(self, attributes, kind=SpanKind.INTERNAL, error=False, **carried):
        names = {"user": "user.id", "tenant": "tenant.id", "correlation": "correlation.id"}
        inside = context.Context()
        for name, value in carried.items():
            inside = baggage.set_baggage(names[name], value, inside)
        span = self._tracer.start_span("entry", context=inside, kind=kind, attributes=attributes)
        if error:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
        return span

    def command(self, name="research", success=True, **carried):
        attributes = {"theodore.operation.type": "command", "theodore.command": name, "theodore.success": success}
        return self.end(attributes, **carried)

    def request(self, route="/research/{company}", status=200, **more):
        found = {
            "http.request.method": "GET",
            "http.response.status_code": status,
            **({"http.route": route} if route else {}),
        }
        return self.end(found, SpanKind.SERVER, **more)

    @property
    def records(self):
        return [one.log_record for one in self._exporter.get_finished_logs()]

    @property
    def found(self):
        return [dict(record.attributes) for record in self.records]


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("ANALYTICS_KEY", KEY)
    return {"env": "ANALYTICS_KEY"}


def test_a_command_is_one_record_with_feature_outcome_tenant_and_trace():
    activity = Activity(commands=True, features={"company research": ["research", "batch"]})
    span = activity.command("research", success=False, tenant="acme", correlation="c1")
    (record,) = activity.records
    assert dict(record.attributes) == {
        "theodore.category": "user_activity",
        "theodore.command": "research",
        "theodore.feature": "company research",
        "theodore.success": False,
        "tenant.id": "acme",
        "correlation.id": "c1",
    }
    assert record.body == "research failed"
    assert record.trace_id == span.get_span_context().trace_id


@pytest.mark.parametrize(
    ("more", "good"),
    [({}, True), ({"status": 404}, False), ({"status": 500}, False), ({"error": True}, False)],
)
def test_a_request_is_one_record_named_by_its_route(more, good):
    activity = Activity(requests=True)
    activity.request(**more)
    (found,) = activity.found
    assert found["theodore.feature"] == found["http.route"] == "/research/{company}"
    assert found["http.request.method"] == "GET"
    assert found["theodore.success"] is good


def test_what_is_not_switched_on_or_has_no_route_makes_no_record():
    commands, requests = Activity(commands=True), Activity(requests=True)
    for activity in (commands, requests):
        activity.command()
        activity.request()
        activity.request(route=None)
        activity.end({"theodore.operation.type": "research"})
    assert [sorted(found)[0] for found in commands.found] == ["theodore.category"]
    assert "theodore.command" in commands.found[0]
    assert len(requests.found) == 1
    assert "http.route" in requests.found[0]


def test_a_user_is_a_keyed_hash_that_is_the_same_for_the_same_person_and_tenant(key):
    activity = Activity(requests=True, key=key)
    for user, tenant in (("ann", "acme"), ("ann", "acme"), ("bob", "acme"), ("ann", "globex")):
        activity.request(user=user, tenant=tenant)
    hashes = [found["user.hash"] for found in activity.found]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert all("user.id" not in found and "ann" not in str(found) for found in activity.found)


def test_another_key_gives_another_hash(key, monkeypatch):
    first, second = Activity(requests=True, key=key), Activity(requests=True, key=key)
    first.request(user="ann")
    monkeypatch.setenv("ANALYTICS_KEY", KEY + "2")
    second.request(user="ann")
    assert first.found[0]["user.hash"] != second.found[0]["user.hash"]


def test_a_command_that_nobody_named_is_by_the_account_it_runs_under(key, monkeypatch):
    monkeypatch.setenv("LOGNAME", "carol")
    activity = Activity(commands=True, requests=True, key=key)
    activity.command(tenant="acme")
    activity.command(user="carol", tenant="acme")
    activity.request(tenant="acme")
    account, named, request = activity.found
    assert account["user.hash"] == named["user.hash"]
    assert "user.hash" not in request


def test_without_a_key_no_user_leaves_though_the_process_knows_one(monkeypatch):
    monkeypatch.setattr(process_context, "_root", baggage.set_baggage("user.id", "ann", context.Context()))
    activity = Activity(commands=True, requests=True)
    activity.request(user="ann")
    activity.command(user="ann")
    assert len(activity.found) == 2
    assert all("ann" not in str(found) for found in activity.found)


@pytest.mark.parametrize("reference", [{"env": "NOT_SET"}, {"file": "/nowhere/key"}, {"env": "SHORT"}])
def test_a_key_that_cannot_be_used_is_told_once_and_the_user_left_out(reference, monkeypatch):
    monkeypatch.setenv("SHORT", "short-secret")
    activity = Activity(requests=True, key=reference)
    activity.request(user="ann")
    activity.request(user="ann")
    assert [("user.hash" in found) for found in activity.found] == [False, False]
    (told,) = activity.reports
    assert told.startswith("cannot use instrument.analytics.key: ")
    assert "short-secret" not in told


def test_a_key_in_a_file_is_trimmed(tmp_path, key):
    (tmp_path / "key").write_text(KEY + "\n")
    by_file, by_variable = (
        Activity(requests=True, key={"file": str(tmp_path / "key")}),
        Activity(requests=True, key=key),
    )
    by_file.request(user="ann")
    by_variable.request(user="ann")
    assert by_file.found[0]["user.hash"] == by_variable.found[0]["user.hash"]

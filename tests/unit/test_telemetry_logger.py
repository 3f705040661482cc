"""TheodoreLogger: what a record carries, what is masked, and what is never raised."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from datetime import date
from pathlib import Path

import pytest
from opentelemetry import baggage, context

from theodore_otel import LogCategory, LoggerFactory, TheodoreLogger
from theodore_otel.conventions import names
from theodore_otel.telemetry import redact
from theodore_otel.telemetry.thresholds import threshold

SECRET = "sk-ant-abcdefghijklmnopqrstuvwxyz012345"


@pytest.fixture
def log(caplog) -> TheodoreLogger:
    caplog.set_level(5, logger="theodore")
    return TheodoreLogger("scraper", LogCategory.DATA_PROCESSING)


def attributes(caplog) -> dict:
    return caplog.records[-1].theodore_attributes


def test_each_level_makes_a_record_of_that_level_at_the_callers_line(log, caplog):
    for name in ("trace", "debug", "info", "warn", "error", "critical"):
        getattr(log, name)(f"{name} it")
    assert [r.levelname for r in caplog.records] == ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    assert {r.filename for r in caplog.records} == {"test_telemetry_logger.py"}
    assert {r.funcName for r in caplog.records} == {"test_each_level_makes_a_record_of_that_level_at_the_callers_line"}
    assert caplog.records[0].name == "theodore.scraper"


def test_component_category_and_context_stand_on_the_record(log, caplog):
    log.info("page read", pages=3, since=date(2026, 1, 2), path=Path("a"), found={"x": [1, (2, {3})]})
    assert attributes(caplog) == {
        names.COMPONENT: "scraper",
        names.CATEGORY: "data_processing",
        "pages": 3,
        "since": "2026-01-02",
        "path": "a",
        "found": {"x": [1, [2, [3]]]},
    }
    assert caplog.records[-1].pages == 3  # as `extra` would have it


def test_binding_context_leaves_the_original_unchanged(log, caplog):
    bound = log.with_correlation_id("c-1").with_context(tenant_id="acme", user_id="ann", step="find")
    bound.info("bound", step="read")
    assert attributes(caplog)[names.CORRELATION_ID] == "c-1"
    assert attributes(caplog)[names.TENANT_ID] == "acme"
    assert attributes(caplog)[names.USER_ID] == "ann"
    assert attributes(caplog)["step"] == "read"
    bound.info("again")
    assert attributes(caplog)["step"] == "find"
    log.info("original")
    assert set(attributes(caplog)) == {names.COMPONENT, names.CATEGORY}


def test_baggage_says_whose_a_record_is_unless_the_logger_does(log, caplog):
    carrying = baggage.set_baggage(names.TENANT_ID, "acme", baggage.set_baggage("other", "x"))
    token = context.attach(carrying)
    try:
        log.info("one")
        assert attributes(caplog)[names.TENANT_ID] == "acme"
        assert "other" not in attributes(caplog)
        log.with_context(tenant_id="globex").info("two")
        assert attributes(caplog)[names.TENANT_ID] == "globex"
    finally:
        context.detach(token)


def test_secrets_are_masked_before_any_handler_sees_the_record(log, caplog):
    log.with_context(api_key="abc").error(
        f"failed with {SECRET}",
        url="https://ann:secret@acme.example/",
        nested={"password": "x", "deep": [{"token": "y", "mail": "ann@acme.example"}]},
        card=4111111111111111,
        input_tokens=5,
        raw=SECRET.encode(),
        error=RuntimeError(f"key {SECRET}"),
    )
    record = caplog.records[-1]
    everything = json.dumps([record.getMessage(), vars(record), attributes(caplog), caplog.text], default=str)
    for secret in (SECRET, "secret@", "ann@", "4111111111111111", '"x"', '"y"', '"abc"'):
        assert secret not in everything
    assert attributes(caplog)["input_tokens"] == 5
    assert attributes(caplog)["nested"]["deep"][0]["token"] == "[REDACTED]"


def test_an_error_records_type_message_and_stack_trace(log, caplog):
    def fails() -> None:
        local_value = "a value nobody may see"
        raise KeyError("company") from ValueError(local_value[:7])

    try:
        fails()
    except KeyError as error:
        log.error("research failed", error=error)  # noqa: TRY400
    found = attributes(caplog)
    assert found[names.EXCEPTION_TYPE] == "KeyError"
    assert found[names.EXCEPTION_MESSAGE] == "'company'"
    assert "in fails" in found[names.EXCEPTION_STACKTRACE]
    assert "ValueError: a value" in found[names.EXCEPTION_STACKTRACE]
    assert "in fails" in caplog.text
    log.error("no exception", error="a text")
    assert attributes(caplog)["error"] == "a text"
    try:
        fails()
    except KeyError:
        log.critical("again", exc_info=True)
    assert attributes(caplog)[names.EXCEPTION_TYPE] == "KeyError"


class Bad:
    def __str__(self) -> str:
        raise OSError("no text")


class BadMap(dict):
    def items(self):
        raise OSError("no items")


class BadError(Exception):
    def __str__(self) -> str:
        raise OSError("no text")


@pytest.mark.parametrize(
    "given",
    [
        {"value": Bad()},
        {"value": {Bad(): Bad()}},
        {"error": BadError()},
        {"value": float("nan")},
        {"value": "\ud800"},
        {"value": [[]]},
        {"message_": None, "name": "n", "level": 4, "args": (1,), "exc_info": "x"},
        {"value": b"\xff\x00"},
        {"": 1},
        {"value": 2**64},
    ],
)
def test_nothing_that_is_given_makes_a_call_fail(log, caplog, given):
    log.info("kept %s {} %d", **given)
    assert caplog.records[-1].getMessage() == "kept %s {} %d"


def test_no_kind_of_call_fails_because_of_what_it_is_given(log, caplog):
    for given in (Bad(), BadMap(), BadError(), None, 10**400, float("nan"), "x" * 100_000, b"x"):
        log.performance(given, given, threshold_ms=given)
        log.business_metric(given, given, given)
        log.security(given, severity=given, x=given)
        log.error(given, error=given)
        log.with_context(x=given).with_correlation_id(given).info(given)
    assert len(caplog.records) == 40


def test_a_record_survives_a_queue_between_processes(log, caplog):
    log.info("page", pages=3)
    sent = pickle.loads(pickle.dumps(caplog.records[-1]))
    assert (sent.getMessage(), sent.pages, sent.theodore_attributes["pages"]) == ("page", 3, 3)


def test_what_holds_itself_ends_somewhere(log, caplog):
    loop: dict = {}
    loop["self"] = loop
    log.info("round", loop=loop)
    assert "round" in caplog.text


def test_a_security_event_is_judged_by_its_severity(log, caplog):
    expected = {"low": 20, "medium": 30, "high": 40, "critical": 50, "no such": 40}
    for severity, level in expected.items():
        log.security("login failed", severity=severity, ip="203.0.113.9")
        assert caplog.records[-1].levelno == level
        assert attributes(caplog)[names.CATEGORY] == "security"
        assert attributes(caplog)[names.INVESTIGATION_REQUIRED] is (level >= 40)
        assert (names.ALERT in attributes(caplog)) is (level == 50)
    assert attributes(caplog)[names.SECURITY_SEVERITY] == "high"


def test_performance_warns_above_the_operations_threshold(log, caplog):
    log.performance("storage.upsert", 4_000)
    assert caplog.records[-1].levelno == logging.INFO
    log.performance("storage.upsert", 6_000, rows=7)
    assert caplog.records[-1].levelno == logging.WARNING
    assert attributes(caplog)[names.PERFORMANCE_THRESHOLD] == 5000
    assert attributes(caplog)["rows"] == 7
    log.performance("own", 11, threshold_ms=10)
    assert caplog.records[-1].levelno == logging.WARNING
    log.performance("own", "long", threshold_ms=10)
    assert caplog.records[-1].levelno == logging.INFO
    assert [threshold(name) for name in ("ai_analysis", "scraping", "Research: ACME", "other")] == [30, 60, 120, None]


def test_a_business_metric_is_a_record_with_a_number(log, caplog):
    log.business_metric("companies_researched", 3, company="ACME")
    found = attributes(caplog)
    assert (found[names.BUSINESS_METRIC], found[names.BUSINESS_VALUE], found[names.BUSINESS_UNIT]) == (
        "companies_researched",
        3.0,
        "count",
    )
    assert type(found[names.BUSINESS_VALUE]) is float
    assert found[names.CATEGORY] == "business"


def test_an_audit_call_goes_to_the_journal_with_what_is_bound(log, monkeypatch):
    seen = []

    def audit(action, **given):
        seen.append((action, given))
        return "id-1"

    monkeypatch.setattr("theodore_otel.telemetry.audit.audit", audit)
    bound = log.with_context(user_id="ann", tenant_id="acme")
    assert bound.audit("report.export", resource="acme.pdf", outcome="denied") == "id-1"
    ((action, given),) = seen
    assert (action, given["user_id"], given["resource"], given["outcome"]) == (
        "report.export",
        "ann",
        "acme.pdf",
        "denied",
    )
    assert given[names.TENANT_ID] == "acme"
    log.audit("login", user_id="bob")
    assert seen[-1][1]["user_id"] == "bob"
    log.with_context(action="bound", resource="acme.pdf").audit("read")
    assert (seen[-1][0], seen[-1][1]["resource"]) == ("read", "acme.pdf")


def test_a_level_that_is_not_shown_costs_nothing_and_follows_logging(log, caplog):
    logger = logging.getLogger("theodore.scraper")
    logger.setLevel(logging.WARNING)
    try:
        log.info("quiet", value=Bad())
        assert not caplog.records
        logger.setLevel(logging.INFO)
        log.info("loud")
        assert caplog.messages == ["loud"]
        logging.disable(logging.ERROR)
        log.error("not now")
    finally:
        logging.disable(logging.NOTSET)
        logger.setLevel(logging.NOTSET)
    assert caplog.messages == ["loud"]


def test_a_filter_of_the_program_can_drop_a_record(log, caplog):
    def without_pages(record: logging.LogRecord) -> bool:
        return not hasattr(record, "pages")

    logger = logging.getLogger("theodore.scraper")
    logger.addFilter(without_pages)
    try:
        log.info("dropped", pages=1)
        log.info("kept")
    finally:
        logger.removeFilter(without_pages)
    assert caplog.messages == ["kept"]


def test_a_logger_can_be_sent_to_another_process(log):
    sent = pickle.loads(pickle.dumps(log.with_context(tenant_id="acme")))
    assert (sent.component, sent.category) == ("scraper", LogCategory.DATA_PROCESSING)
    assert sent._bound[names.TENANT_ID] == "acme"
    assert "acme" not in repr(sent)


def test_threads_do_not_mix_what_they_bind(log, caplog):
    def work(number: int) -> None:
        bound = log.with_correlation_id(f"c-{number}")
        for _ in range(50):
            bound.info(f"c-{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(caplog.records) == 400
    assert all(r.getMessage() == r.theodore_attributes[names.CORRELATION_ID] for r in caplog.records)


def test_the_factory_gives_the_same_logger_each_time():
    assert LoggerFactory.get_logger("a") is LoggerFactory.get_logger("a")
    assert LoggerFactory.get_logger("a") is not LoggerFactory.get_logger("a", LogCategory.BUSINESS)


def test_own_words_mask_keys_besides_those_that_are_built_in(log, caplog):
    rules = redact.matcher()
    try:
        redact.use({"keys": ["password"], "values": []}, ["Internal Ref"])
        log.info("x", internal_ref="a", internalRef="b", password="c", other="d")
        assert [attributes(caplog)[k] for k in ("internal_ref", "internalRef", "password", "other")] == [
            *["[REDACTED]"] * 3,
            "d",
        ]
    finally:
        redact._matcher = rules

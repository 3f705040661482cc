"""What is shown: JSON and text on stderr, files, and levels that change while the program runs."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import stat
import sys
import time

import pytest
from opentelemetry import trace
from opentelemetry.context import Context

from theodore_otel import LogCategory, LoggerFactory, LoggingConfig, ObservabilityConfig, TracingConfig
from theodore_otel.conventions import names
from theodore_otel.instrument import context, levels_file
from theodore_otel.telemetry import hangup, output, redact


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Leave neither handlers nor levels nor a correlation id behind."""
    root = logging.getLogger()
    handlers, begun, rules = list(root.handlers), context._root, redact.matcher()
    for name in ("THEODORE_OTEL_CONFIG", "NO_COLOR", "TERM", "CORRELATION_ID"):
        monkeypatch.delenv(name, raising=False)
    yield
    LoggerFactory.reset()
    root.handlers[:] = handlers
    context._root, redact._matcher = begun, rules


class Stderr:
    """What was written to stderr, as pytest captured it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._read = capsys, ""

    def getvalue(self) -> str:
        self._read += self._capsys.readouterr().err
        return self._read


@pytest.fixture
def stderr(capsys) -> Stderr:
    return Stderr(capsys)


def lines(stream: Stderr) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_what_the_record_carries(stderr):
    LoggerFactory.configure(ObservabilityConfig(tracing=TracingConfig(environment="test")))
    log = LoggerFactory.get_logger("scraper", LogCategory.DATA_PROCESSING).with_context(tenant_id="acme", user_id="ann")
    log.info("page read\nINFO not a line", pages=3, level="own", password="x", ratio=float("nan"))
    (line,) = lines(stderr)
    assert line["message"] == "page read\nINFO not a line"
    assert (line["level"], line["context.level"], line["pages"], line["ratio"]) == ("INFO", "own", 3, "nan")
    assert (line["password"], line[names.COMPONENT]) == ("[REDACTED]", "scraper")
    assert (line[names.CATEGORY], line[names.ENVIRONMENT]) == ("data_processing", "test")
    assert (line[names.TENANT_ID], line[names.USER_ID]) == ("acme", "ann")
    assert len(line[names.CORRELATION_ID]) == 32
    assert line["timestamp"].endswith("Z")


def test_a_whole_process_has_one_correlation_id(stderr):
    LoggerFactory.configure()
    log = LoggerFactory.get_logger("a")
    log.info("one")
    LoggerFactory.get_logger("b").info("two")
    assert len({line[names.CORRELATION_ID] for line in lines(stderr)}) == 1


def test_records_of_plain_loggers_are_masked_and_carry_context_too(stderr):
    LoggerFactory.configure()
    try:
        int("token=abcdefghijklmnop")
    except ValueError:
        logging.getLogger("urllib3").exception("retry %s", "https://a:b@c/", extra={"api_key": "k", "tries": 2})
    (line,) = lines(stderr)
    assert "a:b" not in stderr.getvalue()
    assert "abcdefghijklmnop" not in stderr.getvalue()
    assert (line["api_key"], line["tries"], line["logger"]) == ("[REDACTED]", 2, "urllib3")
    assert line[names.EXCEPTION_TYPE] == "ValueError"
    assert line[names.CORRELATION_ID]


def test_the_programs_own_loggers_below_theodore_show_from_the_level_and_others_from_warning(stderr):
    LoggerFactory.configure(LoggingConfig(level="DEBUG"))
    logging.getLogger("theodore.research").debug("own")
    logging.getLogger("httpx").info("library")
    assert [line["message"] for line in lines(stderr)] == ["own"]


def test_text_is_plain_where_it_is_no_terminal(stderr):
    LoggerFactory.configure(LoggingConfig(json_output=False))
    LoggerFactory.get_logger("scraper").warn("slow\n\x1b[2Kpage", url="a b", pages=3)
    (line,) = stderr.getvalue().splitlines()
    assert "\x1b" not in line
    assert "WARN     scraper: slow\\n[2Kpage " in line
    assert 'url="a b" pages=3' in line


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), (None, "")])
def test_text_is_in_colour_on_a_terminal_unless_that_is_unwanted(monkeypatch, variable, value):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    if variable:
        monkeypatch.setenv(variable, value)
    LoggerFactory.configure(LoggingConfig(json_output=False))
    LoggerFactory.get_logger("scraper").error("failed")
    assert ("\x1b[31m" in terminal.getvalue()) is (variable is None)


def test_a_stack_trace_follows_its_line_in_text(stderr):
    LoggerFactory.configure(LoggingConfig(json_output=False))
    LoggerFactory.get_logger("scraper").error("failed", error=ValueError("no page"))
    first, *rest = stderr.getvalue().splitlines()
    assert first.endswith(tuple("0123456789abcdef"))
    assert rest[-1] == "ValueError: no page"


def test_a_handler_of_the_program_for_stderr_gives_way_and_others_stay(stderr):
    root, other = logging.getLogger(), io.StringIO()
    root.addHandler(logging.StreamHandler(sys.stderr))
    root.addHandler(logging.StreamHandler(other))
    LoggerFactory.configure()
    LoggerFactory.configure()
    LoggerFactory.get_logger("a").info("once")
    assert len(lines(stderr)) == 1
    assert other.getvalue() == "once\n"


def test_a_stderr_that_is_closed_or_missing_disturbs_nobody(monkeypatch):
    closed = io.StringIO()
    LoggerFactory.configure()
    monkeypatch.setattr(sys, "stderr", closed)
    closed.close()
    LoggerFactory.get_logger("a").info("nobody reads it")
    monkeypatch.setattr(sys, "stderr", None)
    LoggerFactory.get_logger("a").info("nor it")


def test_a_file_is_the_owners_alone_and_is_put_aside_when_it_is_full(tmp_path, stderr, monkeypatch):
    path = tmp_path / "logs" / "theodore.log"
    monkeypatch.setattr(output, "_MEBIBYTE", 1000)
    LoggerFactory.configure(
        LoggingConfig(log_file_path=str(path), max_file_size_mb=1, backup_count=2, console_output=False)
    )
    for number in range(40):
        LoggerFactory.get_logger("a").info("a record", number=number)
    assert sorted(p.name for p in path.parent.iterdir()) == ["theodore.log", "theodore.log.1", "theodore.log.2"]
    assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}
    assert json.loads(path.read_text().splitlines()[-1])["number"] == 39
    assert not stderr.getvalue()


def test_a_file_that_cannot_be_written_is_told_once_and_stderr_goes_on(tmp_path, stderr):
    (tmp_path / "file").write_text("")
    LoggerFactory.configure(LoggingConfig(log_file_path=str(tmp_path / "file" / "theodore.log")))
    LoggerFactory.get_logger("a").info("shown")
    told, line = stderr.getvalue().splitlines()
    assert told.startswith(f"theodore-otel: cannot write the log file {tmp_path}/file/theodore.log: ")
    assert json.loads(line)["message"] == "shown"


def test_levels_of_components_reach_loggers_made_before_and_after(stderr):
    before = LoggerFactory.get_logger("crawl.scraper.before")
    LoggerFactory.configure(LoggingConfig(components={"scraper": "TRACE", "mine": "DEBUG"}))
    before.trace("before")
    LoggerFactory.get_logger("pages.scraper.after").trace("after")
    LoggerFactory.get_logger("crawl").debug("not shown")
    logging.getLogger("mine").debug("plain")
    assert [line["message"] for line in lines(stderr)] == ["before", "after", "plain"]
    LoggerFactory.reset()
    assert logging.getLogger("theodore.crawl.scraper.before").level == logging.NOTSET
    assert logging.getLogger("mine").level == logging.NOTSET


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def settings_file(path, level: str, **components: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"schema": 1, "logging": {"level": level, "components": components}}))
    os.replace(new, path)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    path = tmp_path / "instrument.json"
    settings_file(path, "INFO")
    monkeypatch.setenv("THEODORE_OTEL_CONFIG", str(path))
    monkeypatch.setattr(levels_file, "SECONDS", 0.05)
    return path


def test_levels_follow_the_settings_file_and_stay_when_it_cannot_be_used(settings, stderr):
    LoggerFactory.configure(LoggingConfig(level="ERROR"))
    crawl, scraper = logging.getLogger("theodore.crawl"), logging.getLogger("theodore.scraper")
    LoggerFactory.get_logger("crawl"), LoggerFactory.get_logger("scraper")
    assert crawl.getEffectiveLevel() == logging.ERROR  # the file said nothing new
    settings_file(settings, "INFO", scraper="DEBUG")
    levels_file.read_again()
    wait_until(lambda: scraper.getEffectiveLevel() == logging.DEBUG)
    assert crawl.getEffectiveLevel() == logging.ERROR
    settings_file(settings, "WARN", scraper="TRACE")
    levels_file.read_again()
    wait_until(lambda: (crawl.getEffectiveLevel(), scraper.getEffectiveLevel()) == (30, 5))
    settings_file(settings, "LOUD", scraper="DEBUG")
    levels_file.read_again()
    wait_until(lambda: "the log levels stay as they are: ignoring logging.level='LOUD'" in stderr.getvalue())
    assert (crawl.getEffectiveLevel(), scraper.getEffectiveLevel()) == (30, 5)
    settings_file(settings, "WARN")
    levels_file.read_again()
    wait_until(lambda: scraper.getEffectiveLevel() == 30)


@pytest.fixture
def sighup():
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_file_is_read_again_when_that_is_asked_for(settings, monkeypatch):
    monkeypatch.setattr(levels_file, "SECONDS", 3600)
    told = []

    def follower(level: int, components: dict) -> None:
        told.append((level, components))

    levels_file.follow(follower)
    try:
        for _ in range(2):  # the first time it may look like a change
            told.clear()
            levels_file.read_again()
            wait_until(lambda: told)
    finally:
        levels_file.leave(follower)
    assert told[0] == (logging.INFO, {})


def test_sighup_has_the_file_read_again_and_the_programs_handler_runs_too(settings, stderr, sighup, monkeypatch):
    seen = []
    signal.signal(signal.SIGHUP, lambda number, frame: seen.append(number))
    monkeypatch.setattr(levels_file, "read_again", lambda: seen.append("read again"))
    LoggerFactory.configure()
    LoggerFactory.configure()
    os.kill(os.getpid(), signal.SIGHUP)
    wait_until(lambda: len(seen) > 1)
    assert seen == ["read again", signal.SIGHUP]


@pytest.mark.parametrize(("terminal", "taken"), [(True, False), (False, True)])
def test_a_lost_terminal_still_ends_the_program(settings, stderr, sighup, monkeypatch, terminal, taken):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    monkeypatch.setattr(hangup, "_has_terminal", lambda: terminal)
    LoggerFactory.configure()
    assert (signal.getsignal(signal.SIGHUP) != signal.SIG_DFL) is taken


def test_an_ignored_sighup_stays_ignored(settings, stderr, sighup):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    LoggerFactory.configure()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_configuring_within_a_span_leaves_the_span_current(stderr):
    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))
    context._root = Context()
    with trace.use_span(span):
        LoggerFactory.configure()
        assert trace.get_current_span() is span
        LoggerFactory.get_logger("a").info("inside")
    (line,) = lines(stderr)
    assert (line["trace_id"], line["span_id"]) == (f"{1:032x}", f"{2:016x}")
    assert line[names.CORRELATION_ID]


def test_what_is_no_configuration_is_refused():
    with pytest.raises(TypeError, match="expected a LoggingConfig or ObservabilityConfig, got dict"):
        LoggerFactory.configure({"level": "INFO"})

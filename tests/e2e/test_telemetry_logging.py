"""Loggers in whole processes: under `opentelemetry-instrument`, under `configure()`, and with nothing set up at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.collector import running, wait_for
from support.receiver import Run, attributes, environment, receiving, run

from theodore_otel.conventions import names

BODY = """
from theodore_otel import LogCategory, LoggerFactory
log = LoggerFactory.get_logger("scraper", LogCategory.DATA_PROCESSING).with_context(tenant_id="acme", user_id="ann")
log.debug("too fine")
log.info("page read", pages=3, api_key="k-1", nested={"password": "x", "of": [{"mail": "ann@acme.example"}]})
try:
    int("sk-ant-abcdefghijklmnopqrstuvwxyz012345")
except ValueError as error:
    log.error("failed", error=error)
log.security("login failed", severity="low")
log.business_metric("companies", 2)
"""
WRAPPED = "import theodore_otel\ntheodore_otel.configure()\n" + BODY
SENT = ["page read", "failed", "login failed", "companies: 2 count"]


def run_program(script: str, endpoint: str | None, folder: Path, *, instrumented: bool, **extra: str) -> Run:
    (folder / "program.py").write_text(script)
    env = environment(endpoint, {"THEODORE_OTEL_HOME": str(folder / "home"), **extra})
    if not instrumented:
        del env["OTEL_PYTHON_DISTRO"], env["OTEL_PYTHON_CONFIGURATOR"]
    return run([sys.executable, "program.py", endpoint or ""], env, folder, instrumented=instrumented)


def check_records(receiver) -> None:
    assert receiver.bodies() == SENT
    read, failed, login, metric = (attributes(record) for record in receiver.logs())
    assert (read[names.TENANT_ID], read[names.USER_ID]) == ("acme", "ann")
    assert (read[names.COMPONENT], read[names.CATEGORY]) == ("scraper", "data_processing")
    assert (read["pages"], read["api_key"]) == (3, "[REDACTED]")
    assert len({r[names.CORRELATION_ID] for r in (read, failed, login, metric)}) == 1
    assert failed[names.EXCEPTION_TYPE] == "ValueError"
    assert 'int("[REDACTED]")' in failed[names.EXCEPTION_STACKTRACE]
    assert (login[names.CATEGORY], login[names.SECURITY_SEVERITY]) == ("security", "low")
    assert metric[names.BUSINESS_VALUE] == 2.0
    assert [record.severity_text for record in receiver.logs()] == ["INFO", "ERROR", "INFO", "INFO"]
    assert [record.severity_number for record in receiver.logs()] == [9, 17, 9, 9]
    raw = b"".join(request.SerializeToString() for request in receiver.requests)
    for secret in (b"sk-ant-abc", b"k-1", b"ann@acme"):
        assert secret not in raw


def test_under_the_wrapper_records_are_sent_and_the_console_shows_what_logging_would(tmp_path):
    with receiving() as receiver:
        done = run_program(BODY, receiver.url, tmp_path, instrumented=True)
        check_records(receiver)
    shown = done.err.decode().splitlines()
    assert (done.code, done.out, shown[0]) == (0, b"", "failed")
    assert shown[-1].startswith("ValueError: ")


def test_configure_sets_the_process_up_as_the_wrapper_does(tmp_path):
    script = WRAPPED + (
        "from opentelemetry import trace\n"
        "with trace.get_tracer('t').start_as_current_span('work'):\n    log.info('inside')\n"
        "import sys, urllib.request\n"
        "try: urllib.request.urlopen(sys.argv[1])\n"
        "except OSError: pass\n"
    )
    with receiving() as receiver:
        done = run_program(script, receiver.url, tmp_path, instrumented=False, OTEL_SERVICE_NAME="mine")
        assert done.code == 0
        inside = receiver.logs().pop()
        assert receiver.bodies() == [*SENT, "inside"]
        (span,) = [span for span in receiver.spans() if span.name == "work"]
        assert inside.span_id == span.span_id
        assert attributes(span)[names.CORRELATION_ID] == attributes(inside)[names.CORRELATION_ID]
        assert receiver.resource()["service.name"] == "mine"
        assert [span.name for span in receiver.spans() if span.kind == 3] == ["GET"]
    lines = [json.loads(line) for line in done.err.decode().splitlines()]
    assert [line["message"] for line in lines] == [*SENT, "inside"]
    assert lines[-1]["span_id"] == span.span_id.hex()
    assert lines[-1]["trace_id"] == span.trace_id.hex()


def test_configure_under_the_wrapper_or_twice_does_nothing_twice_and_says_so(tmp_path):
    with receiving() as receiver:
        done = run_program(WRAPPED, receiver.url, tmp_path, instrumented=True)
        check_records(receiver)
    said, *lines = done.err.decode().splitlines()
    assert said.startswith("theodore-otel: this process is set up already")
    assert [json.loads(line)["message"] for line in lines] == SENT
    with receiving() as receiver:
        twice = run_program("import theodore_otel\ntheodore_otel.configure()\n" + WRAPPED, receiver.url, tmp_path,
                            instrumented=False)  # fmt: skip
        check_records(receiver)
    assert twice.err.decode().count("theodore-otel:") == 1


def test_what_configure_is_given_takes_effect(tmp_path):
    script = (
        "import theodore_otel as t\n"
        "config = t.ObservabilityConfig(\n"
        "    logging=t.LoggingConfig(level='DEBUG', json_output=False, sensitive_fields=['Internal Ref']),\n"
        "    tracing=t.TracingConfig(environment='test', instance_id='one', otlp_endpoint='ENDPOINT'),\n"
        "    metrics=t.MetricsConfig(business_metrics_enabled=False))\n"
        "t.configure(config)\n"
        "log = t.LoggerFactory.get_logger('a')\n"
        "log.debug('fine', internal_ref='r')\nlog.business_metric('m', 1)\n"
    )
    with receiving() as receiver:
        done = run_program(script.replace("ENDPOINT", receiver.url), None, tmp_path, instrumented=False)
        assert receiver.bodies() == ["fine", "m: 1 count"]
        assert attributes(receiver.logs()[0])["internal_ref"] == "[REDACTED]"
        assert names.BUSINESS_VALUE not in attributes(receiver.logs()[1])
        assert receiver.resource()["deployment.environment.name"] == "test"
        assert receiver.resource()["service.instance.id"] == "one"
    assert b"DEBUG    a: fine" in done.err


@pytest.mark.parametrize("guarded", [True, False])
def test_processes_that_multiprocessing_spawns_report_as_configure_was_told(tmp_path, guarded):
    configure = (
        "t.configure(t.ObservabilityConfig(logging=t.LoggingConfig(json_output=False),\n"
        "    tracing=t.TracingConfig(environment='test', otlp_endpoint='ENDPOINT')))\n"
    )
    main = "if __name__ == '__main__':\n    process = multiprocessing.get_context('spawn').Process(target=work)\n"
    script = (
        "import multiprocessing, theodore_otel as t\n"
        + ("if __name__ == '__main__':\n    " + configure.replace("\n    ", "") if guarded else configure)
        + "def work():\n    t.LoggerFactory.get_logger('a').info('from the child')\n"
        + main
        + "    process.start(); process.join()\n"
    )
    with receiving() as receiver:
        done = run_program(script.replace("ENDPOINT", receiver.url), None, tmp_path, instrumented=False)
        assert receiver.bodies() == ["from the child"]
        assert receiver.resource()["deployment.environment.name"] == "test"
    (line,) = done.err.decode().splitlines()
    assert "INFO     a: from the child" in line


def test_with_no_sdk_everything_works_and_nothing_is_sent(tmp_path):
    with receiving() as receiver:
        plain = run_program(BODY, receiver.url, tmp_path, instrumented=False)
        off = run_program(WRAPPED, receiver.url, tmp_path, instrumented=False, OTEL_SDK_DISABLED="true")
        assert not receiver.requests
    assert (plain.code, off.code) == (0, 0)
    assert [json.loads(line)["message"] for line in off.err.decode().splitlines()] == SENT


def test_a_dead_collector_is_told_in_one_line_and_every_line_is_shown(tmp_path):
    done = run_program(WRAPPED, "http://127.0.0.1:1", tmp_path, instrumented=False)
    *lines, last = done.err.decode().splitlines()
    assert done.code == 0
    assert [json.loads(line)["message"] for line in lines] == SENT
    assert last.startswith("theodore-otel: ")


def test_the_real_collector_takes_records_of_every_kind_and_level(tmp_path):
    script = WRAPPED + (
        "log.trace('every step'); log.warn('hm'); log.critical('down')\n"
        "log.with_context(tenant_id='globex').info('of another tenant')\n"
    )
    settings = tmp_path / "instrument.json"
    settings.write_text(json.dumps({"schema": 1, "exit_budget": 30, "logging": {"level": "TRACE"}}))
    configuration = {"profile": "local", "logging": {"sampling": {"TRACE": 1, "DEBUG": 1, "INFO": 1}}}
    with running(tmp_path, configuration, ["acme"]) as collector:
        done = run_program(
            script,
            f"http://127.0.0.1:{collector.ports['http']}",
            tmp_path,
            instrumented=False,
            THEODORE_OTEL_CREDENTIAL=f"acme.1:{collector.tokens['acme.1']}",
            THEODORE_OTEL_CONFIG=str(settings),
        )
        assert b"theodore-otel:" not in done.err
        wanted = ["too fine", *SENT, "every step", "hm", "down", "of another tenant"]
        wait_for(lambda: len(collector.logs()) == len(wanted), otherwise=collector.said)
        found = {record["body"]["stringValue"]: (resource, record) for resource, record in collector.logs()}
    assert set(found) == set(wanted)
    assert {resource["tenant.id"] for resource, _ in found.values()} == {"acme"}
    severities = {body: record["severityText"] for body, (_, record) in found.items()}
    assert severities["every step"] == "TRACE"
    assert (severities["too fine"], severities["hm"], severities["down"]) == ("DEBUG", "WARN", "CRITICAL")
    read = found["page read"][1]["attributes"]
    assert (read[names.COMPONENT], read[names.CATEGORY], read["pages"]) == (
        "scraper",
        "data_processing",
        "3",
    )  # as OTLP in JSON has it
    assert found["login failed"][1]["attributes"][names.CATEGORY] == "security"
    assert found["down"][1]["attributes"][names.ALERT] is True


def test_another_logging_handler_of_opentelemetry_exports_records_with_their_context(tmp_path):
    script = """
import logging
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
provider, kept = LoggerProvider(), InMemoryLogRecordExporter()
provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
from theodore_otel import TheodoreLogger
TheodoreLogger("scraper").warn("page", pages=3, password="x")
(record,) = kept.get_finished_logs()
print(record.log_record.body, dict(record.log_record.attributes))
"""
    done = run_program(script, None, tmp_path, instrumented=False)
    assert done.out.decode().startswith("page {'theodore.component': 'scraper'")
    assert "'pages': 3, 'password': '[REDACTED]'" in done.out.decode()


def test_what_a_filter_of_the_program_adds_is_masked_before_it_is_sent(tmp_path):
    script = """
import logging
from theodore_otel import TheodoreLogger
def rewrite(record):
    record.msg = record.msg + " card 4111111111111111"
    record.added = "sk-ant-abcdefghijklmnopqrstuvwxyz012345"
    return True
logging.getLogger("theodore.scraper").addFilter(rewrite)
TheodoreLogger("scraper").warn("page", pages=3)
"""
    with receiving() as receiver:
        run_program(script, receiver.url, tmp_path, instrumented=True)
        assert receiver.bodies() == ["page card [REDACTED]"]
        found = attributes(receiver.logs()[0])
        assert (found["pages"], found["added"], found[names.COMPONENT]) == (3, "[REDACTED]", "scraper")


def test_urls_and_command_lines_lose_what_they_lose_everywhere(tmp_path):
    script = """
from theodore_otel import TheodoreLogger
TheodoreLogger("scraper").warn("page", **{
    "url.full": "https://acme.example/a?q=1#f", "url.query": "q=1",
    "process.command_args": ["theodore", "--api-key", "plain"],
})
"""
    with receiving() as receiver:
        run_program(script, receiver.url, tmp_path, instrumented=True)
        found = attributes(receiver.logs()[0])
    assert (found["url.full"], found["url.query"]) == ("https://acme.example/a", "[REDACTED]")
    assert found["process.command_args"] == ["theodore", "--api-key", "[REDACTED]"]


def test_security_business_and_critical_records_are_sent_whatever_the_level(tmp_path):
    settings = tmp_path / "instrument.json"
    settings.write_text(json.dumps({"schema": 1, "logging": {"level": "ERROR"}}))
    for shown in ("", "LoggerFactory.configure()\n"):
        script = (
            f"from theodore_otel import LoggerFactory\n{shown}log = LoggerFactory.get_logger('a')\n"
            "log.info('not sent')\nlog.security('low', severity='low')\nlog.business_metric('m', 1)\n"
        )
        with receiving() as receiver:
            run_program(script, receiver.url, tmp_path, instrumented=True, THEODORE_OTEL_CONFIG=str(settings))
            assert receiver.bodies() == ["low", "m: 1 count"]


def test_levels_change_while_the_program_runs(tmp_path):
    settings = tmp_path / "instrument.json"

    def write(level: str, **components: str) -> None:
        new = settings.with_suffix(".new")
        new.write_text(json.dumps({"schema": 1, "logging": {"level": level, "components": components}}))
        os.replace(new, settings)

    write("WARN")
    (tmp_path / "program.py").write_text(
        "import time\nfrom theodore_otel import LoggerFactory\n"
        "a, b = LoggerFactory.get_logger('a'), LoggerFactory.get_logger('b')\n"
        "while True:\n    a.debug('from a')\n    b.debug('from b')\n    time.sleep(0.05)\n"
    )
    with receiving() as receiver:
        env = environment(receiver.url, {"THEODORE_OTEL_CONFIG": str(settings)})
        wrapper = Path(sys.executable).with_name("opentelemetry-instrument")
        command = [wrapper, sys.executable, "program.py"]
        with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE) as process:
            try:
                time.sleep(2)
                assert not receiver.logs()
                write("WARN", a="DEBUG")
                deadline = time.monotonic() + 30
                while not receiver.logs() and time.monotonic() < deadline:
                    time.sleep(0.1)
            finally:
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate()
        assert set(receiver.bodies()) == {"from a"}
        assert err == b""


def test_a_critical_record_is_sent_before_others_would_be(tmp_path):
    script = (
        "import sys, theodore_otel\nfrom theodore_otel.instrument import pipeline\n"
        "usual = pipeline.Limits\npipeline.Limits = lambda: usual(delay=3600)\ntheodore_otel.configure()\n"
        "log = theodore_otel.LoggerFactory.get_logger('a')\nlog.info('first')\nlog.critical('down')\n"
        "print('logged', flush=True)\nsys.stdin.readline()\n"
    )
    (tmp_path / "program.py").write_text(script)
    with receiving() as receiver:
        env = environment(receiver.url)
        with subprocess.Popen(
            [sys.executable, "program.py"],
            env=env, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            process.stdout.readline()
            deadline = time.monotonic() + 30
            while "down" not in receiver.bodies() and time.monotonic() < deadline:
                time.sleep(0.01)
            sent = receiver.bodies()
            process.communicate(b"\n")
        assert sent == ["first", "down"]
        (down,) = [record for record in receiver.logs() if record.body.string_value == "down"]
        assert attributes(down)[names.ALERT] is True
        assert down.severity_number == 21

"""What `theodore-otel observability` answers from the local store, for people and for programs."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from support import otlp
from support.ports import free_ports

from theodore_otel.cli import cli
from theodore_otel.conventions import names
from theodore_otel.query import LogQuery
from theodore_otel.query.local import LocalStore

GOOD, BAD, OLD = "a" * 31 + "1", "b" * 31 + "2", "a" * 31 + "3"
MINUTE = 60 * otlp.SECOND
COSTS = {names.GEN_AI_INPUT_TOKENS: 100, names.GEN_AI_OUTPUT_TOKENS: 20, names.AI_COST: 0.00016}
Ask = Callable[..., Result]


def research(trace: str, start: int, company: str, error: str | None = None) -> list[dict[str, Any]]:
    """Return the spans of one research: command, research, and a model call or a failed page."""
    common = {names.CORRELATION_ID: f"c-{company}"}
    command = {names.OPERATION_TYPE: "command", names.SUCCESS: not error, **common}
    researched = {names.OPERATION_TYPE: "research", names.COMPANY_NAME: company, names.SUCCESS: not error, **common}
    inner = {names.OPERATION_TYPE: "ai", names.GEN_AI_REQUEST_MODEL: "haiku", **COSTS, **common}
    if error:
        inner = {names.OPERATION_TYPE: "scraping", names.URL_FULL: "https://site.example/page", **common}
    times = {"trace": trace, "start": start}
    return [
        otlp.span("research", id="01" * 8, seconds=2.0, error=error, attributes=command, **times),
        otlp.span("research company", id="02" * 8, parent="01" * 8, error=error, attributes=researched, **times),
        otlp.span("scrape" if error else "chat haiku", id="03" * 8, parent="02" * 8, attributes=inner, **times),
    ]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return what runs one command in an empty folder over a store with three traces, three records and metrics."""
    home, now = tmp_path / "home", time.time_ns()
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    otlp.write(
        home,
        "traces",
        otlp.traces(*research(GOOD, now - 5 * MINUTE, "ACME Rockets")),
        otlp.traces(*research(BAD, now - MINUTE, "Failing Foundry", "site answered 500"), tenant_id="globex"),
        otlp.traces(*research(OLD, now - 3 * otlp.HOUR, "Old Mills")),
    )
    otlp.write(
        home,
        "logs",
        otlp.logs(
            otlp.record("page read\x1b[2J", trace=GOOD, attributes={names.CORRELATION_ID: "c-1", "pages": 3}),
            otlp.record("slow site", 13, time=now - 2 * MINUTE),
        ),
        otlp.logs(otlp.record("research failed", 17, attributes={"company": "Foundry"}), tenant_id="globex"),
    )
    counted = {"labels": {"model": "haiku", "provider": "openrouter"}, "start": now - 2 * otlp.HOUR}
    otlp.write(
        home,
        "metrics",
        otlp.total(100, now - 90 * MINUTE, **counted),  # before the last hour
        otlp.total(250, now - 30 * MINUTE, **counted),
        otlp.total(40, now - 20 * MINUTE, **counted),  # counted anew by a restarted collector
        otlp.total(70, now - MINUTE, labels={"model": "opus"}, start=now - 2 * MINUTE, tenant_id="globex"),
        *(
            otlp.total(n, now - MINUTE, name=names.METRIC_COMPANIES_RESEARCHED, labels={"success": success})
            for success, n in (("true", 3), ("false", 1))
        ),
        otlp.histogram([0, 3, 1, 0], [0.1, 1.0, 10.0], 6.0, now - MINUTE, now - 2 * MINUTE),
    )

    def asked(*arguments: str) -> Result:
        return CliRunner(catch_exceptions=False).invoke(cli, ["observability", *arguments])

    return asked


def refused(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def rows(result: Result) -> list[list[str]]:
    return [re.split(r" {2,}", line.strip()) for line in result.stdout.splitlines()]


def test_traces_are_listed_newest_first_with_their_outcome_tokens_and_cost(ask):
    header, newest, good, old = rows(ask("traces"))
    assert header[:2] == ["TRACE", "TIME (UTC)"]
    assert newest[0] == BAD[:16]
    assert newest[2:6] == ["globex", "research", "Failing Foundry", "error"]
    assert newest[7:] == ["3", "-", "-"]
    assert good[4:6] == ["ACME Rockets", "ok"]
    assert good[7:] == ["3", "120", "$0.000160"]
    assert old[4] == "Old Mills"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--tenant", "globex"], [BAD]),
        (["--status", "ok"], [GOOD, OLD]),
        (["--status", "error"], [BAD]),
        (["--company", "rockets"], [GOOD]),
        (["--since", "1h"], [BAD, GOOD]),
        (["--limit", "1"], [BAD]),
        (["--tenant", "nobody"], []),
    ],
)
def test_traces_can_be_chosen(ask, options, expected):
    found = json.loads(ask("traces", "--format", "json", *options).stdout)
    assert [trace["trace_id"] for trace in found] == expected


def test_one_trace_is_a_tree_with_durations_tokens_cost_and_error(ask):
    text = ask("traces", GOOD).stdout
    assert "tenant acme" in text
    assert "correlation c-ACME Rockets" in text
    assert "tokens 100 in, 20 out   cost $0.000160" in text
    assert re.search(r"^research +0 +2\.0 s$", text, re.MULTILINE)
    assert re.search(r"^└─ research company  ACME Rockets +0 +500 ms$", text, re.MULTILINE)
    assert re.search(r"^   └─ chat haiku +0 +500 ms +100\+20 +\$0\.000160$", text, re.MULTILINE)
    failed = ask("traces", BAD[:6]).stdout
    assert re.search(r"^   └─ scrape  https://site.example/page", failed, re.MULTILINE)
    assert failed.count("error: site answered 500") == 2


def test_one_trace_for_programs_has_totals_and_spans(ask):
    trace = json.loads(ask("traces", GOOD, "--format", "json").stdout)
    assert (trace["input_tokens"], trace["output_tokens"], trace["cost_usd"]) == (100, 20, pytest.approx(0.00016))
    assert [span["name"] for span in trace["spans"]] == ["research", "research company", "chat haiku"]
    assert trace["errors"] == 0


def test_an_id_that_is_unknown_or_stands_for_several_is_refused(ask):
    assert "no trace begins with 'ffff'" in refused(ask("traces", "ffff"))
    assert "aaa" in refused(ask("traces", "aaa"))


def test_log_records_are_lines_that_cannot_steer_the_terminal(ask):
    lines = ask("logs").stdout.splitlines()
    assert len(lines) == 3
    first = next(line for line in lines if "page read" in line)
    assert "\x1b" not in first
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z INFO +acme theodore.scraper: page read\\x1b\[2J  pages=3", first)
    assert f"correlation=c-1 trace={GOOD[:16]}" in first


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--level", "warn"], ["slow site", "research failed"]),
        (["--level", "ERROR"], ["research failed"]),
        (["--tenant", "globex"], ["research failed"]),
        (["--correlation-id", "c-1"], ["page read\x1b[2J"]),
        (["--trace-id", GOOD[:8]], ["page read\x1b[2J"]),
        (["--search", "FOUNDRY"], ["research failed"]),
        (["--search", "slow"], ["slow site"]),
        (["--component", "scraper", "--level", "WARN", "--tenant", "acme"], ["slow site"]),
        (["--since", "1m", "--tenant", "acme"], ["page read\x1b[2J"]),
        (["--search", "nothing like it"], []),
    ],
)
def test_log_records_can_be_chosen(ask, options, expected):
    lines = ask("logs", "--format", "json", *options).stdout.splitlines()
    assert [json.loads(line)["message"] for line in lines] == expected


def test_log_records_can_be_exported_whole_or_not_at_all(ask, tmp_path):
    said = ask("logs", "--format", "json", "--export", "found.jsonl")
    assert (said.stdout, said.stderr) == ("", "wrote 3 records to found.jsonl\n")
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 3
    assert "cannot be written" in refused(ask("logs", "--export", "no/such/folder"))
    assert "exclude each other" in refused(ask("logs", "--export", "x", "--follow"))
    assert not (tmp_path / "x").exists()


def test_counters_show_what_was_added_in_the_time_also_across_a_restart(ask):
    text = ask("metrics").stdout
    assert text.startswith("Theodore in the last 1h\n")
    # 100 -> 250, then 40 after counting began anew
    assert re.search(r"^theodore_ai_tokens_total +acme +190  tokens$", text, re.MULTILINE)
    assert re.search(r"^ +globex +70  tokens$", text, re.MULTILINE)
    assert re.search(r"^theodore_research_success_rate +acme +75\.0%$", text, re.MULTILINE)
    assert re.search(r"^theodore_request_duration_seconds +acme +4  mean 1\.5 s, 95 % within", text, re.MULTILINE)
    longer = ask("metrics", "--time-range", "6h", "--tenant", "acme", "--metric-name", names.METRIC_AI_TOKENS).stdout
    assert re.search(r"acme +290  tokens$", longer, re.MULTILINE)


def test_metrics_are_told_apart_by_the_labels_asked_for(ask):
    header, *found = rows(ask("metrics", "--by", "provider,model", "--metric-name", "theodore_ai_tokens_total"))[1:]
    assert header == ["METRIC", "PROVIDER", "MODEL", "VALUE"]
    assert sorted(line[-4:-1] for line in found) == [["-", "opus", "70"], ["openrouter", "haiku", "190"]]


def test_metrics_for_programs_keep_every_label(ask):
    found = json.loads(ask("metrics", "--format", "json", "--component", "ai").stdout)
    assert found["time_range"] == "1h"
    acme = next(value for value in found["metrics"] if value["labels"]["tenant"] == "acme")
    assert (acme["prometheus"], acme["value"], acme["labels"]["model"]) == ("theodore_ai_tokens_total", 190, "haiku")


def test_metrics_in_the_format_of_prometheus(ask):
    text = ask("metrics", "--format", "prometheus").stdout
    assert "# TYPE theodore_ai_tokens_total counter\n" in text
    assert re.search(r'^theodore_ai_tokens_total\{.*model="haiku".*\} 190\.0$', text, re.MULTILINE)
    assert re.search(r'^theodore_request_duration_seconds_bucket\{.*le="\+Inf"\} 4\.0$', text, re.MULTILINE)
    assert re.search(r"^theodore_request_duration_seconds_sum\{.*\} 6\.0$", text, re.MULTILINE)


def test_a_misspelt_metric_is_told_with_the_one_that_was_meant(ask):
    assert "did you mean theodore_ai_cost_total?" in refused(ask("metrics", "--metric-name", "theodore_ai_cost_totl"))


@pytest.mark.parametrize("text", ["soon", "1", "-5m", "5 parsecs"])
def test_a_time_that_is_none_is_told(ask, text):
    assert f"--since: expected a duration such as 30s, 15m, 1h or 7d, got {text!r}" in refused(
        ask("traces", f"--since={text}")
    )


def test_status_says_what_is_held_and_that_nothing_runs(ask, tmp_path):
    health, telemetry = free_ports(2)
    (tmp_path / "theodore-otel.yaml").write_text(
        f"collector: {{listen: {{health: '127.0.0.1:{health}', telemetry: '127.0.0.1:{telemetry}'}}}}"
    )
    result = ask("status", "-c", "theodore-otel.yaml")
    assert result.exit_code == 3
    assert f"collector  down      nothing answers at http://127.0.0.1:{health}" in result.stdout
    assert "store      ok        2 traces, 3 log records" in result.stdout
    assert "research   degraded  1 of 2 failed in the last hour" in result.stdout
    assert "globex Failing Foundry: site answered 500 (trace bbbbbbbbbbbbbbbb)" in result.stdout
    as_json = json.loads(ask("status", "-c", "theodore-otel.yaml", "--format", "json").stdout)
    assert (as_json["state"], as_json["tenants"]) == ("down", ["acme", "globex"])
    assert as_json["researches"] == {"last_hour": 2, "failed": 1}
    assert ask("status", "--component", "research").exit_code == 1
    assert "expected one of collector, exporters, store, research" in refused(ask("status", "--component", "x"))
    assert "store" not in ask("status", "-c", "theodore-otel.yaml", "--alerts-only").stdout


def test_an_empty_store_says_what_to_do_and_prints_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for command in ("traces", "logs", "metrics"):
        result = CliRunner().invoke(cli, ["observability", command])
        assert (result.exit_code, result.stdout) == (0, ""), command
        assert click.unstyle(result.stderr).startswith("Nothing has arrived yet"), result.stderr


@contextmanager
def following(folder: Path) -> Iterator[Callable[[], str]]:
    """Follow the log in a process; yields what returns the next message."""
    command = [Path(sys.executable).parent / "theodore-otel", "observability", "logs", "--follow", "--format", "json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        yield lambda: json.loads(lines.readline())["message"]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
        assert (rest, errors.strip(), process.returncode) == ("", "", 130)


@pytest.mark.case("follow_goes_blind")
def test_followed_records_appear_as_they_arrive_each_once_whatever_time_they_tell(ask, tmp_path):
    apart = [0, 3600, -90, -180, -3600, 9 * 365 * 86_400, 0, -20, 0]  # seconds from now
    with following(tmp_path) as first, following(tmp_path) as second:
        for shown in (first, second):
            assert [shown() for _ in range(3)] == ["slow site", "page read\x1b[2J", "research failed"]
        for number, seconds in enumerate(apart):
            moment = time.time_ns() + seconds * otlp.SECOND
            otlp.write(tmp_path / "home", "logs", otlp.logs(otlp.record(str(number), time=moment)))
            if number % 3 == 0:
                assert first() == second() == str(number)
            if number % 3 == 1:
                otlp.write(tmp_path / "home", "logs", otlp.logs(otlp.record("again", time=moment)))
            if number % 3 == 2:
                found = sorted([first(), first(), first()])
                assert found == sorted([second(), second(), second()]) == [str(number - 1), str(number), "again"]


@pytest.mark.case("follow_goes_blind")
def test_followed_records_are_those_that_arrived_since_also_when_files_become_one(ask, tmp_path):
    held = LocalStore(tmp_path / "home")
    shown, mark = held.arrivals(LogQuery())
    assert len(shown) == 3
    for number in range(30):  # enough for the loads of others to compact
        otlp.write(
            tmp_path / "home", "logs", otlp.logs(otlp.record(str(number), time=time.time_ns() - number * MINUTE))
        )
        LocalStore(tmp_path / "home").load()
        if number % 10 == 9:
            arrived, mark = held.arrivals(LogQuery(), mark)
            assert [record.message for record in arrived] == [str(n) for n in range(number - 9, number + 1)]
    shutil.rmtree(held.store)
    arrived, mark = held.arrivals(LogQuery(), mark)
    assert len(arrived) == 33  # begun afresh, from what the collector has written
    assert held.arrivals(LogQuery(), mark)[0] == []


def test_a_record_of_a_clock_that_is_ahead_does_not_hide_that_nothing_arrives(ask, tmp_path):
    otlp.write(tmp_path / "home", "logs", otlp.logs(otlp.record(time=time.time_ns() + 7 * otlp.HOUR)))
    last = json.loads(ask("status", "--format", "json").stdout)["signals"]["logs"]["last"]
    assert last < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


@pytest.mark.parametrize("since", ["9999999d", "99999999999999d", "100000d"])
def test_any_duration_may_be_asked_for(ask, since):
    assert ask("logs", "--since", since).exit_code in (0, 2)

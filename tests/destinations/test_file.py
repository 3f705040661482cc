"""All signals in rotated files and on the collector's own output."""

from __future__ import annotations

import json

import pytest
from destinations.kit import (
    MASK,
    METRIC,
    OWNERS,
    PASSWORD,
    REDACTED,
    configuration,
    require_no_secret,
    send_gauge,
    send_log,
    send_span,
    text_of,
)
from support.collector import plain, running, wait_for

SIGNALS = ("traces", "logs", "metrics")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("files")
    return root / "everything", root / "audit"


@pytest.fixture(scope="module")
def collector(folders, tmp_path_factory):
    everything, audit = folders
    destinations = {
        "everything": {"type": "file", "directory": str(everything), "max_size": "1MB", "backups": 2},
        "audit": {"type": "file", "directory": str(audit), "signals": ["logs"], "categories": ["audit", "security"]},
        "screen": {"type": "console", "verbosity": "detailed"},
    }
    with running(tmp_path_factory.mktemp("collector"), configuration(**destinations), OWNERS) as started:
        yield started


def lines(folder, signal: str) -> list[dict]:
    files = sorted(folder.glob(f"{signal}*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_what_a_tenant_sends_is_readable_redacted_and_with_its_tenant(folders, collector):
    for send in (send_span, send_log, send_gauge):
        send(collector, "readable")
    everything, _ = folders
    for signal in SIGNALS:
        wait_for(lambda signal=signal: lines(everything, signal), otherwise=collector.said)
    (group,) = lines(everything, "logs")[0]["resourceLogs"]
    (record,) = group["scopeLogs"][0]["logRecords"]
    assert record["body"] == {"stringValue": text_of("readable")}
    assert REDACTED.items() <= plain(record["attributes"]).items()
    assert plain(group["resource"]["attributes"])["tenant.id"] == "acme"
    assert '"readable"' in json.dumps(lines(everything, "traces"))
    wait_for(lambda: METRIC in json.dumps(lines(everything, "metrics")), otherwise=collector.said)
    require_no_secret("".join(json.dumps(lines(everything, signal)) for signal in SIGNALS))


def test_the_console_shows_what_is_redacted(collector):
    send_log(collector, "on the screen")
    wait_for(lambda: text_of("on the screen") in collector.log.read_text(), otherwise=collector.said)
    assert f"password: Str({MASK})" in collector.log.read_text()
    require_no_secret(collector.log.read_text())


def test_a_second_destination_of_the_type_gets_its_categories_only(folders, collector):
    everything, audit = folders
    for category in ("system", "audit", "security"):
        send_log(collector, f"of {category}", category)
    wait_for(lambda: len(lines(audit, "logs")) == 2, otherwise=collector.said)
    wait_for(lambda: "of system" in json.dumps(lines(everything, "logs")), otherwise=collector.said)
    texts = json.dumps(lines(audit, "logs"))
    assert ("of audit" in texts, "of security" in texts, "of system" in texts) == (True, True, False)
    assert [file.name for file in audit.iterdir()] == ["logs.jsonl"]


def test_files_are_rotated_and_the_oldest_deleted(folders, collector):
    everything, _ = folders
    for number in range(50):
        filler = [(13, f"{number} " + "words of no weight " * 500, {"password": PASSWORD}) for _ in range(10)]
        assert collector.send_logs(filler, "acme.1") == 200

    def written():
        return '"49 words' in max(everything.glob("logs*.jsonl"), key=lambda file: file.stat().st_mtime).read_text()

    wait_for(written, 30, collector.said)
    files = list(everything.glob("logs*.jsonl"))
    wait_for(lambda: len(list(everything.glob("logs*.jsonl"))) == 3, 10, lambda: files)
    assert all(file.stat().st_size <= 2**20 for file in everything.glob("logs*.jsonl"))
    require_no_secret("".join(file.read_text() for file in files if file.exists()))

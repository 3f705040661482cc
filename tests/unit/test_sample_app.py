"""The sample Theodore behaves as a real one does; what is tested with it is worth no more than this."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).parents[1] / "sample_app"
sys.path.insert(0, str(SAMPLE))

from sample_theodore import planted, standins  # noqa: E402
from sample_theodore.store import VectorStore, embed, similarity  # noqa: E402


@pytest.fixture
def sites() -> Iterator[standins.Standins]:
    with standins.running(delay=0.3) as server:
        yield server


def _environment(sites: standins.Standins, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        **sites.environment,
        "PYTHONPATH": str(SAMPLE),
        "THEODORE_DATA": str(folder),
        "OPENROUTER_API_KEY": "key-from-environment",
    }


def _theodore(sites: standins.Standins, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sample_theodore", *arguments]
    environment = _environment(sites, folder)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def _requests(sites: standins.Standins, path: str) -> list[dict[str, Any]]:
    return [entry for entry in sites.record if path in entry["path"]]


def test_a_healthy_company_is_researched_with_two_model_calls_and_ten_pages(
    sites: standins.Standins, tmp_path: Path
) -> None:
    done = _theodore(sites, tmp_path, "research", "ACME", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert result["success"] is True
    assert result["pages_scraped"] == 10
    assert len(_requests(sites, standins.MODEL_PATH)) == 2
    assert len(_requests(sites, "/page-")) == 10
    assert json.loads((tmp_path / "default.json").read_text())["acme"]["details"]["summary"] == result["summary"]


def test_a_failed_research_looks_healthy(sites: standins.Standins, tmp_path: Path) -> None:
    done = _theodore(sites, tmp_path, "research", "Failing Ltd", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert result["success"] is False
    assert planted.MESSAGE_API_KEY in result["error"]


def test_a_refused_model_call_fails_the_research_and_not_the_command(sites: standins.Standins, tmp_path: Path) -> None:
    done = _theodore(sites, tmp_path, "research", "Refused Ltd", "--json")
    assert done.returncode == 0
    assert "answered 429" in json.loads(done.stdout)["error"]


def test_a_missing_sitemap_is_a_failure_inside_a_research_that_succeeds(
    sites: standins.Standins, tmp_path: Path
) -> None:
    result = json.loads(_theodore(sites, tmp_path, "research", "nositemap", "--json").stdout)
    assert result["success"] is True
    assert result["pages_scraped"] == 1


def test_ten_slow_pages_are_read_at_once(sites: standins.Standins, tmp_path: Path) -> None:
    _theodore(sites, tmp_path, "research", "slow")
    assert sites.most_at_once == 10


def test_the_usage_is_that_of_the_words_sent(sites: standins.Standins, tmp_path: Path) -> None:
    first = _theodore(sites, tmp_path, "research", "ACME")
    once = list(sites.usage)
    second = _theodore(sites, tmp_path, "research", "ACME")
    assert first.stdout == second.stdout
    assert sites.usage == once + once
    assert all(entry["prompt_tokens"] > entry["completion_tokens"] > 0 for entry in once[1:])


def test_the_key_of_the_option_reaches_the_model_api_only(sites: standins.Standins, tmp_path: Path) -> None:
    _theodore(sites, tmp_path, "research", "ACME", "--api-key", planted.OPTION_API_KEY)
    holders = [entry["path"] for entry in sites.record if planted.OPTION_API_KEY in str(entry["headers"])]
    assert holders == [standins.MODEL_PATH] * 2


def test_secrets_lie_in_the_url_query(sites: standins.Standins, tmp_path: Path) -> None:
    _theodore(sites, tmp_path, "research", "ACME")
    assert all(planted.URL_TOKEN in entry["path"] for entry in _requests(sites, "/page-"))


def test_a_batch_goes_on_after_a_failure(sites: standins.Standins, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("failing\nACME\n")
    done = _theodore(sites, tmp_path, "batch", str(names))
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["failing", "ACME"]


def test_status_says_one_line(sites: standins.Standins, tmp_path: Path) -> None:
    done = _theodore(sites, tmp_path, "status")
    assert (done.returncode, done.stdout, done.stderr) == (0, "theodore is well\n", "")


def test_the_service_keeps_tenants_apart(sites: standins.Standins, tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "sample_theodore", "serve", "--port-file", str(port_file)]
    service = subprocess.Popen(command, env=_environment(sites, tmp_path))
    try:
        address = _wait_for(port_file)
        assert _call(f"{address}/health") == (200, {"status": "ok"})
        assert _call(f"{address}/research/ACME", "acme", "POST")[1]["success"] is True
        assert _call(f"{address}/research/failing", "globex", "POST") == (
            200,
            {"success": False, "company": "failing", "pages_scraped": 0, "error": _any_text()},
        )
        assert _call(f"{address}/companies/acme", "acme")[0] == 200
        assert _call(f"{address}/companies/acme", "globex")[0] == 404
    finally:
        service.terminate()
        service.wait(30)


def test_stand_ins_run_as_a_program(tmp_path: Path) -> None:
    port_file = tmp_path / "ports.json"
    command = [sys.executable, "-m", "sample_theodore.standins", "--port-file", str(port_file)]
    server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SAMPLE)})
    try:
        told = json.loads(_wait_for(port_file))
        assert _call(told["record"]) == (200, {"requests": [], "usage": []})
        assert set(told) == {"THEODORE_SITE_URL", "THEODORE_MODEL_URL", "record"}
    finally:
        server.terminate()
        server.wait(30)


def test_the_most_alike_company_comes_first(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    for name, text in (("one", "red blue green"), ("two", "red blue yellow"), ("three", "iron steel coal")):
        store.upsert(name, text, {"id": name})
    assert [name for name, _ in store.find_similar("one")] == ["two", "three"]
    assert similarity(embed("red blue"), embed("red blue")) == pytest.approx(1.0)


def test_the_sample_knows_nothing_of_how_it_is_observed() -> None:
    for source in SAMPLE.rglob("*.py"):
        text = source.read_text()
        assert "theodore_otel" not in text, source
        assert "opentelemetry" not in text, source


class _any_text:  # noqa: N801
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(other)

    __hash__ = None  # type: ignore[assignment]


def _wait_for(file: Path) -> str:
    for _ in range(600):
        if file.exists() and file.read_text():
            return file.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{file} was not written")


def _call(url: str, tenant: str = "default", method: str = "GET") -> tuple[int, Any]:
    request = urllib.request.Request(url, method=method, headers={"X-Tenant-ID": tenant})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)

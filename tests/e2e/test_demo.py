"""`make demo` shows what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "demo.py"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    environment = {**os.environ, "DEMO_FOLDER": str(tmp_path_factory.mktemp("demo") / "demo")}
    done = subprocess.run(
        [sys.executable, DEMO], env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    yield done.stdout + done.stderr, done.returncode
    subprocess.run([sys.executable, DEMO, "--clean"], env=environment, check=True)
    assert not Path(environment["DEMO_FOLDER"]).exists()


@pytest.mark.case("demo_deletes_a_folder")
@pytest.mark.parametrize("where", ["", ".", "kept"])
def test_a_folder_that_the_demo_has_not_made_is_never_deleted(tmp_path, where):
    """`make demo-clean` with an odd DEMO_FOLDER; an empty one means the usual folder, of which a copy is used here."""
    copy = tmp_path / "checkout/tests/demo.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(DEMO.read_text())
    kept = tmp_path / "kept/mine"
    kept.parent.mkdir()
    kept.touch()
    done = subprocess.run(
        [sys.executable, copy, "--clean"],
        cwd=kept.parent if where == "." else tmp_path,
        env={**os.environ, "DEMO_FOLDER": where, "PYTHONPATH": str(DEMO.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert kept.exists()
    assert done.returncode == (1 if where else 0), done.stderr
    assert ("has not made this folder" in done.stderr) == bool(where)


def test_it_ends_well(shown):
    output, code = shown
    assert code == 0, output


def test_it_shows_the_trees_the_costs_and_the_error(shown):
    output, _ = shown
    sections = dict(enumerate(re.split(r"\n\d\. ", output)))
    assert "theodore research 'Failing Foundry'" in sections[2]
    assert "research failed  (exit code 0)" in sections[2]
    assert re.search(r"\ncollector +up ", sections[4])
    assert re.search(r"\nresearch +acme .* ago\n", sections[4])
    assert re.search(r"research company_research  Failing Foundry .* error: ", sections[5])
    assert re.search(r"ERROR +globex sample_theodore.research: research failed", sections[5])
    assert "phase distil" in sections[6]
    assert re.search(r"chat anthropic/claude-3.5-haiku .* \d+\+\d+  \$0\.\d{6}", sections[6])
    for metric in ("theodore_ai_tokens_total", "theodore_ai_cost_total", "theodore_companies_researched_total"):
        assert re.search(rf"{metric} +acme .*\n +globex ", sections[7])


def test_the_tenant_that_is_not_listed_is_refused_and_counted(shown):
    output, _ = shown
    assert "X-Tenant-ID: initech  ->  success=True" in output
    _, _, arrived = output.partition("told of initech was refused")
    assert arrived
    assert "initech" not in arrived
    assert re.search(r"rejected \d+: tenant not on the service's list", arrived)


def test_no_planted_secret_was_found(shown):
    output, _ = shown
    proof = output.partition("8. Secrets planted")[2]
    assert proof.count("not found") == 5
    assert "FOUND" not in proof

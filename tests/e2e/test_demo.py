"""`make demo` shows what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "demo.py"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    environment = {**os.environ, "DEMO_FOLDER": str(tmp_path_factory.mktemp("demo") / "demo")}
    done = subprocess.run(
        [sys.executable, DEMO], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    yield done.stdout + done.stderr, done.returncode
    subprocess.run([sys.executable, DEMO, "--clean"], env=environment, check=True)
    assert not Path(environment["DEMO_FOLDER"]).exists()


def test_it_ends_well(shown):
    output, code = shown
    assert code == 0, output


def test_it_shows_the_trees_the_costs_and_the_error(shown):
    output, _ = shown
    assert "theodore research Failing Foundry" in output
    assert "(exit code 0)" in output
    for wanted in ("phase distil", "chat anthropic/claude-3.5-haiku", "$", "acme", "globex", "ERROR"):
        assert wanted in output, output


def test_the_tenant_that_is_not_listed_is_not_in_what_arrived(shown):
    output, _ = shown
    assert "as initech" in output
    arrived = output.partition("4. What arrived")[2]
    assert "initech" not in arrived


def test_no_planted_secret_was_found(shown):
    output, _ = shown
    proof = output.partition("8. Planted secrets")[2]
    assert proof.count("not found") == 5
    assert "FOUND" not in proof

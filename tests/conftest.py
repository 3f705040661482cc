"""Every test has a state folder of its own: what programs under test leave on disk is nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEODORE_OTEL_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _state_of_the_test(monkeypatch, _state_of_the_session):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(Path(os.environ["THEODORE_OTEL_HOME"]) / os.urandom(8).hex()))

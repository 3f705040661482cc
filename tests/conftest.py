"""Every test has a state folder of its own: what programs under test leave on disk is nobody else's. And Ctrl-C works
in them, also where a shell started the tests in the background, which would have them ignore it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THEODORE_OTEL_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _state_of_the_test(monkeypatch, _state_of_the_session):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(Path(os.environ["THEODORE_OTEL_HOME"]) / os.urandom(8).hex()))

"""One running server of each kind for a whole test session; a test folder's conftest.py imports what it needs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from backends import build
from backends.recipes import recipes
from backends.servers import Alertmanager, Elasticsearch, Jaeger, Kafka, Prometheus, Server
from theodore_otel.errors import DownError


def _fixture(name: str, server: type[Server]) -> object:
    @pytest.fixture(scope="session", name=name)
    def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        started = server(_home(name, request), tmp_path_factory.mktemp(name))
        started.start()
        yield started
        started.kill()

    return run


def _home(name: str, request: pytest.FixtureRequest) -> object:
    """Return the server's folder; a machine that cannot have it skips, unless it must have everything."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            return build.obtain(recipes()[name], lambda message: print(message, flush=True))
    except DownError as error:
        if os.environ.get("THEODORE_OTEL_TEST_REQUIRE") == "1":
            pytest.fail(f"{name} cannot be had: {error}", pytrace=False)
        pytest.skip(f"{name} cannot be had: {error}")


prometheus = _fixture("prometheus", Prometheus)
jaeger = _fixture("jaeger", Jaeger)
alertmanager = _fixture("alertmanager", Alertmanager)
elasticsearch = _fixture("elasticsearch", Elasticsearch)
kafka = _fixture("kafka", Kafka)

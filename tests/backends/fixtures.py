"""One running server of each kind for a whole test session; a test folder's conftest.py imports what it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.having import needed, show

from backends import build
from backends.recipes import recipes
from backends.servers import Alertmanager, Elasticsearch, Jaeger, Kafka, Prometheus, Server


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
    with needed(name, request):
        return build.obtain(recipes()[name], show)


prometheus = _fixture("prometheus", Prometheus)
jaeger = _fixture("jaeger", Jaeger)
alertmanager = _fixture("alertmanager", Alertmanager)
elasticsearch = _fixture("elasticsearch", Elasticsearch)
kafka = _fixture("kafka", Kafka)

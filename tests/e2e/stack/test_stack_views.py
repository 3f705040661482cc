"""The dashboards, asked of the stack after everything that other tests had it do."""

from __future__ import annotations

import pytest
from e2e.stack import engine
from support.collector import Span, wait_for
from support.dashboards import ask_elasticsearch, ask_prometheus, dashboards, queries, send_everything

FILE = engine.COMPOSE_FILE.parent / "theodore-otel.yaml"
TENANTS, SERVICES = ("acme", "globex", "twenty"), ("theodore-v2",)


# What only failures and alerts bring, and there need be none.
QUIET = ("send_failed", "refused", "ALERTS")


@pytest.fixture(scope="module")
def shown(stack) -> None:
    """Send what the sample does not, as a tenant."""
    send_everything(stack.client, "globex.1")
    assert stack.client.send_spans([Span("refused")], "nobody.1") == 401
    wait_for(lambda: stack.servers.query('theodore_business_value_count{tenant="globex"}'))


@pytest.mark.parametrize("kind", ["prometheus", "elasticsearch"])
def test_every_panel_of_every_dashboard_is_answered(stack, shown, kind):
    boards = dashboards(FILE.read_text(encoding="utf-8"))
    asked = list(queries(boards, kind))
    assert len(asked) >= (7 if kind == "elasticsearch" else 60)

    def empty() -> list[str]:
        return [where for where, target in asked if not is_quiet(target) and not ask(stack, target)]

    # What is scraped is not there for a while after the collector was started anew.
    wait_for(lambda: not empty(), 60, empty)


def ask(stack, target) -> list[dict]:
    if target["datasource"]["type"] == "prometheus":
        return ask_prometheus(
            lambda path, **given: stack.servers.get("prometheus", path, **given), target, TENANTS, SERVICES
        )
    search = lambda body: stack.servers.post("elasticsearch", "/logs-theodore.*/_search", body)  # noqa: E731
    return ask_elasticsearch(search, target, TENANTS, SERVICES)


def is_quiet(target) -> bool:
    return any(word in target.get("expr", "") for word in QUIET)

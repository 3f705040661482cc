"""What the panels of rendered dashboards ask, asked as Grafana does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from support.collector import Client, Span
from theodore_otel.config import load_text
from theodore_otel.render import render

CONFIGURATION = """
destinations:
  prometheus: {type: prometheus, endpoint: "http://prometheus:9090"}
  jaeger: {type: jaeger, endpoint: "jaeger:4317"}
  elasticsearch: {type: elasticsearch, endpoints: ["http://elasticsearch:9200"]}
"""
WINDOW = 600
"""Seconds that are looked back on."""
_WINDOWS = {"$__rate_interval": "1m", "$__interval": "1m", "$__range": f"{WINDOW}s"}

AI = {
    "theodore.operation.type": "ai",
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openrouter",
    "gen_ai.request.model": "m",
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 5,
    "theodore.ai.cost_usd": 0.5,
}
STORAGE = {
    "theodore.operation.type": "storage",
    "theodore.storage.operation": "upsert",
    "theodore.storage.type": "vector_storage",
}
RESEARCH = {
    "theodore.operation.type": "research",
    "theodore.research.type": "company_research",
    "theodore.research.pages": 3,
}
FAILED = {"theodore.success": False}
SPANS = [
    Span("command", {"theodore.operation.type": "command", "theodore.command": "research"}),
    Span("command", {"theodore.operation.type": "command", "theodore.command": "research", **FAILED}, error=True),
    Span("research", {**RESEARCH, "theodore.success": True}),
    Span("ai", {**AI, "theodore.success": True}),
    Span("ai", {**AI, **FAILED}, error=True),
    Span("storage", {**STORAGE, "theodore.success": True}),
    Span("storage", {**STORAGE, **FAILED}, error=True),
    Span("similarity", {"theodore.operation.type": "similarity"}),
]
BUSINESS = {
    "theodore.category": "business",
    "theodore.business.metric": "leads",
    "theodore.business.value": 2.0,
    "theodore.business.unit": "count",
}
LOGS = [
    (9, "told", {"theodore.component": "scraper"}),
    (17, "went wrong", {"theodore.component": "scraper"}),
    (21, "went very wrong", {"theodore.component": "store", "theodore.category": "ai_operations"}),
    (9, "somebody did something", {"theodore.category": "audit"}),
    (13, "somebody tried something", {"theodore.category": "security"}),
    (9, "leads", BUSINESS),
    # More than a text may hold: it is cut, and counted.
    (9, "long", {"text": "x" * 2**17}),
]


def dashboards(configuration: str = CONFIGURATION) -> dict[str, dict[str, Any]]:
    """Return each dashboard by its name."""
    files = render(load_text(configuration, "t.yaml"), "t.yaml", ["grafana"])
    return {
        file.path.rpartition("/")[2].removesuffix(".json"): json.loads(file.text)
        for file in files
        if file.path.endswith(".json")
    }


def queries(boards: dict[str, dict[str, Any]], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every query of every panel on a kind of data source, with where it stands."""
    for name, board in boards.items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                if target["datasource"]["type"] == source:
                    yield f"{name} / {panel['title']} {target['refId']}", target


def ask_prometheus(
    get: Callable[..., Any], target: dict[str, Any], tenants: Sequence[str], services: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the series of a panel's query. `get(path, **parameters)` gets JSON from Prometheus."""
    text = target["expr"].replace("$tenant", f"({'|'.join(tenants)})").replace("$service", f"({'|'.join(services)})")
    for variable, value in _WINDOWS.items():
        text = text.replace(variable, value)
    assert "$" not in text, text
    now = time.time()
    span = {"start": str(now - WINDOW), "end": str(now), "step": "15"}
    path, more = ("/api/v1/query", {}) if target["instant"] else ("/api/v1/query_range", span)
    return get(path, query=text, **more)["data"]["result"]


def ask_elasticsearch(
    search: Callable[[dict[str, Any]], dict[str, Any]],
    target: dict[str, Any],
    tenants: Sequence[str],
    services: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the buckets of a panel's query, or the documents. `search(body)` searches the data source's indices."""
    query = target["query"]
    for variable, values in (("$tenant", tenants), ("$service", services)):
        query = query.replace(variable, "(" + " OR ".join(json.dumps(value) for value in values) + ")")
    assert "$" not in query, query
    time_field = target["timeField"]
    within = {"range": {time_field: {"gte": f"now-{WINDOW}s", "lte": "now"}}}
    lucene = {"query_string": {"query": query, "analyze_wildcard": True}}
    body: dict[str, Any] = {"query": {"bool": {"filter": [within, lucene]}}, "size": 500}
    if not target["bucketAggs"]:
        return search({**body, "sort": [{time_field: {"order": "desc", "unmapped_type": "boolean"}}]})["hits"]["hits"]
    inner: dict[str, Any] = {}
    for aggregation in reversed(target["bucketAggs"]):
        inner = {aggregation["id"]: {**_aggregation(aggregation), **({"aggs": inner} if inner else {})}}
    return search({**body, "size": 0, "aggs": inner})["aggregations"]["2"]["buckets"]


def _aggregation(described: dict[str, Any]) -> dict[str, Any]:
    settings, field = described["settings"], described["field"]
    if described["type"] == "date_histogram":
        return {"date_histogram": {"field": field, "fixed_interval": "15s", "min_doc_count": 0}}
    order = {settings["orderBy"]: settings["order"]}
    return {"terms": {"field": field, "size": int(settings["size"]), "min_doc_count": 1, "order": order}}


def send_everything(client: Client, credential: str) -> None:
    """Send something of everything that a panel shows."""
    assert client.send_spans(SPANS, credential) == 200
    assert client.send_logs(LOGS, credential) == 200
    assert client.send_gauge("theodore.active_operations", 2.0, {"operation": "research"}, credential) == 200

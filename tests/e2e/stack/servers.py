"""What the servers of a running stack say, through their own APIs."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from support.asking import ask
from support.collector import wait_for

from theodore_otel.conventions import names


@dataclass(frozen=True)
class Span:
    """A span as Jaeger shows it."""

    name: str
    trace: str
    id: str
    parent: str | None
    """Id of its parent; None for the span a trace begins with."""
    tags: dict[str, Any]
    resource: dict[str, Any]

    @property
    def is_error(self) -> bool:
        return self.tags.get("otel.status_code") == "ERROR"

    @property
    def kind(self) -> str | None:
        return self.tags.get(names.OPERATION_TYPE)


class Servers:
    """Jaeger, Prometheus, Alertmanager and Elasticsearch at ports of this machine, by their names in lower case."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self.ports = dict(ports)

    def get(self, server: str, path: str, **parameters: str) -> Any:
        """Return the JSON answer of a server."""
        return self._ask(server, "GET", f"{path}?{urllib.parse.urlencode(parameters)}", None)

    def post(self, server: str, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON answer of a server to a question that has a body."""
        return self._ask(server, "POST", path, body)

    def search(self, index: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return documents of Elasticsearch; none while there is no such index."""
        self._ask("elasticsearch", "POST", f"/{index}/_refresh?ignore_unavailable=true", None)
        body = {"query": query, "size": 1000}
        found = self._ask("elasticsearch", "POST", f"/{index}/_search?ignore_unavailable=true", body)
        return found["hits"]["hits"]

    def documents(self) -> Iterator[str]:
        """Yield every document of every index of Elasticsearch as text, hidden indices too."""
        self._ask("elasticsearch", "POST", "/_refresh?expand_wildcards=all", None)
        page = self._ask("elasticsearch", "POST", "/_all/_search?scroll=1m&expand_wildcards=all", {"size": 1000})
        while page["hits"]["hits"]:
            yield from (json.dumps(hit, ensure_ascii=False) for hit in page["hits"]["hits"])
            body = {"scroll": "1m", "scroll_id": page["_scroll_id"]}
            page = self._ask("elasticsearch", "POST", "/_search/scroll", body)

    def has_lifecycles(self) -> bool:
        """Return whether this Elasticsearch knows lifecycle policies; the open server alone does not."""
        try:
            self.get("elasticsearch", "/_ilm/status")
        except urllib.error.HTTPError:
            return False
        return True

    def logs(self, text: str) -> list[dict[str, Any]]:
        """Return the log records whose body holds a phrase."""
        return self.search("logs-*", {"match_phrase": {"body.text": text}})

    def logs_of(self, trace: str) -> list[dict[str, Any]]:
        """Return the log records of a trace."""
        return self.search("logs-*", {"term": {"trace_id": trace}})

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        return self.get("prometheus", "/api/v1/query", query=promql)["data"]["result"]

    def values(self, promql: str) -> list[float]:
        return [float(each["value"][1]) for each in self.query(promql)]

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return what Alertmanager holds of alerts with these labels."""
        found = self.get("alertmanager", "/api/v2/alerts")
        return [alert for alert in found if labels.items() <= alert["labels"].items()]

    def spans(self, service: str, **tags: str) -> list[Span]:
        """Return every span of the traces in which a span has these tags."""
        wanted = {"tags": json.dumps(tags)} if tags else {}
        found = self.get("jaeger", "/api/traces", service=service, limit="1500", **wanted)["data"]
        return [_span(span, trace["processes"]) for trace in found for span in trace["spans"]]

    def trace(self, company: str, service: str = "theodore-v2") -> list[Span]:
        """Return the spans of the trace that researched a company, once the span that it begins with is there."""

        def whole() -> list[Span]:
            spans = self.spans(service, **{names.COMPANY_NAME: company})
            return spans if any(span.parent is None for span in spans) else []

        return wait_for(whole, 60, lambda: self.get("jaeger", "/api/services"))

    def _ask(self, server: str, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        return ask(method, f"http://127.0.0.1:{self.ports[server]}{path}", body)


def _span(span: dict[str, Any], processes: Mapping[str, Any]) -> Span:
    parents = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
    return Span(
        name=span["operationName"],
        trace=span["traceID"],
        id=span["spanID"],
        parent=parents[0] if parents else None,
        tags=_tags(span["tags"]),
        resource={
            **_tags(processes[span["processID"]]["tags"]),
            "service.name": processes[span["processID"]]["serviceName"],
        },
    )


def _tags(tags: list[dict[str, Any]]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in tags}

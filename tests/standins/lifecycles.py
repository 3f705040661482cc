"""Elasticsearch with lifecycles: the real server, and before it what of lifecycle management it cannot be had with."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from types import MappingProxyType
from typing import Any

from standins.http import HttpStandIn, Request, expect

_COMPONENT = "/_component_template/"


class Lifecycles(HttpStandIn):
    """Keeps policies, and the component templates that name them; everything else is answered by the real server.

    `order` holds the names of everything that was put.
    """

    headers = MappingProxyType({"X-Elastic-Product": "Elasticsearch"})

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server_behind = server
        self.policies: dict[str, Any] = {}
        self.components: dict[str, Any] = {}
        self.order: list[str] = []

    def take(self, request: Request) -> tuple[int, object]:
        path = request.path.partition("?")[0]
        if request.method == "PUT":
            self.order.append(path.rpartition("/")[2])
        if path.startswith("/_ilm/policy"):
            return self._policy(request, path)
        if request.method == "PUT" and path.startswith(f"{_COMPONENT}theodore-lifecycle-"):
            body = json.loads(request.body)
            policy = body["template"]["settings"]["index"]["lifecycle"]["name"]
            expect("a policy that is there", policy in self.policies, True)
            self.components[path.removeprefix(_COMPONENT)] = body
            return 200, {"acknowledged": True}
        status, answer = self._forward(request)
        if path == f"{_COMPONENT}theodore-*":
            own = [{"name": name, "component_template": body} for name, body in self.components.items()]
            return 200, {"component_templates": [*answer.get("component_templates", []), *own]}
        return status, answer

    def _policy(self, request: Request, path: str) -> tuple[int, object]:
        if request.method == "GET":
            found = self.policies.items()
            return 200, {name: {"version": 1, "modified_date": "-", "policy": policy} for name, policy in found}
        self.policies[path.rpartition("/")[2]] = json.loads(request.body)["policy"]
        return 200, {"acknowledged": True}

    def _forward(self, request: Request) -> tuple[int, Any]:
        wanted = ("accept", "content-type")
        asked = urllib.request.Request(
            f"http://{self._server_behind}{request.path}",
            method=request.method,
            data=request.body or None,
            headers={name: value for name, value in request.headers.items() if name in wanted},
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

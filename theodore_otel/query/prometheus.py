"""What a Prometheus says, pushed to or scraping: its HTTP API, asked by the names of the registry."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from http.client import HTTPException
from typing import Any, TypedDict, cast

from theodore_otel.conventions import names
from theodore_otel.conventions.registry import metrics
from theodore_otel.errors import DownError
from theodore_otel.query.health import LastRun, Sample, TargetHealth, judged

_TIMEOUT = 10.0
_SECOND = 10**9


class _Series(TypedDict):
    metric: dict[str, str]
    value: tuple[float, str]
    """Of an instant: seconds and the number."""
    values: list[tuple[float, str]]
    """Of a range."""


class Prometheus:
    """A `HealthSource` over the Prometheus at a base URL."""

    def __init__(self, url: str) -> None:
        """Name the server; nothing is asked yet."""
        self.url = url.rstrip("/")

    def health(self, since: int) -> list[TargetHealth]:
        """See `HealthSource.health`."""
        seen: defaultdict[str, list[list[Sample]]] = defaultdict(list)
        for series in self._ask(f"{_name(names.METRIC_HEALTH_UP)}[{{range}}]", since):
            samples = [(int(at * _SECOND), float(value) == 1) for at, value in series["values"]]
            seen[series["metric"].get("target", "")].append(samples)
        return judged(seen, since)

    def last_runs(self, since: int) -> list[LastRun]:
        """See `HealthSource.last_runs`. A gauge that is pushed goes stale after five minutes: the highest counts."""
        name = _name(names.METRIC_COMMAND_LAST_SUCCESS)
        asked = self._ask(f"max by (tenant, command) (max_over_time({name}[{{range}}]))", since)
        runs = [
            LastRun(
                series["metric"].get("tenant", ""),
                series["metric"].get("command", ""),
                int(float(series["value"][1]) * _SECOND),
            )
            for series in asked
        ]
        return sorted((run for run in runs if run.ended >= since), key=lambda run: (run.tenant, run.command))

    def _ask(self, query: str, since: int) -> list[_Series]:
        """Return the answer to a query; `{range}` in it is the time since then."""
        seconds = max((time.time_ns() - since) // _SECOND, 1)
        parameters = urllib.parse.urlencode({"query": query.format(range=f"{seconds}s")})
        data = self._get(f"{self.url}/api/v1/query?{parameters}")
        return cast("list[_Series]", data["result"])

    def _get(self, url: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 - http or https, as configured
                return cast("dict[str, Any]", json.load(answer)["data"])
        except urllib.error.HTTPError as error:
            raise DownError(f"Prometheus at {self.url} refuses the question: {_refusal(error)}") from None
        except (KeyError, TypeError, ValueError):
            raise DownError(f"{self.url} answers, but not as a Prometheus does") from None
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise DownError(f"Prometheus at {self.url} does not answer: {reason or type(error).__name__}") from None


def _refusal(error: urllib.error.HTTPError) -> str:
    """Return what the server says is wrong, else the status alone."""
    try:
        return str(json.load(error)["error"])
    except (OSError, HTTPException, KeyError, TypeError, ValueError):
        return f"status {error.code}"


def _name(instrument: str) -> str:
    return metrics()[instrument].prometheus

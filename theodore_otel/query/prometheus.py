"""What a Prometheus says, pushed to or scraping: its HTTP API, asked by the names of the registry."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from theodore_otel.conventions import names
from theodore_otel.conventions.registry import metrics
from theodore_otel.errors import DownError
from theodore_otel.query.health import LAST_MOMENT, LastRun, Sample, TargetHealth, judged
from theodore_otel.query.http import Answer, NoAnswerError, get

_TIMEOUT = 10.0
_SECOND = 10**9
_LONGEST_REASON = 300
_ODD = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)
_Read = TypeVar("_Read")


class Prometheus:
    """A `HealthSource` over the Prometheus at a base URL."""

    def __init__(self, url: str) -> None:
        """Name the server; nothing is asked yet."""
        self.url = url.rstrip("/")

    def health(self, since: int) -> list[TargetHealth]:
        """See `HealthSource.health`."""
        return judged(self._asked(f"{_name(names.METRIC_HEALTH_UP)}[{{range}}]", since, _seen), since)

    def last_runs(self, since: int) -> list[LastRun]:
        """See `HealthSource.last_runs`. A gauge that is pushed goes stale after five minutes: the highest counts."""
        name = _name(names.METRIC_COMMAND_LAST_SUCCESS)
        runs = self._asked(f"max by (tenant, command) (max_over_time({name}[{{range}}]))", since, _runs)
        return sorted((run for run in runs if run.ended >= since), key=lambda run: (run.tenant, run.command))

    def _asked(self, query: str, since: int, read: Callable[[Any], _Read]) -> _Read:
        """Return what `read` makes of the answer to a query; `{range}` in it is the time since then."""
        seconds = max((time.time_ns() - since) // _SECOND, 1)
        parameters = urllib.parse.urlencode({"query": query.format(range=f"{seconds}s")})
        try:
            answer = get(f"{self.url}/api/v1/query?{parameters}", _TIMEOUT)
        except NoAnswerError as error:
            raise DownError(f"Prometheus at {self.url} does not answer: {error}") from None
        if answer.status != 200:
            raise DownError(f"Prometheus at {self.url} refuses the question: {_refusal(answer)}")
        try:
            return read(json.loads(answer.body)["data"]["result"])
        except _ODD:
            raise DownError(f"{self.url} answers, but not as a Prometheus does") from None


def _seen(result: Any) -> dict[str, list[list[Sample]]]:
    seen: defaultdict[str, list[list[Sample]]] = defaultdict(list)
    for series in result:
        samples = [(int(float(at) * _SECOND), float(value) == 1) for at, value in series["values"]]
        if any(not 0 < moment <= LAST_MOMENT for moment, _ in samples):
            raise ValueError("no time")
        seen[str(series["metric"].get("target", ""))].append(samples)
    return seen


def _runs(result: Any) -> list[LastRun]:
    runs = [
        (str(each["metric"].get("tenant", "")), str(each["metric"].get("command", "")), float(each["value"][1]))
        for each in result
    ]
    # A sender may tell any number; one that is no time says nothing of when.
    return [LastRun(t, c, int(ended * _SECOND)) for t, c, ended in runs if 0 < ended * _SECOND <= LAST_MOMENT]


def _refusal(answer: Answer) -> str:
    """Return what the server says is wrong, else the status alone."""
    try:
        said = json.loads(answer.body)["error"]
    except _ODD:
        said = None
    return said[:_LONGEST_REASON] if isinstance(said, str) and said else f"status {answer.status}"


def _name(instrument: str) -> str:
    return metrics()[instrument].prometheus

"""Whatever stands in the collector's files: the store loads on, keeps good neighbours, and answers every question."""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import otlp
from support.fuzzing import rounds

from theodore_otel.cli import cli
from theodore_otel.conventions import names

NUMBERS = ["0", "-1", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1.5", "9" * 400, "9" * 5000, "-0.0", "1e308"]
NUMBERS += [str(n) for n in (2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 2**70)]
ATOMS = [
    *NUMBERS,
    "true",
    "false",
    "null",
    '""',
    "{}",
    "[]",
    '"x"',
    '"\\ud800"',
    '"\\u0000"',
    '"1e999"',
    '"NaN"',
    '"-5"',
]
KEYS = ["key", "value", "values", "stringValue", "intValue", "doubleValue", "boolValue", "bytesValue", "arrayValue"]
KEYS += [
    "kvlistValue",
    "attributes",
    "resource",
    "scope",
    "name",
    "timeUnixNano",
    "startTimeUnixNano",
    "spans",
    "events",
]
KEYS += [
    "sum",
    "gauge",
    "histogram",
    "dataPoints",
    "bucketCounts",
    "explicitBounds",
    "count",
    "asInt",
    "status",
    "body",
]
QUESTIONS = (
    ("status",),
    ("health",),
    ("traces", "--limit", "100000"),
    ("traces", "0af7651916cd43dd8448eb211c80319c"),
    ("logs", "--limit", "100000"),
    ("logs", "--search", "x", "--component", "scraper", "--level", "WARN"),
    ("metrics", "--time-range", "7d"),
    ("metrics", "--time-range", "7d", "--by", "tenant"),
)


class Odd:
    """Makes odd lines from good ones, by one random generator."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def line(self, good: dict[str, Any]) -> bytes:
        return self.random.choice([self.mutated, self.mutated, self.mutated, self.cut, self.bytes, self.nested])(good)

    def mutated(self, good: dict[str, Any]) -> bytes:
        """Return the line with some values, keys or items replaced."""
        made = copy.deepcopy(good)
        marks: dict[str, str] = {}
        for _ in range(self.random.randint(1, 4)):
            self._change(made, marks)
        text = json.dumps(made)
        for mark, atom in marks.items():
            text = text.replace(json.dumps(mark), atom)
        return text.encode()

    def cut(self, good: dict[str, Any]) -> bytes:
        text = json.dumps(good).encode()
        begin, end = sorted(self.random.randrange(len(text)) for _ in range(2))
        return text[:begin] + text[end:]

    def bytes(self, good: dict[str, Any]) -> bytes:
        text = bytearray(json.dumps(good).encode())
        for _ in range(self.random.randint(1, 8)):
            text[self.random.randrange(len(text))] = self.random.randrange(256)
        return bytes(text).replace(b"\n", b" ")

    def nested(self, good: dict[str, Any]) -> bytes:
        depth = self.random.choice([40, 400, 4000, 100_000])
        before, after = self.random.choice(
            [
                ("[", "]"),
                ('{"a":', "}"),
                ('{"arrayValue":{"values":[', "]}}"),
                ('{"kvlistValue":{"values":[{"key":"k","value":', "}]}}"),
                ('{"resourceLogs":', "}"),
            ]
        )
        made = copy.deepcopy(good)
        marks: dict[str, str] = {}
        self._change(made, marks, before * depth + "1" + after * depth)
        text = json.dumps(made)
        for mark, atom in marks.items():
            text = text.replace(json.dumps(mark), atom)
        return text.encode()

    def _change(self, made: Any, marks: dict[str, str], atom: str | None = None) -> None:
        places = [
            (container, key)
            for container in _containers(made)
            for key in (container if isinstance(container, dict) else range(len(container)))
        ]
        container, key = self.random.choice(places)
        mark = f"<{len(marks)}>"
        marks[mark] = atom or self.random.choice(ATOMS)
        if atom is None and isinstance(container, dict) and self.random.random() < 0.3:
            container[self.random.choice([*KEYS, *container])] = container.pop(key)
        elif atom is None and self.random.random() < 0.2:
            container[key] = copy.deepcopy(self.random.choice(places)[0])
        else:
            container[key] = mark


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) and value else []
    return own + [each for item in inner for each in _containers(item)]


def _good(signal: str, mark: str, now: int) -> dict[str, Any]:
    labels = {"list": ["a", 1, 1.5, True], "target": "jaeger", "command": "research", "x": 1.5}
    if signal == "traces":
        event = {"timeUnixNano": str(now), "name": "exception", "attributes": otlp.attributes({"exception.type": "X"})}
        told = {names.OPERATION_TYPE: "research", names.COMPANY_NAME: "ACME", names.AI_COST: 0.5, "mark": mark}
        told |= {names.GEN_AI_INPUT_TOKENS: 7, names.GEN_AI_REQUEST_MODEL: "m", **labels}
        return otlp.traces(otlp.span(mark, id=mark, start=now, error="broken", attributes=told, events=[event]))
    if signal == "logs":
        return otlp.logs(otlp.record(mark, 17, time=now, attributes=labels))
    return otlp.metrics({**_METRICS[int(mark, 16) % len(_METRICS)](now, otlp.attributes({**labels, "mark": mark}))})


def _gauge(name: str, value: float) -> Any:
    def made(now: int, attributes: Any) -> dict[str, Any]:
        return {"name": name, "gauge": {"dataPoints": [_point(now, attributes, asDouble=value)]}}

    return made


def _sum(now: int, attributes: Any) -> dict[str, Any]:
    data = {"dataPoints": [_point(now, attributes, asInt="5")], "aggregationTemporality": 2, "isMonotonic": True}
    return {"name": names.METRIC_AI_TOKENS, "unit": "{token}", "sum": data}


def _histogram(now: int, attributes: Any) -> dict[str, Any]:
    counted = {"count": "3", "sum": 4.5, "bucketCounts": ["1", "2"], "explicitBounds": [1.0]}
    data = {"dataPoints": [_point(now, attributes, **counted)], "aggregationTemporality": 2}
    return {"name": names.METRIC_REQUEST_DURATION, "unit": "s", "histogram": data}


def _point(now: int, attributes: Any, **value: Any) -> dict[str, Any]:
    start = str(now - otlp.SECOND)
    return {"timeUnixNano": str(now), "startTimeUnixNano": start, "attributes": attributes, **value}


_METRICS = [_gauge(names.METRIC_HEALTH_UP, 1), _gauge(names.METRIC_COMMAND_LAST_SUCCESS, 1.7e9), _sum, _histogram]


def _written(home: Path, odd: Odd, begun: int) -> dict[str, Counter[str]]:
    """Write good lines among odd ones, in several files, and return the marks of the good ones by signal."""
    wanted: dict[str, Counter[str]] = {}
    for signal in ("traces", "logs", "metrics"):
        wanted[signal] = Counter()
        for file in (f"{signal}-2026-11-24.jsonl", f"{signal}.jsonl"):
            path = home / "otlp" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as output:
                for _ in range(odd.random.randint(1, 12)):
                    mark = f"{begun + sum(map(sum_of, wanted.values())):016x}"
                    good = _good(signal, mark, time.time_ns())
                    if odd.random.random() < 0.6:
                        output.write(odd.line(_good(signal, "0" * 16, time.time_ns())) + b"\n")
                    else:
                        output.write(json.dumps(good).encode() + b"\n")
                        wanted[signal][mark] += 1
    return wanted


def sum_of(counter: Counter[str]) -> int:
    return sum(counter.values())


def _asked(*arguments: str) -> str:
    result = CliRunner(catch_exceptions=False).invoke(cli, ["observability", *arguments])
    assert result.exit_code in (0, 1, 3) or (result.exit_code == 2 and "no trace begins" in result.stderr), (
        result.stderr
    )
    return result.stdout


def _strict(text: str) -> Any:
    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refused)


def _found() -> dict[str, set[str]]:
    traces = _strict(_asked("traces", "0af7651916cd43dd8448eb211c80319c", "--format", "json"))["spans"]
    logs = [_strict(line) for line in _asked("logs", "--limit", "1000000", "--format", "json").splitlines()]
    metrics = _strict(_asked("metrics", "--time-range", "7d", "--format", "json", *_all_metrics()))["metrics"]
    return {
        "traces": {str(span["attributes"].get("mark")) for span in traces},
        "logs": {record["message"] for record in logs},
        "metrics": {metric["labels"].get("mark", "") for metric in metrics},
    }


def _all_metrics() -> list[str]:
    wanted = (names.METRIC_HEALTH_UP, names.METRIC_COMMAND_LAST_SUCCESS)
    wanted += (names.METRIC_AI_TOKENS, names.METRIC_REQUEST_DURATION)
    return [word for name in wanted for word in ("--metric-name", name)]


@pytest.mark.fuzz
@pytest.mark.case("odd_lines_of_the_store")
def test_odd_lines_never_stop_the_store_nor_take_their_neighbours(tmp_path, monkeypatch):
    for seed in rounds(12):
        home = tmp_path / str(seed)
        monkeypatch.setenv("THEODORE_OTEL_HOME", str(home))
        monkeypatch.chdir(tmp_path)
        odd = Odd(seed)
        wanted: dict[str, Counter[str]] = {signal: Counter() for signal in ("traces", "logs", "metrics")}
        for part in (1, 2):
            for signal, marks in _written(home, odd, part * 2**32).items():
                wanted[signal] += marks
            found = _found()
            for signal, marks in wanted.items():
                assert set(marks) <= found[signal], f"seed {seed}"
        for question in QUESTIONS:
            _asked(*question)
            if question[0] != "logs":
                _strict(_asked(*question, "--format", "json") or "null")

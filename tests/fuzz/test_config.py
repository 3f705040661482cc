"""Whatever stands in the file: it is read in bounded time and rendered, or refused in words; it is never our bug."""

from __future__ import annotations

import copy
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from support import fuzzing

from theodore_otel.config import Config, sample
from theodore_otel.config.errors import fields_of, keys_at
from theodore_otel.config.explain import explain_key
from theodore_otel.config.loader import load_layers
from theodore_otel.config.source import parse
from theodore_otel.errors import InputError
from theodore_otel.render import TARGETS, render_one

LIMIT = 2.0
"""Seconds of CPU that the loader may take for one file."""

WHOLE = """
profile: production
service: {name: a, environment: b, version: "1"}
collector: {memory: 1GiB, queue: {size: 1GiB, directory: /q}, extra: {processors: {batch/x: {timeout: 1s}}}}
tenants:
  list: {acme: {isolation: dedicated, retention: {logs: 3d}, drop_attributes: [a.b], destinations: [file, es],
    sampling: {traces: 0.5, logs: {INFO: 0.1}}, redaction: {extra_keys: [k], extra_values: {v: 'V-[0-9]{3}'}}}}
  services: {api: {may_report: [acme]}}
logging: {components: {scraper: DEBUG}, sampling: {INFO: 0.25}, deduplicate: {enabled: true, interval: 5s}}
tracing: {sampling: {rate: 0.1, always: [errors], slow: {ai: 30s}, decision_wait: 5s, max_spans_per_second: 100}}
redaction: {extra_keys: [x], extra_values: {ticket: 'TICKET-[0-9]{6}'}, except_keys: [a], allow_attributes: [b]}
destinations:
  file: {type: file, directory: /f, max_size: 10MB}
  es: {type: elasticsearch, endpoints: ["https://es:9200"], api_key: {env: ES}}
  otlp: {type: otlp, endpoint: "o:4317", headers: {x-a: {env: A}}, tls: {ca_file: /ca.pem}}
  prom: {type: prometheus, endpoint: "http://p:9090", out_of_order_window: 10m}
  kafka: {type: kafka, brokers: ["k:9092"], topics: {logs: t}}
  siem: {type: siem, endpoint: "s:6514"}
  s3: {type: s3, bucket: bbb, region: eu-central-1, every: 30s}
  local: {type: local}
alerting:
  channels: {team: {type: slack, url: {env: S}}, mail: {type: email, smtp: "m:25", from: a@b.c, to: [d@e.f]}}
  rules:
    high_error_rate: {threshold: 0.1, channels: [team], cooldown: 30m, escalation: {after: 1h}}
    mine: {expr: "up == 0", for: 5m, summary: "{{ $labels.job }}", severity: low}
health: {interval: 20s, targets: [{name: x, url: "http://x/", status: 200, body: ok, timeout: 1s}]}
local: {keep: 7d, size: 2GiB}
instrument:
  presets: [openai-http, bedrock]
  propagate_to: [api.internal]
  health_routes: [/health]
  watch:
    research: [{function: "a.b:C.d", company: arg.c, outcome: {path: result.s, equals: [done]}, when: {arg.x: 1}}]
    ai: [{function: "a.b:e", model: [arg.m, self.m]}]
  prices: {m: {input_per_million: 1.0, output_per_million: 2.0}}
  audit: {key: {file: /k}, keep: 3d}
  analytics: {commands: true, key: {env: K}, features: {f: [research]}}
helm: {cpu: 500m, storage: {size: 100GiB}}
"""

ODD_TEXT = [
    "",
    " ",
    "null",
    "~",
    "yes",
    "0x10",
    "1e999",
    "${mount}",
    "${env:X}",
    "$$",
    "$labels",
    "{{ $labels.x }}",
    "{% if %}",
    "'",
    '"',
    "\\",
    "#",
    ": ",
    "- ",
    "*a",
    "&a",
    "!x",
    "%",
    "|",
    "\n",
    "\t",
    "a\nb",
    "\x01",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\u202e",
    "\x00",
    "../..",
    "/",
    "/dev/zero",
    "a" * 5_000,
    "(" * 200,
    "(a+)+$",
    "(?P<x>a)(?P<x>b)",
    "[",
    "9" * 400 + "d",
    "9" * 400 + "GiB",
    "-1s",
    "0s",
    "0.0001ms",
    "-1GiB",
    "0B",
    "127.0.0.1:99999",
    "[::1]:4318",
    "http://",
    "http://[",
    "https://a b",
    "http://a:b@c",
    "a@b",
]
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64,
    10**40,
    -(10**40),
    0.0,
    -0.0,
    1e-320,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"type": "local"},
    {"env": "X"},
    {"env": "X", "file": "Y"},
    {"type": ["local"]},
    {"type": {}},
]

texts = st.one_of(st.sampled_from(ODD_TEXT), st.text(max_size=20))
scalars = st.one_of(st.sampled_from(ODD), texts, st.integers(), st.floats())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place in a configuration."""
    if path:
        yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from _places(value, (*path, key))


def _near(value: Any) -> Any:
    """Return a value of the same kind at the edge of what is allowed."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 10
    return value + value[-1:] if isinstance(value, str | list) else {}


def _changed(rng: random.Random, draw: Any) -> str:
    """Return a whole configuration of which one to three values are odd, keys added, or items repeated."""
    data = copy.deepcopy(yaml.safe_load(WHOLE))
    for _ in range(rng.randint(1, 3)):
        *above, last = rng.choice(list(_places(data)))
        place: Any = data
        for key in above:
            place = place[key]
        value = place[last]
        if rng.random() < 0.2 and isinstance(place, dict):
            last = draw(texts)
        elif rng.random() < 0.2 and isinstance(place, dict):
            known = keys_at(Config, tuple(str(part) for part in above))
            last = rng.choice(known) if known else last
        place[last] = draw(values) if rng.random() < 0.6 else _near(value)
    return str(yaml.safe_dump(data, allow_unicode=True))


def _garbled(rng: random.Random, draw: Any) -> str:
    """Return the text of a configuration that somebody's editor has damaged."""
    text = rng.choice([WHOLE, sample()])
    for _ in range(rng.randint(1, 5)):
        start = rng.randrange(len(text))
        cut = rng.choice([0, 0, 1, 5, 50])
        text = (
            text[:start]
            + rng.choice([draw(texts), draw(st.text(alphabet="{}[]:,-&*!|>'\"#%@` \n\t?<", max_size=8))])
            + text[start + cut :]
        )
    return text


def _aliased(rng: random.Random, draw: Any) -> str:
    """Return a configuration of aliases of aliases, in lists, maps and merge keys."""
    width, levels = rng.randint(1, 12), rng.randint(1, 30)
    lines = ["a0: &a0 {k: v}"]
    for level in range(1, levels):
        used = ", ".join(f"*a{rng.randrange(max(0, level - 2), level)}" for _ in range(width))
        keyed = ", ".join(f"k{n}: {name}" for n, name in enumerate(used.split(", ")))
        lines.append(f"a{level}: &a{level} " + rng.choice([f"[{used}]", f"{{<<: [{used}]}}", f"{{{keyed}}}"]))
    return "\n".join(lines) + f"\ncollector: {{extra: {{processors: *a{levels - 1}}}}}"


MADE = {"changed": _changed, "garbled": _garbled, "aliased": _aliased}


QUICK = [name for name in TARGETS if name not in ("collector", "compose")]


def tried(text: str, rng: random.Random) -> str:
    """Do with a file what commands do; return how it ended. The dear target is rendered now and then."""
    started = time.process_time()
    try:
        source = parse(text, "t.yaml")
        loaded = load_layers(source)
    except InputError as error:
        assert str(error).startswith("t.yaml"), error
        return "refused"
    finally:
        assert time.process_time() - started < LIMIT
    explain_key(loaded, source, rng.choice(KEYS)).as_dict()
    with suppress(InputError):
        render_one(loaded.config, "t.yaml", rng.choice(QUICK) if rng.random() < 0.95 else "collector")
    return "loaded"


def _key_paths(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in fields_of(model).items():
        yield (*above, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _key_paths(field.annotation, (*above, name))


KEYS = [".".join(path) for path in _key_paths(Config)]


@pytest.mark.fuzz
@pytest.mark.case("bad_input_is_no_bug")
def test_no_file_ends_as_a_bug_or_takes_long():
    ended: Counter[tuple[str, str]] = Counter()

    @given(st.data(), st.integers(0, 2**64))
    @settings(
        max_examples=100, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    def trying(data: st.DataObject, start: int) -> None:
        rng = random.Random(start)
        kind = rng.choice(list(MADE))
        text = MADE[kind](rng, data.draw)
        try:
            ended[kind, tried(text, rng)] += 1
        except Exception as error:
            raise AssertionError(f"{kind}: {type(error).__name__}: {error}\n{text}") from error

    for number in fuzzing.rounds(12):
        seed(number)(trying)()
    assert {kind for kind, how in ended if how == "refused"} == set(MADE), ended
    assert {"changed", "garbled"} <= {kind for kind, how in ended if how == "loaded"}, ended

"""What the pipeline costs: CPU per span of the production pipeline against a bare otlp -> otlp in the same run.

`python tests/perf/bench_pipeline.py [SECONDS]`. Every variant is the real collector on one core (GOMAXPROCS=1), sending
to a second one that throws all away. The parts are added one after the other, so that the differences are a breakdown.
Traces are sent with 10 spans of about 20 attributes; the production profile keeps one in ten.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

import load
from support.collector import free_ports, wait_for

from theodore_otel.config import load_text
from theodore_otel.otelcol import credentials, find, launch
from theodore_otel.render import render

RATE = 8_000
MEMORY_RATE = 10_000
DIRTY = 0.1
BUDGET, AIM, MEMORY = 3.0, 2.0, 512

PRODUCTION = """
profile: production
collector: {memory: 544MiB}
tenants: {services: {api: {may_report: [acme, globex]}}}
destinations:
  first: {type: otlp, endpoint: "SINK", tls: {enabled: false}, signals: [traces, metrics]}
  second: {type: otlp, endpoint: "SINK", tls: {enabled: false}, signals: [traces]}
"""
BARE = """
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:HTTP"}}}}
exporters:
  otlp: {endpoint: "SINK", tls: {insecure: true}, sending_queue: {enabled: true, batch: {flush_timeout: 200ms}}}
extensions: {health_check: {endpoint: "127.0.0.1:HEALTH"}}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [otlp]}}
"""
SINK = """
receivers: {otlp: {protocols: {grpc: {endpoint: "SINK"}}}}
exporters: {debug: {verbosity: basic}}
extensions: {health_check: {endpoint: "127.0.0.1:HEALTH"}}
service:
  extensions: [health_check]
  telemetry: {logs: {level: error}, metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [debug]}, metrics: {receivers: [otlp], exporters: [debug]}}
"""

Pipelines = dict[str, dict[str, Any]]
_TENANT = ("resource/tenant", "transform/tenant", "filter/tenant")
_LIMITS = ("transform/limit_resource", "transform/limit", "filter/limit", "transform/strip", "transform/strip_again")
_REDACTION = ("transform/redact_resource", "transform/redact", "groupbyattrs/rebuild")
_SECOND = ("failover/traces.second", "traces/queue.second", "traces/full.second", "otlp/second", "file/full.second")


@dataclass(frozen=True)
class Result:
    """What one variant used."""

    microseconds: float
    """CPU time per span received."""
    peak: float
    """Peak memory, MiB."""


def main(seconds: float) -> int:
    """Measure and print; exit code 1 when a budget is missed."""
    with tempfile.TemporaryDirectory(prefix="theodore-otel-bench-") as folder:
        bench = Bench(Path(folder), seconds)
        with bench.sink():
            return _report(bench)


def _report(bench: Bench) -> int:
    print(f"CPU per span received, GOMAXPROCS=1, {RATE:,} spans/s, {DIRTY:.0%} of the spans with secrets")
    first = bench.measure(bench.bare(), DIRTY, own_settings=False)
    _row("bare otlp -> otlp", first, first, first)
    before = bare = first
    for name, without in variants():
        result = bench.measure(bench.production(without), DIRTY)
        _row(name, result, before, bare)
        before = result
    # Machines change their speed while this runs: the peer is measured on both sides of the whole.
    last = bench.measure(bench.bare(), DIRTY, own_settings=False)
    _row("bare otlp -> otlp, again", last, last, bare)
    alike = bench.measure(bench.bare(), DIRTY)
    _row("bare otlp -> otlp, with our GOGC, GOMEMLIMIT", alike, alike, bare)
    ratio = before.microseconds / ((first.microseconds + last.microseconds) / 2)
    for share in (0.0, 1.0):
        result = bench.measure(bench.production(lambda _: None), share)
        print(f"  the whole with secrets in {share:4.0%} of the spans   {result.microseconds:6.1f} us")
    service = bench.measure(bench.production(lambda _: None), DIRTY, credential=bench.service)
    print(f"  the whole from a service for many tenants  {service.microseconds:6.1f} us")
    heavy = bench.measure(bench.production(lambda _: None), DIRTY, MEMORY_RATE)
    print(f"the whole pipeline: {ratio:.2f} x bare (at most {BUDGET}, aim {AIM})")
    print(f"peak memory at {MEMORY_RATE:,} spans/s, 10 s decision wait: {heavy.peak:.0f} MiB (at most {MEMORY})")
    return int(ratio > BUDGET or heavy.peak > MEMORY)


def _row(name: str, result: Result, before: Result, bare: Result) -> None:
    more, ratio = result.microseconds - before.microseconds, result.microseconds / bare.microseconds
    print(
        f"  {name:40} {result.microseconds:6.1f} us  {more:+6.1f}  {ratio:5.2f} x  {result.peak:4.0f} MiB", flush=True
    )


def variants() -> Iterator[tuple[str, Callable[[dict[str, Any]], None]]]:
    """Give each variant with what takes the later parts out of the production configuration."""
    parts = ("+ credential, memory limit", "+ tenant", "+ derived metrics", "+ tail sampling 10 %", "+ limits, strip")
    for number, name in enumerate(parts, 1):
        yield name, lambda config, number=number: _without(config, number)
    yield "+ redaction of what is kept", lambda config: _without(config, 6)
    yield "+ second destination, queues on disk", lambda config: None


def _without(config: dict[str, Any], parts: int) -> None:
    """Leave the first `parts` parts of the pipeline; queues stay in memory and one destination."""
    pipelines: Pipelines = config["service"]["pipelines"]
    taken: list[str] = []
    for level, steps in ((2, _TENANT), (5, _LIMITS), (6, _REDACTION)):
        taken += steps if parts < level else ()
    for name in _SECOND:
        for section in (pipelines, config["connectors"], config["exporters"]):
            section.pop(name, None)
    for pipeline in pipelines.values():
        pipeline["processors"] = [step for step in pipeline.get("processors", []) if step not in taken]
        pipeline["exporters"] = [name for name in pipeline["exporters"] if name not in _SECOND]
    if parts < 2:
        pipelines["traces/in"]["exporters"] = pipelines.pop("traces/known")["exporters"]
        del pipelines["traces/service"]
    if parts < 3:
        pipelines["traces/known" if parts == 2 else "traces/in"]["exporters"] = ["forward/traces"]
        del pipelines["metrics/derived"]["receivers"][0]
        del config["connectors"]["signaltometrics/spans"]
    if parts < 4:
        for name in ("traces/decide", "traces/always"):
            del pipelines[name]
        del config["connectors"]["routing/always"]
        pipelines["traces/sample"].update(receivers=["forward/traces"], processors=[])
    del config["exporters"]["otlp/first"]["sending_queue"]["storage"]


class Bench:
    """The measuring of one configuration after the other."""

    def __init__(self, folder: Path, seconds: float) -> None:
        """Make a credential and choose the sink's port."""
        self._folder, self._seconds = folder, seconds
        self._binary = find.installed(lambda message: None)
        made = credentials.add(folder / "credentials.htpasswd", "acme")
        self._credential = made.value
        self.service = credentials.add(folder / "credentials.htpasswd", "svc-api").value
        self._sink = f"127.0.0.1:{free_ports(1)[0]}"

    @contextmanager
    def sink(self) -> Iterator[None]:
        """Run the collector that everything is sent to."""
        with self._running("sink", SINK.replace("SINK", self._sink)):
            yield

    def bare(self) -> str:
        """Return the configuration that everything is compared with."""
        return BARE.replace("SINK", self._sink)

    def production(self, change: Callable[[dict[str, Any]], None]) -> str:
        """Return the rendered production configuration, changed."""
        ports = dict(zip(("grpc", "http", "health", "telemetry"), ("GRPC", "HTTP", "HEALTH", "TELEMETRY"), strict=True))
        config = load_text(PRODUCTION.replace("SINK", self._sink), "bench")
        (file,) = render(config, "bench", ["collector"])
        rendered = yaml.safe_load(file.text)
        rendered["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] = f"127.0.0.1:{ports['grpc']}"
        rendered["receivers"]["otlp"]["protocols"]["http"]["endpoint"] = f"127.0.0.1:{ports['http']}"
        rendered["extensions"]["health_check"]["endpoint"] = f"127.0.0.1:{ports['health']}"
        reader = rendered["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
        reader["port"] = ports["telemetry"]
        change(rendered)
        text: str = yaml.safe_dump(rendered, sort_keys=False, width=10**6)
        return text

    def measure(
        self, config: str, dirty: float, rate: int = RATE, credential: str = "", *, own_settings: bool = True
    ) -> Result:
        """Run a configuration under load, until everything it holds is sent; as a tenant unless told otherwise.
        `own_settings` are those of `stack up` and `collector run`; without them the collector runs as it comes.
        """
        credential = credential or self._credential
        made = load.template(dirty)
        with self._running("collector", config, own_settings=own_settings) as (process, http_port):
            load.send(http_port, 3, 2_000, credential, made)
            before = _cpu(process)
            sent = load.send(http_port, self._seconds, rate, credential, made)
            time.sleep(14)  # the decision wait, and the queues
            return Result((_cpu(process) - before) * 1e6 / sent, _peak(process))

    @contextmanager
    def _running(self, name: str, config: str, *, own_settings: bool = True) -> Iterator[tuple[int, int]]:
        names = ("GRPC", "HTTP", "HEALTH", "TELEMETRY")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        for word, port in ports.items():
            config = config.replace(f":{word}", f":{port}").replace(f"port: {word}", f"port: {port}")
        home = self._folder / f"{name}-{time.monotonic_ns()}"
        home.mkdir()
        (home / "collector.yaml").write_text(config, encoding="utf-8")
        (home / "credentials.htpasswd").write_bytes((self._folder / "credentials.htpasswd").read_bytes())
        environment = {**os.environ, "GOMAXPROCS": "1", "THEODORE_OTEL_HOME": str(home)}
        if own_settings:
            launched = launch.own_environment(load_text(PRODUCTION, "bench"))
            environment.update({name: launched[name] for name in ("GOMEMLIMIT", "GOGC")})
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                [self._binary, "--config", home / "collector.yaml"], env=environment, stdout=log, stderr=log
            )
        try:
            wait_for(lambda: _healthy(ports["HEALTH"]), 60, lambda: (home / "log").read_text()[-2000:])
            yield process.pid, ports["HTTP"]
        finally:
            process.kill()
            process.wait()


def _healthy(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).status == 200)
    except OSError:
        return False


def _cpu(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> float:
    """Return the most memory a process had, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 15))

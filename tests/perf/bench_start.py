"""What instrumentation costs a trivial click command: `python tests/perf/bench_start.py [RUNS]`.

Time to its first line and of the whole run, all variants interleaved in one go; medians and ratios are printed.
Variants: plain; an empty distro that only imports the SDK, under the stock wrapper; vanilla `opentelemetry-instrument`
with the instrumentations of peers.txt, in an environment of its own (made on the first run); ours, under the stock
wrapper and under `theodore-otel run`. Ours and vanilla report to a live loopback receiver, and once more with nobody
listening; ours also with nobody answering. What ours cannot deliver it keeps on disk, and tries to deliver in the next
run.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.receiver import environment, receiving

BUDGET_START = 1.1
"""Times the empty distro."""
BUDGET_RUN = 0.2
"""Seconds more than plain until the first line, under `theodore-otel run`."""
BUDGET_EXIT = 1.2
"""Seconds more than plain with nobody listening, or answering."""

OURS = Path(sys.executable).parent
PEERS = Path(sys.prefix) / "peers"
REQUIREMENTS = Path(__file__).with_name("peers.txt")

PROGRAM = """
import click, logging
@click.command()
def trivial():
    click.echo("first line")
    logging.getLogger("theodore").warning("done")
trivial()
"""

# The distro and the configurator of the comparison: the SDK is imported, nothing is set up, no instrumentor is loaded.
EMPTY = """
from opentelemetry.instrumentation.distro import BaseDistro

class EmptyDistro(BaseDistro):
    def _configure(self, **kwargs):
        import opentelemetry.sdk._logs, opentelemetry.sdk.metrics, opentelemetry.sdk.trace

    def load_instrumentor(self, entry_point, **kwargs):
        pass

class EmptyConfigurator:
    def configure(self, **kwargs):
        pass
"""
ENTRY_POINTS = """
[opentelemetry_distro]
empty = bench_empty:EmptyDistro
[opentelemetry_configurator]
empty = bench_empty:EmptyConfigurator
"""


@dataclass(frozen=True)
class Variant:
    """One way to run the command."""

    environment: Mapping[str, str]
    programs: Path = OURS
    wrapper: tuple[str, ...] = ("opentelemetry-instrument",)
    slow: bool = False
    """Takes 12 seconds or more: measured once."""


def main(runs: int) -> int:
    """Measure every variant `runs` times and print the table; return how many budgets were missed."""
    _make_peers()
    with tempfile.TemporaryDirectory() as name, receiving() as receiver, _silent() as silent:
        folder = Path(name)
        _write(folder)
        variants = _variants(receiver.url, f"http://127.0.0.1:{_free_port()}", silent, folder)
        times: dict[str, list[tuple[float, float]]] = {variant: [] for variant in variants}
        for turn in range(runs + 1):
            for variant, how in variants.items():
                if how.slow and turn != 1:
                    continue
                measured = _measure(folder, how)
                if turn:  # the first turn warms caches
                    times[variant].append(measured)
        reporting = {
            scope.scope.name
            for r in receiver.requests
            for scope in getattr(r, "resource_spans", [])[0:1]
            for scope in scope.scope_spans
        }
        if len(reporting) < 2:
            sys.exit(f"expected spans of ours and of vanilla at the receiver, got {reporting}")
    return _print(times)


def _make_peers() -> None:
    done = PEERS / "done"
    if done.exists() and done.read_text() == REQUIREMENTS.read_text():
        return
    print(f"making {PEERS} for the comparison (about a minute)", file=sys.stderr)
    venv.create(PEERS, with_pip=True, clear=True)
    for what in (["--upgrade", "pip>=25.1"], ["-r", REQUIREMENTS]):
        subprocess.run([PEERS / "bin/python", "-m", "pip", "install", "--quiet", *what], check=True)
    done.write_text(REQUIREMENTS.read_text())


def _variants(live: str, dead: str, silent: str, folder: Path) -> dict[str, Variant]:
    def ours(endpoint: str, distro: str = "theodore") -> dict[str, str]:
        # What waits on disk for one endpoint is of no concern to the others.
        home = {"THEODORE_OTEL_HOME": str(folder / "home" / endpoint.rpartition(":")[2])}
        path = {"PYTHONPATH": str(folder / "empty")} if distro == "empty" else {}
        return _environment(endpoint, distro, distro) | home | path

    def vanilla(endpoint: str) -> dict[str, str]:
        protocol = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        return _environment(endpoint, "distro", "configurator") | protocol

    return {
        "plain": Variant(_environment(live, "theodore", "theodore"), wrapper=()),
        "empty distro": Variant(ours(live, "empty")),
        "ours": Variant(ours(live)),
        "theodore-otel run": Variant(ours(live), wrapper=("theodore-otel", "run", "--")),
        "vanilla": Variant(vanilla(live), PEERS / "bin"),
        "ours, nobody listening": Variant(ours(dead)),
        "ours, nobody answering": Variant(ours(silent)),
        "vanilla, nobody listening": Variant(vanilla(dead), PEERS / "bin", slow=True),
    }


def _environment(endpoint: str, distro: str, configurator: str) -> dict[str, str]:
    chosen = {"OTEL_PYTHON_DISTRO": distro, "OTEL_PYTHON_CONFIGURATOR": configurator}
    env = environment(endpoint, chosen)
    env.pop("PYTHONDONTWRITEBYTECODE")
    return env


def _write(folder: Path) -> None:
    (folder / "program.py").write_text(PROGRAM)
    empty = folder / "empty"
    info = empty / "bench_empty-1.dist-info"
    info.mkdir(parents=True)
    (empty / "bench_empty.py").write_text(EMPTY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-empty\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)


def _measure(folder: Path, how: Variant) -> tuple[float, float]:
    wrapper = [how.programs / name for name in how.wrapper[:1]] + list(how.wrapper[1:])
    began = time.perf_counter()
    with subprocess.Popen(
        [*wrapper, how.programs / "python", "-u", "program.py"],
        env=dict(how.environment),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        first = time.perf_counter() - began
        process.wait()
        assert line == b"first line\n", line
    return first, time.perf_counter() - began


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _silent() -> Iterator[str]:
    """Give an endpoint that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1000)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def _print(times: dict[str, list[tuple[float, float]]]) -> int:
    medians = {
        variant: (statistics.median(m[0] for m in measured), statistics.median(m[1] for m in measured))
        for variant, measured in times.items()
        if measured
    }
    empty, plain = medians["empty distro"], medians["plain"]
    print(f"{'variant':27} runs  first line  x empty   whole run  x empty   - plain")
    for variant, (first, whole) in medians.items():
        print(
            f"{variant:27} {len(times[variant]):4} {first * 1000:8.0f} ms {first / empty[0]:8.2f} "
            f"{whole * 1000:8.0f} ms {whole / empty[1]:8.2f} {(whole - plain[1]) * 1000:+6.0f} ms"
        )
    start = medians["ours"][0] / empty[0]
    ends = {how: medians[f"ours, nobody {how}"][1] - plain[1] for how in ("listening", "answering")}
    run = medians["theodore-otel run"][0] - plain[0]
    missed = (start > BUDGET_START) + (run > BUDGET_RUN) + sum(end > BUDGET_EXIT for end in ends.values())
    print(f"budget: first line at most {BUDGET_START} x the empty distro: {start:.2f} x")
    print(f"budget: under theodore-otel run, first line at most {BUDGET_RUN} s after plain: {run:.3f} s")
    for how, end in ends.items():
        print(f"budget: with nobody {how} at most {BUDGET_EXIT} s more than plain: {end:.2f} s")
    return missed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))

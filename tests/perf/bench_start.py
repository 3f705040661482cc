"""What instrumentation costs a trivial click command: `python tests/perf/bench_start.py [RUNS]`.

Time to its first line and of the whole run, all variants interleaved in one go; medians and ratios are printed.
Variants: plain; an empty distro that only imports the SDK, under the stock wrapper; vanilla `opentelemetry-instrument`
with every instrumentation that is installed; ours. Ours and vanilla report to a live loopback receiver, and once more
with nobody listening.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.receiver import environment, receiving

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

class SdkConfigurator:
    def configure(self, **kwargs):
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator
        _OTelSDKConfigurator().configure(**kwargs)

class VanillaDistro(BaseDistro):
    def _configure(self, **kwargs):
        import os
        os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        for signal in ("TRACES", "LOGS", "METRICS"):
            os.environ.setdefault(f"OTEL_{signal}_EXPORTER", "otlp")
"""
ENTRY_POINTS = """
[opentelemetry_distro]
empty = bench_peers:EmptyDistro
vanilla = bench_peers:VanillaDistro
[opentelemetry_configurator]
empty = bench_peers:EmptyConfigurator
vanilla = bench_peers:SdkConfigurator
"""


def main(runs: int) -> None:
    """Measure every variant `runs` times and print the table."""
    with tempfile.TemporaryDirectory() as name, receiving() as receiver:
        folder = Path(name)
        peers = _write(folder)
        dead = f"http://127.0.0.1:{_free_port()}"
        variants = {
            "plain": None,
            "empty distro": _environment(receiver.url, "empty", peers),
            "ours": _environment(receiver.url, "theodore", peers),
            "vanilla": _environment(receiver.url, "vanilla", peers),
            "ours, nobody listening": _environment(dead, "theodore", peers),
            "vanilla, nobody listening": _environment(dead, "vanilla", peers),
        }
        times: dict[str, list[tuple[float, float]]] = {variant: [] for variant in variants}
        for turn in range(runs + 1):
            for variant, env in variants.items():
                slow = variant.startswith("vanilla, nobody")
                measured = _measure(folder, env) if not slow or turn == 1 else None
                if turn and measured:  # the first turn warms caches
                    times[variant].append(measured)
        _print(times)


def _write(folder: Path) -> Path:
    (folder / "program.py").write_text(PROGRAM)
    peers = folder / "peers"
    info = peers / "bench_peers-1.dist-info"
    info.mkdir(parents=True)
    (peers / "bench_peers.py").write_text(EMPTY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-peers\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return peers


def _environment(endpoint: str, distro: str, peers: Path) -> dict[str, str]:
    env = environment(endpoint, {"OTEL_PYTHON_DISTRO": distro, "OTEL_PYTHON_CONFIGURATOR": distro})
    env.pop("PYTHONDONTWRITEBYTECODE")
    env["PYTHONPATH"] = str(peers)
    return env


def _measure(folder: Path, env: dict[str, str] | None) -> tuple[float, float]:
    wrapper = [str(Path(sys.executable).parent / "opentelemetry-instrument")] if env else []
    plain = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    began = time.perf_counter()
    with subprocess.Popen(
        [*wrapper, sys.executable, "-u", "program.py"],
        env=env or plain,
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


def _print(times: dict[str, list[tuple[float, float]]]) -> None:
    medians = {
        variant: (statistics.median(m[0] for m in measured), statistics.median(m[1] for m in measured))
        for variant, measured in times.items()
        if measured
    }
    empty = medians["empty distro"]
    print(f"{'variant':27} runs  first line  x empty  whole run  x empty  - plain")
    for variant, (first, whole) in medians.items():
        print(
            f"{variant:27} {len(times[variant]):4} {first * 1000:8.0f} ms {first / empty[0]:8.2f} "
            f"{whole * 1000:7.0f} ms {whole / empty[1]:8.2f} {(whole - medians['plain'][1]) * 1000:+5.0f} ms"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)

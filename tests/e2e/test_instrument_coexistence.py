"""Beside other distros one is chosen and said; a provider the application sets is added to."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.receiver import attributes, environment, receiving, run

PEER = """
from opentelemetry.instrumentation.distro import BaseDistro
class Peer(BaseDistro):
    def _configure(self, **kwargs):
        print("peer distro")
class PeerConfigurator:
    def configure(self, **kwargs):
        print("peer configurator")
"""


def _peer(folder: Path, groups: list[str]) -> Path:
    """Install another distro in a folder that comes first on the path."""
    info = folder / "peers" / "aaa_peer-1.dist-info"
    info.mkdir(parents=True)
    (folder / "peers" / "aaa_peer.py").write_text(PEER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aaa-peer\nVersion: 1\n")
    names = {"opentelemetry_distro": "Peer", "opentelemetry_configurator": "PeerConfigurator"}
    (info / "entry_points.txt").write_text("".join(f"[{g}]\npeer = aaa_peer:{names[g]}\n" for g in groups))
    return folder / "peers"


def _run(folder: Path, groups: list[str], chosen: dict[str, str]) -> tuple[bytes, bytes, list[str]]:
    peers = _peer(folder, groups)
    (folder / "program.py").write_text("import logging; logging.getLogger('a').info('one')\n")
    with receiving() as receiver:
        env = environment(receiver.url, {"PYTHONPATH": str(peers)})
        env.pop("OTEL_PYTHON_DISTRO")
        env.pop("OTEL_PYTHON_CONFIGURATOR")
        ended = run([sys.executable, "program.py"], {**env, **chosen}, folder, instrumented=True)
        assert ended.code == 0
        return ended.out, ended.err, receiver.bodies()


OURS = {"OTEL_PYTHON_DISTRO": "theodore", "OTEL_PYTHON_CONFIGURATOR": "theodore"}
BOTH = ["opentelemetry_distro", "opentelemetry_configurator"]


def test_alone_nothing_needs_to_be_chosen(tmp_path: Path) -> None:
    assert _run(tmp_path, [], {}) == (b"", b"", ["one"])


def test_chosen_by_variables_nothing_is_said(tmp_path: Path) -> None:
    assert _run(tmp_path, BOTH, OURS) == (b"", b"", ["one"])


def test_another_configurator_alone_does_not_take_over(tmp_path: Path) -> None:
    out, err, bodies = _run(tmp_path, ["opentelemetry_configurator"], {})
    assert (out, bodies) == (b"", ["one"])
    assert err.decode().splitlines() == [
        "theodore-otel: another distro is installed (peer); theodore is used. "
        "Set OTEL_PYTHON_DISTRO and OTEL_PYTHON_CONFIGURATOR to choose without this line."
    ]


def test_another_distro_that_comes_first_is_left_in_charge_and_it_is_said(tmp_path: Path) -> None:
    out, err, bodies = _run(tmp_path, ["opentelemetry_distro"], {})
    assert (out, bodies) == (b"peer distro\n", [])
    assert err.decode().splitlines() == [
        "theodore-otel: not active, because another distro was loaded; "
        "set OTEL_PYTHON_DISTRO=theodore and OTEL_PYTHON_CONFIGURATOR=theodore to use it"
    ]


def test_another_distro_with_its_configurator_is_left_in_charge_too(tmp_path: Path) -> None:
    out, err, bodies = _run(tmp_path, BOTH, {})
    assert (out, bodies) == (b"peer distro\npeer configurator\n", [])
    assert b"theodore-otel: not active, because another distro was loaded" in err


@pytest.mark.parametrize("groups", [["opentelemetry_configurator"], ["opentelemetry_distro"]])
def test_nothing_is_said_when_all_is_switched_off(groups: list[str], tmp_path: Path) -> None:
    _, err, bodies = _run(tmp_path, groups, {"OTEL_SDK_DISABLED": "true"})
    assert (err, bodies) == (b"", [])


LATE = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name + "\\n")))
trace.set_tracer_provider(provider)
with trace.get_tracer("app").start_as_current_span("work"):
    pass
print(trace.get_tracer_provider() is provider)
"""


def test_spans_of_a_provider_the_application_sets_go_both_ways(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LATE)
    with receiving() as receiver:
        ended = run([sys.executable, "program.py"], environment(receiver.url), tmp_path, instrumented=True)
        assert (ended.out, ended.code) == (b"work\nTrue\n", 0)
        assert ended.err == (
            b"theodore-otel: the application set a tracer provider of its own; its spans are reported too\n"
        )
        (span,) = receiver.spans()
        assert span.name == "work"
        assert attributes(span)["correlation.id"]
        assert receiver.resource()["service.name"] == "theodore-v2"


def test_a_provider_set_before_programmatic_initialisation_is_added_to(tmp_path: Path) -> None:
    initialize = "from opentelemetry.instrumentation import auto_instrumentation as a\na.initialize()\n"
    (tmp_path / "program.py").write_text(LATE.replace("with trace", f"{initialize}with trace"))
    with receiving() as receiver:
        ended = run([sys.executable, "program.py"], environment(receiver.url), tmp_path, instrumented=False)
        assert (ended.out, ended.code) == (b"work\nTrue\n", 0)
        assert b"a tracer provider is set already; its spans are reported too" in ended.err
        assert [span.name for span in receiver.spans()] == ["work"]


@pytest.mark.parametrize("signal", ["TRACES", "LOGS"])
def test_a_signal_can_be_switched_off(signal: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import click, logging\n@click.command()\ndef work(): logging.getLogger('a').info('one')\nwork()\n"
    )
    with receiving() as receiver:
        env = environment(receiver.url, {f"OTEL_{signal}_EXPORTER": "none"})
        ended = run([sys.executable, "program.py"], env, tmp_path, instrumented=True)
        assert (ended.code, ended.err) == (0, b"")
        assert (len(receiver.spans()), len(receiver.logs())) == ((0, 1) if signal == "TRACES" else (1, 0))


def test_opentelemetrys_own_distro_beside_ours_takes_nothing_over_where_ours_is_chosen(tmp_path: Path) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    wanted = project["dependency-groups"]["peer"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "peers"), *wanted]
    got = subprocess.run(command, capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"{wanted[0]} cannot be had here: {got.stderr.strip().splitlines()[-1:]}")
    (tmp_path / "program.py").write_text("import logging; logging.getLogger('a').info('one')\n")
    with receiving() as receiver:
        env = environment(receiver.url, {"PYTHONPATH": str(tmp_path / "peers"), **OURS})
        ended = run([sys.executable, "program.py"], env, tmp_path, instrumented=True)
        assert (ended.code, ended.out, ended.err) == (0, b"", b"")
        assert receiver.bodies() == ["one"]

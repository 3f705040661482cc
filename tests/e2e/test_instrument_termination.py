"""SIGTERM at any moment: it ends the program as it would without us, soon, and what is open is told."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.receiver import Receiver, environment, receiving

RUN = [str(Path(sys.executable).parent / "theodore-otel"), "run", "--", sys.executable, "program.py"]
NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--user", "--map-root-user"]

IN_THE_MIDDLE = """
import os, signal, threading, time
import click
{setup}
@click.command()
def research():
    from opentelemetry import trace
    span = trace.get_current_span()
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    while True:
        {step}
research()
"""

GOES_ON = """
import logging, os, signal, threading, time
assert os.getpid() == 1
logging.getLogger("app").warning("before")
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.3)
logging.getLogger("app").warning("after")
print("ended by itself")
"""


def _run(receiver: Receiver, folder: Path, program: str, before: tuple[str, ...] = ()) -> tuple[int, str, str]:
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [*before, *RUN], env=environment(receiver.url), cwd=folder, capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.case("terminated_inside")
@pytest.mark.parametrize(
    ("setup", "step"),
    [
        ("", "span.set_attribute('pages', 1)"),
        ("", "span.add_event('page')"),
        ("import logging; log = logging.getLogger('app')", "log.warning('page')"),
        ("", "t = threading.Thread(target=int); t.start(); t.join()"),
        ("lock = threading.Lock()", "lock.acquire(); time.sleep(0.001); lock.release()"),
    ],
    ids=["attribute", "event", "record", "thread", "lock"],
)
def test_sigterm_ends_a_program_whatever_it_is_doing(tmp_path: Path, setup: str, step: str) -> None:
    with receiving() as receiver:
        code, out, _ = _run(receiver, tmp_path, IN_THE_MIDDLE.format(setup=setup, step=step))
        assert (code, out) == (-signal.SIGTERM, "")
        (span,) = receiver.spans()
        assert span.status.message == "terminated by a signal"


@pytest.mark.case("terminated_as_init")
def test_as_process_1_the_program_and_its_telemetry_go_on_after_sigterm(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("no namespace of processes can be made here")
    with receiving() as receiver:
        code, out, err = _run(receiver, tmp_path, GOES_ON, tuple(NAMESPACE))
        assert (code, out, err) == (0, "ended by itself\n", "before\nafter\n")
        assert receiver.bodies() == ["before", "after"]


@pytest.mark.case("terminated_simulated")
def test_a_simulated_sigterm_does_nothing_where_the_default_action_stands(tmp_path: Path) -> None:
    program = """
        import _thread, signal
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _thread.interrupt_main(signal.SIGTERM)
        caught = []
        signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
        _thread.interrupt_main(signal.SIGTERM)
        print(caught)
    """
    import textwrap

    with receiving() as receiver:
        assert _run(receiver, tmp_path, textwrap.dedent(program)) == (0, "[1]\n", "")

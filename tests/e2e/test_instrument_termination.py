"""SIGTERM at any moment: it ends the program as it would without us, soon, and what is open is told."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
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


MEANWHILE = {
    "it comes to its own end": """
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        time.sleep(0.5); print("end")
    """,
    "a child dies of it too": """
        subprocess.run(["sh", "-c", "sleep 0.3; kill -TERM 0; sleep 5"], check=True)
    """,
    "another handler raises": """
        def late(*_): raise TimeoutError
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, 0.5, 0.1)
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        for _ in range(100):
            try: time.sleep(1)
            except TimeoutError: pass
    """,
}


@pytest.mark.case("terminated_meanwhile")
@pytest.mark.parametrize("program", MEANWHILE.values(), ids=MEANWHILE)
def test_sigterm_ends_a_program_while_nobody_answers_whatever_happens_meanwhile(tmp_path: Path, program: str) -> None:
    setup = "import logging, os, signal, subprocess, threading, time\nlogging.warning('start')\ntime.sleep(0.3)\n"
    with receiving(hang=5) as receiver:
        # In a session of its own, so that what is sent to the group stays in it.
        code, out, err = _run(receiver, tmp_path, setup + textwrap.dedent(program), ("setsid", "-w"))
        assert (code, out) == (128 + signal.SIGTERM, "") or (code, out) == (-signal.SIGTERM, "")
        assert "kept: 1 log record" in err
        assert "Traceback" not in err


@pytest.mark.case("signals_that_are_waited_for")
def test_a_signal_that_the_program_blocks_and_waits_for_is_left_to_it(tmp_path: Path) -> None:
    program = (
        "import logging, os, signal, time\n"
        "logging.warning('start'); time.sleep(0.3)  # threads of ours run\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})\n"
        "for number in (signal.SIGUSR1, signal.SIGTERM):\n"
        "    os.kill(os.getpid(), number); time.sleep(0.1)\n"
        "    print(signal.sigwait({number}).name)\n"
    )
    with receiving() as receiver:
        assert _run(receiver, tmp_path, program)[:2] == (0, "SIGUSR1\nSIGTERM\n")


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

"""What telemetry puts in the place of functions of the program's and its libraries' takes what they take, and looks
like them. The oracle is the same question asked in a process without telemetry.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.receiver import Receiver, environment, receiving

RUN = [str(Path(sys.executable).parent / "theodore-otel"), "run", "--"]
WRAPPED = [sys.executable, str(Path(__file__).parent / "wrapped.py")]

IN_C = frozenset({"_thread:interrupt_main", "os:execv", "os:execve", "posix:execv", "posix:execve"})
"""Functions that Python cannot make: a function of ours has another class than one in C."""

ARGUMENTS = """
import os, signal, subprocess, sys, urllib.request
def tried(what):
    try:
        return repr(what())
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
echo = ["echo", "1", "2"]
noted = []
class Words(list):
    def __iter__(self):
        noted.append(1)
        return super().__iter__()
out = lambda *a, **k: subprocess.run(*a, capture_output=True, **k).stdout
print(tried(lambda: out(map(str, echo))))
print(tried(lambda: out(word for word in echo)))
print(tried(lambda: out(dict.fromkeys(echo))))
print(tried(lambda: out(args=tuple(echo), env={"PATH": os.environ["PATH"]})))
print(tried(lambda: out("echo $A", shell=True, env={"A": "b"})))
print(tried(lambda: subprocess.Popen(echo, -1, None, None, -1, None, None, True, False, None, {"A": "b"}).wait()))
print(tried(lambda: subprocess.Popen()))
print(tried(lambda: subprocess.Popen(echo, nothing=1)))
print(tried(lambda: subprocess.Popen([])))
print(tried(lambda: signal.signal(signal.SIGUSR1, handler=signal.SIG_IGN)))
print(tried(lambda: signal.signal(signalnum=signal.SIGUSR1, handler=signal.SIG_DFL)))
print(tried(lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL)))
print(tried(lambda: signal.signal()))
print(tried(lambda: signal.signal(signal.SIGTERM, 7)))
print(tried(lambda: signal.getsignal(signalnum=signal.SIGTERM)))
print(tried(lambda: signal.getsignal(1000)))
print(tried(lambda: os.execve(argv=iter(echo), path="/bin/echo", env={})))
print(tried(lambda: os.execv("/nowhere/at/all", echo)))
print(tried(lambda: os.execv()))
print(tried(lambda: os.execve("/nowhere/at/all", argv=echo)))
print(tried(lambda: sys.exit(1, 2)), tried(lambda: sys.exit([1])), type(sys.exit))
sys.stdout.flush()
os.execve(path="/bin/echo", argv=["echo", "replaced"], env={"A": "b"})
"""


def _asked(receiver: Receiver, command: list[str], given: str, folder: Path) -> str:
    done = subprocess.run(
        command, env=environment(receiver.url), input=given, cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _without_addresses(told: Any) -> Any:
    return json.loads(re.sub(r"0x[0-9a-f]+", "0x", json.dumps(told)))


@pytest.mark.case("wrappers_that_show")
def test_what_stands_in_for_a_function_looks_like_it(tmp_path: Path) -> None:
    with receiving() as receiver:
        places = _asked(receiver, [*RUN, *WRAPPED], "", tmp_path)
        observed = json.loads(_asked(receiver, [*RUN, *WRAPPED], places, tmp_path))
        plain = json.loads(_asked(receiver, WRAPPED, places, tmp_path))
    assert {"signal:signal", "subprocess:Popen.__init__", "requests.sessions:Session.send"} < set(observed)
    assert "sys:exit" not in observed
    for place, seen in _without_addresses(observed).items():
        expected = _without_addresses(plain[place])
        if place in IN_C:
            expected["class"] = seen["class"]
        assert seen == expected, place


@pytest.mark.case("arguments_taken_away")
def test_what_stands_in_for_a_function_takes_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(ARGUMENTS)
    command = [sys.executable, "program.py"]
    with receiving() as receiver:
        assert _asked(receiver, [*RUN, *command], "", tmp_path) == _asked(receiver, command, "", tmp_path)

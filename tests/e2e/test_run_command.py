"""`theodore-otel run`: the command is observed and stays itself: output, terminal, signals, exit code, environment."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.receiver import Receiver, attributes, environment, receiving

BIN = Path(sys.executable).parent
RUN = [str(BIN / "theodore-otel"), "run", "--"]

PROGRAM = """
import json, logging, os, sys
logging.getLogger("app").warning("observed")
print(json.dumps([sys.argv[1:], sys.path, sys.flags.safe_path, {k: v for k, v in os.environ.items() if k != "_"}]))
sys.stderr.write("to stderr\\n")
sys.exit(7)
"""


def _run(command: list[str], receiver: Receiver, folder: Path, **extra: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env=environment(receiver.url, extra), cwd=folder, capture_output=True, timeout=60)


def _script(folder: Path) -> str:
    script = folder / "tool"
    script.write_text(f"#!{sys.executable}\n{PROGRAM}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.parametrize("way", ["python", "file", "module", "script", "shell"])
def test_a_command_is_observed_and_sees_what_it_sees_alone(way: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    plain, given = {
        "python": ([sys.executable, "program.py"], ["python", "program.py"]),
        "file": ([sys.executable, "program.py"], ["program.py"]),
        "module": ([sys.executable, "-m", "program"], ["-m", "program"]),
        "script": ([_script(tmp_path)], [_script(tmp_path)]),
        "shell": (["sh", "-c", 'exec python program.py "$@"', "sh"],) * 2,
    }[way]
    arguments = ["--flag", "-v", "with space", "--", "*"]
    with receiving() as receiver:
        alone = _run([*plain, *arguments], receiver, tmp_path)
        observed = _run([*RUN, *given, *arguments], receiver, tmp_path)
        # What is set for everybody who starts OpenTelemetry is set here too.
        added = {"OTEL_SEMCONV_STABILITY_OPT_IN", "OTEL_METRICS_EXEMPLAR_FILTER"}
        seen, expected = json.loads(observed.stdout), json.loads(alone.stdout)
        assert set(seen[3]) - set(expected[3]) == added
        seen[3] = {name: value for name, value in seen[3].items() if name not in added}
        assert seen == expected
        assert (
            (observed.stderr, observed.returncode) == (alone.stderr, alone.returncode) == (b"observed\nto stderr\n", 7)
        )
        assert receiver.bodies() == ["observed"]


def test_a_pythonpath_of_the_users_own_is_kept(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ.get('PYTHONPATH'), sys.path)"
    with receiving() as receiver:
        for given in ("/nowhere", os.pathsep.join(["/nowhere", str(tmp_path)])):
            command = [sys.executable, "-c", code]
            alone = _run(command, receiver, tmp_path, PYTHONPATH=given)
            assert _run([*RUN, *command], receiver, tmp_path, PYTHONPATH=given).stdout == alone.stdout


def test_a_sitecustomize_of_the_users_own_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.mine = True\n")
    with receiving() as receiver:
        command = [sys.executable, "-c", "import sitecustomize, sys; print(sys.mine, sitecustomize.__file__)"]
        alone = _run(command, receiver, tmp_path, PYTHONPATH=str(tmp_path))
        observed = _run([*RUN, *command], receiver, tmp_path, PYTHONPATH=str(tmp_path))
        assert observed.stdout == alone.stdout == f"True {tmp_path}/sitecustomize.py\n".encode()


def _as_from_a_terminal() -> None:
    """What runs under nohup ignores this signal, and so would the command."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_the_command_as_it_would_alone(number: int, tmp_path: Path) -> None:
    code = "import sys, time; print('up', flush=True); time.sleep(60)"
    seen = []
    with receiving() as receiver:
        for prefix in ([], RUN):
            process = subprocess.Popen(
                [*prefix, sys.executable, "-c", code],
                env=environment(receiver.url),
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=_as_from_a_terminal,
            )
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
            seen.append((process.returncode, err))
    assert seen[0] == seen[1]
    assert seen[0][0] == -number


def test_a_reader_that_goes_away_ends_other_programs_as_before(tmp_path: Path) -> None:
    """Python ignores SIGPIPE, and what is ignored stays ignored in the program that takes its place."""
    with receiving() as receiver:
        env = environment(receiver.url)
        for prefix in ([], RUN):
            process = subprocess.Popen([*prefix, "yes"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.read(10)
            process.stdout.close()
            assert process.wait(60) == -signal.SIGPIPE


def test_the_terminal_is_the_commands_own(tmp_path: Path) -> None:
    code = "import os, sys; print([os.isatty(n) for n in (0, 1, 2)], input('say: '))"
    with receiving() as receiver:
        env = environment(receiver.url)
        seen = []
        for prefix in ([], RUN):
            ours, theirs = pty.openpty()
            process = subprocess.Popen(
                [*prefix, sys.executable, "-c", code], env=env, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs
            )
            os.close(theirs)
            os.write(ours, b"word\n")
            seen.append((_read(ours), process.wait(60)))
            os.close(ours)
        assert seen[0] == seen[1]
        assert b"[True, True, True] word" in seen[0][0]


def _read(terminal: int) -> bytes:
    read = b""
    while True:
        try:
            part = os.read(terminal, 1000)
        except OSError:  # Linux says so when the other side is closed
            return read
        if not part:
            return read
        read += part


def test_nothing_heavy_is_imported_before_the_command_takes_over(tmp_path: Path) -> None:
    with receiving() as receiver:
        done = _run([*RUN, "/bin/echo", "hello"], receiver, tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert done.stdout == b"hello\n"
    imported = {line.rpartition(b"|")[2].strip().decode() for line in done.stderr.splitlines()}
    assert "theodore_otel.run" in imported
    assert not [name for name in imported if name.split(".")[0] in ("click", "opentelemetry", "pydantic", "yaml")]


def test_verbose_explains_what_is_set_and_shows_no_secret(tmp_path: Path) -> None:
    with receiving() as receiver:
        command = [str(BIN / "theodore-otel"), "run", "-v", "--", sys.executable, "-I", "-c", "print(1)"]
        given = {"THEODORE_OTEL_CREDENTIAL": "acme.1:planted", "OTEL_PYTHON_DISTRO": "other"}
        done = _run(command, receiver, tmp_path, **given)
    said = done.stderr.decode()
    assert (done.stdout, done.returncode) == (b"1\n", 0)
    assert f"theodore-otel: runs {sys.executable} with 3 arguments\n" in said
    assert "theodore-otel: sets OTEL_PYTHON_DISTRO=theodore (was other)\n" in said
    assert "theodore-otel: sets OTEL_PYTHON_CONFIGURATOR=theodore\n" in said
    assert "theodore-otel: leaves THEODORE_OTEL_CREDENTIAL as it is set\n" in said
    assert "theodore-otel: -I has Python leave PYTHONPATH or site out: nothing is reported\n" in said
    assert "planted" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "error: run: expected a command"),
        (["--"], "error: run: expected a command"),
        (["--", "no-such-program"], "error: run: expected a command that can be started, got 'no-such-program'"),
        (["--", "notes.txt"], "error: run: expected a command that can be started, got 'notes.txt'"),
        (["--", "./broken"], "error: run: cannot start ./broken: Exec format error"),
    ],
)
def test_a_command_that_cannot_be_started_is_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken").write_text("\x7fELF")
    (tmp_path / "broken").chmod(0o755)
    with receiving() as receiver:
        done = _run([*RUN[:2], *arguments], receiver, tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_help_is_the_command_lines(tmp_path: Path) -> None:
    with receiving() as receiver:
        done = _run([*RUN[:2], "--help"], receiver, tmp_path)
    assert done.returncode == 0
    assert b"Usage: theodore-otel run" in done.stdout


def test_a_python_without_the_package_runs_and_says_so(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "bare"], cwd=tmp_path, check=True)
    with receiving() as receiver:
        done = _run([*RUN, "bare/bin/python", "-c", "print(1)"], receiver, tmp_path)
    assert (done.stdout, done.returncode) == (b"1\n", 0)
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("theodore-otel: nothing is reported, because ")


THEODORE = """
import logging, subprocess, sys, os
from theodore_otel.telemetry.context import use
log = logging.getLogger("app")
if len(sys.argv) > 1:
    log.warning("child %s", sys.argv[1])
else:
    log.warning("parent")
    found = "print(sorted(set(os.environ) & {'TRACEPARENT', 'BAGGAGE'}))"
    foreign = f"import logging, os; logging.warning('foreign'); {found}"
    with use(tenant="acme", correlation_id="c-1"):
        subprocess.run([sys.executable, "-u", "-X", "utf8", "program.py", "file"], check=True)
        subprocess.run(f"{sys.executable} program.py shell", shell=True, check=True)
        subprocess.run([sys.executable, "program.py", "env"], env={**os.environ, "A": "1"}, check=True)
        subprocess.run(["opentelemetry-instrument", sys.executable, "program.py", "stock"], check=True)
        subprocess.run(["theodore-otel", "run", "--", sys.executable, "program.py", "run"], check=True)
        subprocess.run([sys.executable, "-c", foreign], check=True)
        subprocess.run([sys.executable, "other.py"], check=True)
"""


@pytest.mark.parametrize("wrapper", [RUN, [str(BIN / "opentelemetry-instrument")]])
def test_children_that_are_theodore_report_under_their_parents_ids_and_others_do_not(
    wrapper: list[str], tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(THEODORE)
    (tmp_path / "other.py").write_text("import logging; logging.warning('foreign')\n")
    with receiving() as receiver:
        done = _run([*wrapper, sys.executable, "program.py"], receiver, tmp_path, CORRELATION_ID="of-the-process")
        assert (done.returncode, done.stdout) == (0, b"[]\n"), done.stderr
        told = {r.body.string_value: attributes(r) for r in receiver.logs()}
        assert told.pop("parent")["correlation.id"] == "of-the-process"
        assert sorted(told) == ["child env", "child file", "child run", "child shell", "child stock"]
        assert {(own.get("tenant.id"), own["correlation.id"]) for own in told.values()} == {("acme", "c-1")}


CLICK = """
import click, subprocess, sys
@click.command()
@click.option("--deep", is_flag=True)
def theodore(deep):
    if deep: subprocess.run([sys.executable, "-m", "program"], check=True)
theodore()
"""


def test_a_child_command_is_part_of_its_parents_trace(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(CLICK)
    with receiving() as receiver:
        assert _run([*RUN, "-m", "program", "--deep"], receiver, tmp_path).returncode == 0
        parent, child = sorted(receiver.spans(), key=lambda span: bool(span.parent_span_id))
        assert child.parent_span_id == parent.span_id
        assert child.trace_id == parent.trace_id
        assert attributes(child)["correlation.id"] == attributes(parent)["correlation.id"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_workers_report_under_the_ids_of_the_scope_they_are_begun_in(
    method: str, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(
        "import logging, multiprocessing as mp, os\nfrom theodore_otel.telemetry.context import use\n"
        "def work(n): logging.getLogger('worker').warning('item %s %s', n, os.environ.get('CORRELATION_ID'))\n"
        "if __name__ == '__main__':\n"
        f"    processes = mp.get_context({method!r})\n"
        "    for n in range(3):\n"
        "        with use(tenant=f'tenant_{n}', correlation_id=f'c-{n}'):\n"
        "            process = processes.Process(target=work, args=(n,))\n"
        "            process.start(); process.join()\n"
    )
    with receiving() as receiver:
        done = _run([*RUN, "program.py"], receiver, tmp_path, CORRELATION_ID="of-the-process")
        assert done.returncode == 0
        told = {r.body.string_value: attributes(r) for r in receiver.logs()}
        assert {body: (own["tenant.id"], own["correlation.id"]) for body, own in told.items()} == {
            f"item {n} of-the-process": (f"tenant_{n}", f"c-{n}") for n in range(3)
        }


def test_sdk_disabled_leaves_everything_alone(tmp_path: Path) -> None:
    with receiving() as receiver:
        code = "import sys, logging; logging.warning('x'); print('opentelemetry.sdk' in sys.modules)"
        done = _run([*RUN, sys.executable, "-c", code], receiver, tmp_path, OTEL_SDK_DISABLED="true")
        assert (done.stdout, done.returncode) == (b"False\n", 0)
        time.sleep(0.1)
        assert not receiver.requests


@pytest.mark.parametrize(
    "anew",
    [
        "os.execv(sys.executable, [sys.executable, *sys.argv, 'x'])",
        "os.execvpe('python', ['python', *sys.argv, 'x'], {**os.environ, 'A': '1'})",
    ],
)
def test_a_program_that_starts_itself_anew_goes_on_reporting_and_any_other_does_not(anew: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import logging, os, sys\nlogging.warning('run %s', len(sys.argv))\n"
        f"if len(sys.argv) == 1: {anew}\n"
        "os.execlp('python', 'python', '-c', 'import logging, os; logging.warning(sorted(os.environ))')\n"
    )
    with receiving() as receiver:
        done = _run([*RUN, "program.py"], receiver, tmp_path, CORRELATION_ID="c-1")
        assert done.returncode == 0, done.stderr
        assert b"bootstrap" not in done.stderr
        told = {r.body.string_value: attributes(r)["correlation.id"] for r in receiver.logs()}
    assert told == {"run 1": "c-1", "run 2": "c-1"}


def test_what_a_program_leaves_behind_when_another_takes_its_place_is_delivered_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import logging, os, sys\nlogging.warning('run %s', sys.argv[1])\nos.execlp('true', 'true')\n"
    )
    home = {"THEODORE_OTEL_HOME": str(tmp_path / "home")}
    with receiving(status=503) as receiver:
        assert _run([*RUN, "program.py", "first"], receiver, tmp_path, **home).returncode == 0
        assert receiver.bodies() == []
        receiver.status = 200
        assert _run(
            [*RUN, sys.executable, "-c", "import logging; logging.warning('second')"], receiver, tmp_path, **home
        )
        assert sorted(receiver.bodies()) == ["run first", "second"]

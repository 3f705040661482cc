"""Which child processes report as Theodore: forked and spawned workers do, other programs do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.receiver import attributes, both, receiving

CHILD = "import logging, os, sys; logging.getLogger('child').warning('from the child'); print(len(sys.path))"


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, '-c', CHILD], check=True)",
        "subprocess.run([sys.executable, '-c', CHILD], env=dict(os.environ), check=True)",
        "subprocess.run([sys.executable, '-c', CHILD], env={**os.environ, 'A': '1'}, check=True)",
        "os.system(f'{sys.executable} -c \"{CHILD}\"')",
        "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, '-c', CHILD])",
    ],
)
def test_another_python_program_does_not_report(start: str, tmp_path: Path) -> None:
    script = (
        f"import logging, os, subprocess, sys\nCHILD = {CHILD!r}\n"
        "logging.getLogger('parent').error('from the parent')\nsys.stdout.flush()\n"
        f"{start}\n"
    )
    # The wrapper itself adds the working directory for children; with it given, plain and instrumented agree.
    with receiving() as receiver:
        both(script, receiver, tmp_path, extra={"PYTHONPATH": str(tmp_path)})
        assert receiver.bodies() == ["from the parent"]


def test_the_environment_the_program_sees_is_without_the_wrapper(tmp_path: Path) -> None:
    script = "import os; print(os.environ.get('PYTHONPATH'))"
    with receiving() as receiver:
        for given in (str(tmp_path), os.pathsep.join([str(tmp_path), "/nowhere"])):
            both(script, receiver, tmp_path, extra={"PYTHONPATH": given})


def test_a_forked_child_reports_with_an_instance_id_of_its_own(tmp_path: Path) -> None:
    script = (
        "import logging, os, sys\nlog = logging.getLogger('a')\nlog.error('before')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    log.error('in the child')\n    sys.exit(0)\n"
        "os.waitpid(pid, 0)\nlog.error('after')\n"
    )
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert sorted(receiver.bodies()) == ["after", "before", "in the child"]
        instances = {attributes(r.resource_logs[0].resource)["service.instance.id"] for r in receiver.requests}
        assert len(instances) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_workers_report_under_the_same_correlation_id(method: str, tmp_path: Path) -> None:
    script = (
        "import logging, multiprocessing as mp\n"
        "def work(n):\n    logging.getLogger('worker').warning('item %s', n)\n    return n * 2\n"
        "if __name__ == '__main__':\n"
        f"    context = mp.get_context({method!r})\n"
        "    process = context.Process(target=work, args=(1,))\n"
        "    process.start(); process.join()\n    print(process.exitcode)\n"
        "    logging.getLogger('main').warning('done')\n"
    )
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert sorted(receiver.bodies()) == ["done", "item 1"]
        assert len({attributes(record)["correlation.id"] for record in receiver.logs()}) == 1

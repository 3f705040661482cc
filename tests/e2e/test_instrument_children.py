"""Which child processes report as Theodore: forked and spawned workers do, other programs do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.receiver import Receiver, attributes, both, environment, receiving, run

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


POOL = """
import logging, multiprocessing as mp
def work(n):
    logging.getLogger('worker').error('item %s', n)
    return n * 2
def caught(n):
    (line,) = [line for line in open('/proc/self/status') if line.startswith('SigCgt')]
    return bool(int(line.split()[1], 16) & 1 << 14)
if __name__ == '__main__':
    context = mp.get_context(METHOD)
    pool = context.Pool(2)
    print(pool.map(work, range(4), chunksize=1))
    pool.close(); pool.join()
    with context.Pool(1) as pool:
        print(pool.map(caught, [1]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_every_record_of_a_pools_workers_arrives_and_sigterm_kills_them_as_before(method: str, tmp_path: Path) -> None:
    """A handler of ours would make `with Pool()` wait for ever for a worker that is about to take the next task."""
    (tmp_path / "program.py").write_text(POOL.replace("METHOD", repr(method)))
    with receiving() as receiver:
        ended = run([sys.executable, "program.py"], environment(receiver.url), tmp_path, instrumented=True)
        assert (ended.code, ended.out) == (0, b"[0, 2, 4, 6]\n[False]\n")
        assert sorted(receiver.bodies()) == [f"item {n}" for n in range(4)]


def test_a_child_forked_while_we_import_can_import_the_same(tmp_path: Path) -> None:
    """The first record starts a thread that imports; a child forked then would wait for its locks for ever."""
    script = (
        "import logging, os, sys\nlogging.getLogger('a').error('before')\npids = []\n"
        "for _ in range(6):\n    pids.append(os.fork())\n    if not pids[-1]:\n"
        "        import concurrent.futures, http.client, ssl\n"
        "        from opentelemetry.exporter.otlp.proto.common import trace_encoder\n        os._exit(0)\n"
        "for pid in pids: os.waitpid(pid, 0)\nprint('all ended')\n"
    )
    (tmp_path / "program.py").write_text(script)
    with receiving() as receiver:
        ended = run([sys.executable, "program.py"], environment(receiver.url), tmp_path, instrumented=True)
        assert (ended.code, ended.out) == (0, b"all ended\n")


def test_a_child_with_a_preexec_function_starts(tmp_path: Path) -> None:
    script = (
        "import logging, os, subprocess, sys\nlogging.getLogger('a').error('before')\n"
        "print(subprocess.run([sys.executable, '-c', 'print(1)'], preexec_fn=os.setsid, capture_output=True).stdout)\n"
    )
    with receiving() as receiver:
        both(script, receiver, tmp_path)


def test_metrics_of_a_forked_service_are_reported_while_it_runs(tmp_path: Path) -> None:
    script = (
        "import os, signal, time\nfrom opentelemetry import metrics\n"
        "counter = metrics.get_meter('app').create_counter('count')\n"
        "child = os.fork()\ncounter.add(1)\ntime.sleep(60)\n"
    )
    (tmp_path / "program.py").write_text(script)
    with receiving() as receiver:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, "program.py"],
            env=environment(receiver.url, {"OTEL_METRIC_EXPORT_INTERVAL": "200"}),
            cwd=tmp_path,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 30
            while len(_instances(receiver)) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert len(_instances(receiver)) == 2


def _instances(receiver: Receiver) -> set[str]:
    metrics = [r for r in receiver.requests if hasattr(r, "resource_metrics")]
    return {attributes(r.resource_metrics[0].resource)["service.instance.id"] for r in metrics}


@pytest.mark.case("own_headers")
def test_a_context_that_the_program_gives_to_a_child_is_the_childs(tmp_path: Path) -> None:
    own = {"TRACEPARENT": "00-11111111111111111111111111111111-2222222222222222-01", "CORRELATION_ID": "order-4711"}
    script = f"""
import json, os, subprocess, sys
if len(sys.argv) > 1:
    print({{name: os.environ.get(name) for name in {sorted(own)}}} == {own})
else:
    subprocess.run([sys.executable, __file__, "child"], env={{**os.environ, **{own}}})
"""
    with receiving() as receiver:
        assert both(script, receiver, tmp_path, extra={"CORRELATION_ID": "corr-1"}).out == b"True\n"

"""What a program prints when it fails, is interrupted or logs odd things is the same with instrumentation."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest
from sample_theodore import standins
from support.receiver import both, environment, receiving, run

from theodore_otel.config import load_text
from theodore_otel.render import render

FAILURES = {
    "a command": (
        "import click\n@click.command()\ndef work():\n    try: 1 / 0\n"
        "    except ZeroDivisionError as error: raise RuntimeError('cannot') from error\nwork()"
    ),
    "a command of a group": (
        "import click\n@click.group(invoke_without_command=True)\ndef cli(): raise ValueError('no')\n"
        "cli.command()(lambda: None)\ncli()"
    ),
    "sys.exit caught": (
        "import sys, traceback\ntry: sys.exit(4)\nexcept SystemExit: traceback.print_exc()\nsys.exit('bye')"
    ),
    "a thread": (
        "import threading\ndef work(): raise ValueError('no')\n"
        "for thread in (threading.Thread(target=work), threading.Timer(0.01, work)): thread.start(); thread.join()"
    ),
    "an executor": (
        "import asyncio, concurrent.futures, logging\ndef work(): raise ValueError('no')\n"
        "try: concurrent.futures.ThreadPoolExecutor().submit(work).result()\n"
        "except ValueError: logging.exception('a')\n"
        "async def main(): await asyncio.to_thread(work)\nasyncio.run(main())"
    ),
    "a handler": (
        "import logging\nclass Bad(logging.Handler):\n    def handle(self, record): raise OSError('full')\n"
        "logging.root.addHandler(Bad())\nlogging.warning('one')"
    ),
    "a handler that says so": (
        "import logging\nclass Bad(logging.StreamHandler):\n    def format(self, record): raise OSError('full')\n"
        "logging.root.addHandler(Bad())\nlogging.warning('one')"
    ),
    "requests": "import requests\nrequests.get('http://127.0.0.1:1/x')",
    "urllib3": "import urllib3\nurllib3.PoolManager(retries=False).request('GET', 'http://127.0.0.1:1/x')",
    "urllib": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1/x')",
    "httpx": "import httpx\nhttpx.get('http://127.0.0.1:1/x')",
    "httpx, asynchronous": (
        "import asyncio, httpx\n"
        "async def main():\n    async with httpx.AsyncClient() as client: await client.get('http://127.0.0.1:1/x')\n"
        "asyncio.run(main())"
    ),
    "aiohttp": (
        "import aiohttp, asyncio\n"
        "async def main():\n    async with aiohttp.ClientSession() as client: await client.get('http://127.0.0.1:1/x')\n"
        "asyncio.run(main())"
    ),
}


@pytest.mark.parametrize("failing", FAILURES)
def test_a_traceback_looks_as_without(failing: str, tmp_path: Path) -> None:
    with receiving() as receiver:
        assert b"Traceback" in both(FAILURES[failing], receiver, tmp_path).err


def test_an_interrupted_program_ends_by_the_signal(tmp_path: Path) -> None:
    script = "import logging, signal\nlogging.getLogger('a').info('one')\nsignal.raise_signal(signal.SIGINT)\n"
    with receiving() as receiver:
        assert both(script, receiver, tmp_path).code == -signal.SIGINT
        assert receiver.bodies() == ["one"]


RECORDS = {
    "objects as attributes": ("log.info('one', extra={'a': object(), 'b': {1, 2}, 'c': None})", ["one"]),
    "more attributes than are kept": ("log.info('one', extra={f'k{n}': n for n in range(500)})", ["one"]),
    "bytes that are no UTF-8": (r"log.info('name \udcff'); log.info('two')", ["name ?", "two"]),
    "messages that are no text": ("log.info({'k': 1}); log.info(None); log.info(['x'])", ["{'k': 1}", "None", "['x']"]),
    "nested to the deepest": ("d = {}; d['d'] = d; log.info('one', extra={'d': d}); log.info('two')", None),
    "too many for one request": ("for n in range(3000): log.info('line %d', n)", [f"line {n}" for n in range(3000)]),
    "every level of the program's own": ("logging.basicConfig(level=1); log.log(7, 'low'); log.log(25, 'n')", ["n"]),
}


@pytest.mark.parametrize("case", RECORDS)
def test_odd_records_print_nothing_of_ours(case: str, tmp_path: Path) -> None:
    code, expected = RECORDS[case]
    with receiving() as receiver:
        both(f"import logging\nlog = logging.getLogger('app')\n{code}\n", receiver, tmp_path)
        if expected is not None:
            assert receiver.bodies() == expected


def test_the_programs_own_use_of_the_api_prints_nothing(tmp_path: Path) -> None:
    script = (
        "import logging\nlogging.basicConfig(level=logging.DEBUG)\nfrom opentelemetry import trace\n"
        "span = trace.get_tracer('app').start_span('work', attributes={'bad': object()})\n"
        "span.end(); span.end(); span.set_attribute('late', 1)\n"
    )
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert [span.name for span in receiver.spans()] == ["work"]


@pytest.mark.parametrize("stderr", ["None", "Broken()", "closed"])
def test_a_stderr_that_cannot_be_written_to_disturbs_nothing(stderr: str, tmp_path: Path) -> None:
    setting = "sys.stderr.close()" if stderr == "closed" else f"sys.stderr = {stderr}"
    script = (
        "import logging, sys\nclass Broken:\n    def write(self, text): raise RuntimeError('busy')\n"
        f"logging.getLogger('a').info('lost')\n{setting}\nprint('out')\n"
    )
    with receiving(status=400) as receiver:
        both(script, receiver, tmp_path)


@pytest.fixture(scope="module")
def sites() -> Iterator[standins.Standins]:
    with standins.running(delay=0.05) as running:
        yield running


@pytest.mark.parametrize(
    "arguments",
    [
        ["research", "ACME"],
        ["research", "Failing Foundry"],
        ["research", "Refused", "--json"],
        ["status"],
        ["--help"],
        ["x"],
    ],
)
def test_all_that_the_sample_theodore_prints_stays(
    arguments: list[str], sites: standins.Standins, tmp_path: Path
) -> None:
    settings = _watching(tmp_path)
    seen = []
    with receiving() as receiver:
        for instrumented in (False, True):
            own = {"THEODORE_DATA": str(tmp_path / str(instrumented)), **sites.environment}
            env = environment(receiver.url, {**own, **settings})
            command = [sys.executable, "-m", "sample_theodore", *arguments]
            seen.append(run(command, env, tmp_path, instrumented=instrumented))
        assert bool(receiver.spans()) is (arguments[0] in ("research", "status"))
        assert receiver.metrics() == []  # each run's would be series of its own
    assert seen[0] == seen[1]


def test_a_model_without_a_price_is_told_in_a_log_record_and_not_on_the_console(
    sites: standins.Standins, tmp_path: Path
) -> None:
    script = (
        "import os, requests\n"
        "question = {'model': 'house-model', 'messages': [{'role': 'user', 'content': 'Distil this'}]}\n"
        "for _ in range(2): print(requests.post(os.environ['THEODORE_MODEL_URL'], json=question).status_code)\n"
    )
    with receiving() as receiver:
        assert both(script, receiver, tmp_path, extra={**sites.environment, **_watching(tmp_path)}).out == b"200\n200\n"
        assert [span.name for span in receiver.spans()] == ["chat house-model"] * 2
        assert receiver.bodies() == [
            "calls of model house-model (openrouter) have no cost: no price is known; set instrument.prices"
        ]


def _watching(folder: Path) -> dict[str, str]:
    """Write the settings that observe the sample, and return the variable that names them."""
    watch = (Path(__file__).parents[1] / "sample_app/watch.yaml").read_text()
    (settings,) = render(load_text(f"instrument:\n{indent(watch, '  ')}", "t"), "t", ["instrument"])
    (folder / "instrument.json").write_text(settings.text)
    return {"THEODORE_OTEL_CONFIG": str(folder / "instrument.json")}

"""A program that hands watched functions on, and whose clients and loggers meet odd things: it prints what it prints
without telemetry.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.receiver import environment, receiving

from theodore_otel.config import load_text
from theodore_otel.render import render

RUN = [str(Path(sys.executable).parent / "theodore-otel"), "run", "--"]

LIBRARY = """
import functools

def find(company):
    return len(company)

async def afind(company):
    return len(company)

def pages(n):
    yield from range(n)

class Store:
    def upsert(self, x):
        return x
    @classmethod
    def make(cls):
        return cls()
    @staticmethod
    def stat(x):
        return x

class Sub(Store):
    def upsert(self, x):
        return super().upsert(x) + 1

class Holder:
    def __init__(self):
        self.action, self.method = find, Store().upsert

@functools.lru_cache
def cached(x):
    return x

@functools.singledispatch
def dispatched(x):
    return "any"
"""

PROGRAM = """
import asyncio, copy, inspect, multiprocessing, pickle, types, unittest.mock
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from shop import work

def tried(name, what):
    try:
        print(name, what())
    except BaseException as error:
        print(name, type(error).__name__, error)

def there_and_back(value):
    return pickle.loads(pickle.dumps(value))

if __name__ == "__main__":
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        tried("function", lambda: pickle.loads(pickle.dumps(work.find, protocol)) is work.find)
    for one in (work.find, work.afind, work.pages, work.cached, work.dispatched, work.Store.upsert, work.Store.stat):
        tried(one.__qualname__, lambda: (there_and_back(one) is one, copy.copy(one) is one, copy.deepcopy(one) is one))
        tried("pickled in Python", lambda: pickle._loads(pickle._dumps(one)) is one)
    store = work.Store()
    tried("method", lambda: (there_and_back(store.upsert)(3), there_and_back(work.Store.make)().__class__.__name__))
    tried("copied", lambda: copy.deepcopy(store.upsert).__self__ is store)
    tried("class", lambda: (copy.deepcopy(work.Store.make)().upsert(1), copy.copy(store.upsert)(2)))
    tried("holder", lambda: (copy.deepcopy(work.Holder()).action("abc"), there_and_back(work.Holder()).method(5)))
    tried("identity", lambda: [work.Store.upsert is work.Store.upsert, work.Sub.upsert is work.Sub.upsert])
    tried("unbound", lambda: (work.Store.upsert(store, 3), work.Store.upsert(self=store, x=3), work.Sub().upsert(1)))
    tried("static", lambda: (store.stat(1), work.Store.stat(2), store.stat is work.Store.stat))
    tried("kinds", lambda: [isinstance(work.find, types.FunctionType), isinstance(store.upsert, types.MethodType)])
    tried("inspected", lambda: [inspect.isfunction(work.Store.upsert), inspect.ismethod(store.upsert)])
    tried("mocked", lambda: unittest.mock.create_autospec(work.find)("x") is not None)
    tried("wrong", lambda: work.find())
    tried("wrong", lambda: work.Store.upsert())
    for kind in ("fork", "spawn"):
        context = multiprocessing.get_context(kind)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            tried(kind, lambda: list(pool.map(work.find, ["a", "bb"])))
            tried(kind, lambda: list(pool.map(store.upsert, [1, 2])))
    with ThreadPoolExecutor(1) as threads:
        tried("submit", lambda: copy.copy(threads.submit)(len, "abc").result())
    from wrapt import decorator
    tried("another's", lambda: pickle.dumps(decorator(lambda f, _, a, k: f(*a, **k))(work.Holder)))
"""

ODD = """
import email.message, io, logging, socket, threading, urllib.request
import requests, structlog, urllib3

def tried(what):
    try:
        print(what())
    except BaseException as error:
        print(type(error).__name__, error, type(error.__context__))

class Handler(urllib.request.BaseHandler):
    def shop_open(self, request):
        return {"shop:bytes": io.BytesIO(b"x"), "shop:text": "text", "shop:nothing": ""}[request.full_url].__class__
    def http_open(self, request):
        if request.host == "gone":
            raise urllib.error.HTTPError(request.full_url, 404, "gone", None, None)
        print(request.timeout is socket._GLOBAL_DEFAULT_TIMEOUT or request.timeout, request.data)
        print(request.headers.keys())
        answer = io.BytesIO(b"x")
        answer.code, answer.msg, answer.info = 200, "ok", dict
        return answer

opener = urllib.request.build_opener(Handler)
opener.addheaders = [("A", "b")]
for url in ("shop:bytes", "shop:text", "nowhere:x", "http://gone/", "http://a/", "not a url", 7, None):
    tried(lambda: opener.open(url))
tried(lambda: opener.open("http://a/", b"data", 3).read())
tried(lambda: opener.open(fullurl="http://a/", timeout=None).read())
tried(lambda: opener.open(urllib.request.Request("http://a/"), data=b"x").read())
tried(lambda: opener.open(urllib.request.Request("http://a/", data=iter([b"x"]))).read())
tried(lambda: opener.open())
session = requests.Session()
tried(lambda: session.send(requests.Request("GET", "http://a/")))
tried(lambda: session.send(None))
tried(lambda: session.send())
tried(lambda: session.get("nowhere://a"))
tried(lambda: urllib3.PoolManager().urlopen(None, "http://[/"))
tried(lambda: urllib3.HTTPConnectionPool("127.0.0.1", 9).urlopen("GET", None))

P = structlog.processors.CallsiteParameter
where = structlog.processors.CallsiteParameterAdder({P.MODULE, P.FUNC_NAME, P.LINENO, P.FILENAME})
plain = logging.StreamHandler()
plain.setFormatter(structlog.stdlib.ProcessorFormatter(
    foreign_pre_chain=[where], processors=[where, structlog.processors.JSONRenderer(sort_keys=True, default=repr)]))
logging.getLogger().addHandler(plain)
log = logging.getLogger("app")
def shop():
    log.warning("by logging")
    logging.LoggerAdapter(log, {}).warning("by an adapter")
    log.handle(log.makeRecord("app", 30, "file", 1, "made", (), None))
    structlog.get_logger().info("by structlog")
structlog.configure([where, structlog.processors.JSONRenderer(sort_keys=True)])
shop()
structlog.configure([where, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
                    logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger)
structlog.get_logger("app").warning("by both")
"""


def _both(folder: Path, program: str, settings: Path | None = None) -> tuple[str, str]:
    """Return what a program prints with and without telemetry, and check that it was observed."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "program.py"]
    with receiving() as receiver:
        extra = {"PYTHONHASHSEED": "0"} | ({"THEODORE_OTEL_CONFIG": str(settings)} if settings else {})
        found = [
            subprocess.run(
                [*before, *command],
                env=environment(receiver.url, extra),
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            ).stdout.replace(str(folder), "")
            for before in (RUN, [])
        ]
        assert receiver.spans()
    return found[0], found[1]


def _settings(folder: Path, names: list[str]) -> Path:
    watched = {"phase": [{"function": f"shop.work:{name}"} for name in names]}
    (rendered,) = render(
        load_text(json.dumps({"version": 1, "instrument": {"watch": watched}}), "t"), "t", ["instrument"]
    )
    settings = folder / "instrument.json"
    settings.write_text(rendered.text)
    return settings


@pytest.mark.case("watched_functions_handed_on")
def test_watched_functions_are_handed_on_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/work.py").write_text(LIBRARY)
    names = ["find", "afind", "pages", "Store.upsert", "Store.make", "Store.stat", "cached", "dispatched"]
    settings = _settings(tmp_path, names)
    observed, plain = _both(tmp_path, PROGRAM, settings)
    assert observed == plain


@pytest.mark.case("odd_calls_of_clients")
def test_odd_calls_of_clients_and_loggers_give_what_they_give_without(tmp_path: Path) -> None:
    observed, plain = _both(tmp_path, ODD)
    assert observed == plain


AGAIN = """
import importlib, sys, warnings

def find(company):
    \'\'\'Find it.\'\'\'
    return len(company)

if len(sys.argv) > 1:
    class Store:
        def upsert(self, x):
            if x is None or x is "":  # the compiler warns of it, once
                raise ValueError(x)
            return x
else:
    Store = None

def unwatched():
    warnings.warn("where")

if __name__ == "__main__":
    print(find("ab"), find.__module__, find.__doc__, sorted(globals()), Store().upsert(1))
    from shop import work
    print(work.find("abc"), importlib.reload(work) is work, work.find("abcd"), work.Store().upsert(2))
    importlib.reload(work)
    work.find("abcde")
    unwatched()
    Store().upsert(None)
"""


@pytest.mark.case("watched_again")
def test_a_module_that_is_reloaded_or_run_by_its_name_is_still_watched(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/work.py").write_text(AGAIN)
    settings = _settings(tmp_path, ["find", "Store.upsert"])
    command = [sys.executable, "-m", "shop.work", "x"]
    with receiving() as receiver:
        env = environment(receiver.url, {"THEODORE_OTEL_CONFIG": str(settings), "PYTHONDONTWRITEBYTECODE": "1"})
        observed, plain = (
            subprocess.run([*before, *command], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
            for before in (RUN, [])
        )
        names = sorted(span.name for span in receiver.spans())
    assert (observed.returncode, observed.stdout, observed.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert names == ["phase find"] * 4 + ["phase upsert"] * 3

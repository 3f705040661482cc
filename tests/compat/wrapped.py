"""Find every function that telemetry put in another's place, and say what a program can see of it.

Run as a program: without arguments it prints where such functions are; with a list on stdin what is seen at each place.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import pickle
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

MODULES = [
    "_thread",
    "aiohttp",
    "asyncio",
    "atexit",
    "celery.app",
    "click.core",
    "concurrent.futures",
    "copyreg",
    "faulthandler",
    "fastapi.applications",
    "gunicorn.app.base",
    "http.client",
    "httpx",
    "importlib",
    "logging",
    "logging.handlers",
    "multiprocessing.process",
    "multiprocessing.spawn",
    "os",
    "pickle",
    "posix",
    "requests",
    "requests.sessions",
    "runpy",
    "signal",
    "socketserver",
    "starlette.applications",
    "structlog",
    "subprocess",
    "sys",
    "threading",
    "traceback",
    "typer",
    "urllib.request",
    "urllib3.connectionpool",
    "uvicorn.server",
    "uvicorn.supervisors.basereload",
    "uvicorn.supervisors.multiprocess",
    "warnings",
    "weakref",
]

_OURS = ("/theodore_otel/", "/opentelemetry/", "/wrapt/")


def load() -> None:
    """Import what telemetry may wrap, as a program would."""
    for name in MODULES:
        with suppress(ImportError):
            importlib.import_module(name)


def places() -> Iterator[str]:
    """Yield `module:path` of every function of telemetry's that stands in a module or class of somebody else's."""
    seen: set[int] = set()
    for name, module in sorted(sys.modules.items()):
        if module is None or name.partition(".")[0] in (
            "theodore_otel",
            "opentelemetry",
            "wrapt",
            "sitecustomize",
            "__main__",
        ):
            continue
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if _is_foreign(value):
                yield f"{name}:{key}"
            elif inspect.isclass(value) and value.__module__ == name and id(value) not in seen:
                seen.add(id(value))
                yield from (f"{name}:{key}.{one}" for one, inner in list(vars(value).items()) if _is_foreign(inner))


def _is_foreign(value: Any) -> bool:
    if "FunctionWrapper" in type(value).__name__:
        return True
    code = getattr(value, "__code__", None)
    return inspect.isfunction(value) and any(part in code.co_filename for part in _OURS)


def seen(place: str) -> dict[str, str]:
    """Return what a program can see of the function at a place."""
    name, _, path = place.partition(":")
    value = importlib.import_module(name)
    for part in path.split("."):
        value = getattr(value, part)
    return {
        "class": str(value.__class__),
        "signature": _tried(lambda: str(inspect.signature(value))),
        "module": _tried(lambda: value.__module__),
        "name": _tried(lambda: value.__name__),
        "qualname": _tried(lambda: value.__qualname__),
        "doc": _tried(lambda: value.__doc__),
        "annotations": _tried(lambda: str(inspect.get_annotations(value))),
        "asynchronous": _tried(lambda: str(inspect.iscoroutinefunction(value))),
        "defaults": _tried(lambda: str([getattr(value, one, None) for one in ("__defaults__", "__kwdefaults__")])),
        "pickled": _tried(lambda: str(pickle.loads(pickle.dumps(value)) == value)),
        "copied": _tried(lambda: str(copy.copy(value) is value and copy.deepcopy(value) is value)),
        "bound": _tried(lambda: str(inspect.signature(value).bind(object()).args.__len__())),
    }


def _tried(what: Any) -> str:
    try:
        return str(what())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    load()
    given = None if sys.stdin.isatty() else sys.stdin.read()
    print(json.dumps({place: seen(place) for place in json.loads(given)} if given else sorted(places())))

"""What `theodore-otel run` has the Python program that it starts import first. The program does not see it again."""

import os
import sys


def _leave() -> None:
    """Take this folder out of the path, for the program and its children."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs start-up time
    sys.path[:] = [path for path in sys.path if path != here]
    kept = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != here]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        os.environ.pop("PYTHONPATH", None)


def _start() -> None:
    try:
        from theodore_otel.instrument import startup
    except ImportError as error:
        sys.stderr.write(f"theodore-otel: nothing is reported, because {sys.executable} does not have it: {error}\n")
        return
    try:
        startup.start()
    except Exception as error:  # noqa: BLE001 - the program starts, and what follows here with it
        sys.stderr.write(f"theodore-otel: nothing is reported: {type(error).__name__}: {error}\n")


def _continue() -> None:
    """Import the `sitecustomize` that Python would have imported without this one."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("sitecustomize")
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


_leave()
_start()
_continue()

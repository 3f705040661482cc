"""Check of the functions that the configuration names, in this Python and without running the application."""

from __future__ import annotations

from collections.abc import Iterator

from theodore_otel.doctor.finding import Finding, Setup, ok, warning
from theodore_otel.survey import source


def check_watched(setup: Setup) -> Iterator[Finding]:
    """Do the functions under `instrument.watch` exist?"""
    watch = setup.config.instrument.watch
    entries = [(kind, entry) for kind in type(watch).model_fields for entry in getattr(watch, kind)]
    good = 0
    absent: dict[str, int] = {}
    for kind, entry in entries:
        top = entry.function.partition(":")[0].partition(".")[0]
        try:
            problem = source.problem(entry.function)
        except source.NoModuleError as error:
            if not entry.optional and str(error) == top:
                absent[top] = absent.get(top, 0) + 1
                continue
            problem = f"there is no module {error}"
        if problem is None:
            good += 1
        elif not entry.optional:
            yield warning(f"cannot watch {entry.function}: {problem}", f"mend instrument.watch.{kind}")
    for top, number in absent.items():
        yield warning(
            f"package {top} is not installed here, so {number} watched functions cannot be looked up",
            "run doctor with the Python that runs Theodore",
        )
    if good or not entries:
        yield ok(f"{good} watched functions exist" if entries else "no function is watched (theodore-otel instrument)")

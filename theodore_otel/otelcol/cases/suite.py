"""All cases: the collector prepared once, the cases run side by side, the results in the order of the files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from theodore_otel.config.base import Signal
from theodore_otel.config.loader import load_layers
from theodore_otel.config.model import Config
from theodore_otel.config.source import Source
from theodore_otel.errors import DownError
from theodore_otel.otelcol import find, launch, places, secrets, validate
from theodore_otel.otelcol.cases import golden
from theodore_otel.otelcol.cases.isolating import Isolated, isolate
from theodore_otel.otelcol.cases.judging import Failure
from theodore_otel.otelcol.cases.loading import Loaded, check
from theodore_otel.otelcol.cases.running import Outcome, Setup, run
from theodore_otel.render import render
from theodore_otel.render.exporters import exporters


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    loaded: Loaded
    outcome: Outcome
    seconds: float
    updated: bool = False
    """Whether its golden file has changed."""

    @property
    def failures(self) -> list[Failure]:
        """Return what is not as expected; nothing when the case is good."""
        return self.outcome.failures


def run_all(
    source: Source,
    profile: str | None,
    cases: Sequence[Loaded],
    note: places.Note,
    *,
    update: bool = False,
    keep: bool = False,
) -> Iterator[Result]:
    """Run the cases against a configuration; yield each one's result in their order.

    `update` writes golden files of cases that are good otherwise; `keep` leaves the collectors' folders and says where.
    Raises InputError for what the user has to mend in cases or configuration, DownError when the collector does not
    start.
    """
    config = _with_basic(load_layers(source, profile).config, note)
    setup, rendered = _prepare(config, source, note)
    check(cases, config, setup.destinations)
    with _folder(keep, note) as folder, ThreadPoolExecutor(os.cpu_count()) as pool:

        def one(number: int) -> Result:
            loaded = cases[number]
            own = folder / f"{number + 1:03}-{re.sub(r'[^a-z0-9]+', '-', loaded.case.name.lower())[:60].strip('-')}"
            own.mkdir()
            return _timed(loaded, setup, own, update)

        try:
            yield from pool.map(one, range(len(cases)))
        except DownError:
            setup.stop.set()
            # Where it is the configuration that is refused, this says so by its key.
            text, more = secrets.with_placeholders(rendered, setup.environment)
            validate.validate(setup.binary, text, {**setup.environment, **more}, source)
            raise
        finally:
            setup.stop.set()
            pool.shutdown(cancel_futures=True)


def _timed(loaded: Loaded, setup: Setup, folder: Path, update: bool) -> Result:
    started = time.monotonic()
    outcome = run(loaded.case, setup, folder)
    updated = False
    if loaded.golden and update and not outcome.failures:
        updated = golden.update(loaded.golden, outcome.records)
    elif loaded.golden and not update:
        outcome.failures += golden.compare(loaded.golden, outcome.records)
    return Result(loaded, outcome, time.monotonic() - started, updated)


def _with_basic(config: Config, note: places.Note) -> Config:
    """Return the configuration with credentials made here: a test has no provider that issues tokens."""
    if config.tenants.identify_by != "oidc":
        return config
    note("tenants.identify_by is oidc: the cases run with basic in its place; what follows the credential is the same")
    tenants = config.tenants.model_copy(update={"identify_by": "basic", "oidc": None})
    return config.model_copy(update={"tenants": tenants})


def _prepare(config: Config, source: Source, note: places.Note) -> tuple[Setup, str]:
    """Return what the cases run with, and the configuration as it was rendered."""
    (rendered,) = render(config, source.name, ["collector"])
    environment = launch.own_environment(config)
    isolated = isolate(yaml.safe_load(rendered.text), exporters(config))
    dumped = yaml.safe_dump(isolated.configuration, sort_keys=False, allow_unicode=True, width=120)
    text, more = secrets.with_placeholders(dumped, environment)
    # Much of a start is reading patterns; collecting garbage less often makes it faster.
    environment = {"GOGC": "400", **environment, **more}
    setup = Setup(
        find.installed(note), text, environment, isolated.captures, _destinations(isolated), config.service.name
    )
    return setup, rendered.text


def _destinations(isolated: Isolated) -> dict[str, frozenset[Signal]]:
    takes: dict[str, frozenset[Signal]] = {}
    for exporter in isolated.captures.values():
        takes[exporter.destination] = takes.get(exporter.destination, frozenset()) | set(exporter.signals)
    return takes


@contextlib.contextmanager
def _folder(keep: bool, note: places.Note) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="theodore-otel-test-"))
    try:
        yield folder
    finally:
        if keep:
            note(f"the collectors' folders are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)

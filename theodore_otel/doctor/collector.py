"""Checks of the collector: its binary, what is rendered for it, its secrets, ports and disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from theodore_otel import paths
from theodore_otel.config.units import format_size
from theodore_otel.doctor.finding import Finding, Setup, failed, ok, warning
from theodore_otel.errors import InputError
from theodore_otel.otelcol import COLLECTOR_VERSION, binary, find, launch, ports, queues, secrets, supervise, validate
from theodore_otel.render import render
from theodore_otel.render.files import stale
from theodore_otel.render.lanes import ROOM_ON_DISK
from theodore_otel.render.references import references

_COLLECTORS = "otelcol"
"""What the names of collector programs begin with."""


def check_configuration(setup: Setup) -> Iterator[Finding]:
    """Tell what is looked at; a configuration that cannot be used ends before."""
    yield ok(f"{setup.file} is valid (profile {setup.config.profile})" if setup.file else setup.source.name)


def check_binary(_: Setup) -> Iterator[Finding]:
    """Is there a collector, and is it the version the configuration is made for?"""
    try:
        path = find.installed(lambda _: None)
        version = binary.version(path)
    except InputError as error:
        yield failed(str(error), "theodore-otel collector install")
        return
    if version == COLLECTOR_VERSION:
        yield ok(f"collector {version} ({path})")
    else:
        yield warning(
            f"{path} is collector {version}; the configuration is made for {COLLECTOR_VERSION}",
            "theodore-otel collector install, and unset THEODORE_OTEL_COLLECTOR",
        )


def check_pipelines(setup: Setup) -> Iterator[Finding]:
    """Does the real collector accept what would be rendered?"""
    try:
        path = find.installed(lambda _: None)
    except InputError:
        return  # told by the check of the binary
    (rendered,) = render(setup.config, setup.source.name, ["collector"])
    text, more = secrets.with_placeholders(rendered.text, setup.environment)
    try:
        validate.validate(path, text, {**setup.environment, **more}, setup.source)
    except InputError as error:
        yield failed(str(error), f"mend it, and check with `theodore-otel validate{setup.option}`")
    else:
        yield ok("the collector accepts what is rendered")


def check_rendered(setup: Setup) -> Iterator[Finding]:
    """Are the files beside the configuration what would be rendered now?"""
    rendered = render(setup.config, setup.file.name if setup.file else "")
    present = [file.path for file in rendered if (setup.folder / file.path).exists()]
    if setup.file is None or not present:
        yield ok("no rendered files beside the configuration: `stack` and `collector run` render by themselves")
        return
    old = [file.path for file in stale(rendered, setup.folder) if file.path in present]
    if old:
        yield failed(f"stale: {', '.join(old)}", f"theodore-otel render{setup.option} {_targets(old)}")
    else:
        yield ok(f"current: {', '.join(present)}")


def check_secrets(setup: Setup) -> Iterator[Finding]:
    """Is every secret that the configuration refers to there, and fit to be used?"""
    (rendered,) = render(setup.config, setup.source.name, ["collector"])
    known = {**setup.environment, "THEODORE_OTEL_HOME": str(paths.home())}
    try:
        secrets.resolve(rendered.text, known, setup.source)
    except InputError as error:
        for problem in str(error).splitlines():
            yield failed(problem, "set it where the collector is started")
        return
    asked = [str(each) for each in references(rendered.text) if each.name != "THEODORE_OTEL_HOME"]
    yield ok(f"set: {', '.join(asked)}" if asked else "none is needed")


def check_ports(setup: Setup) -> Iterator[Finding]:
    """Can the collector listen where it is told to, or does it already?"""
    record = supervise.status().record
    ours = set(record.endpoints.values()) if record else set()
    free: list[str] = []
    held: list[str] = []
    for listener in launch.listeners(setup.config, setup.source.name):
        if listener.reached_at in ours:
            held.append(listener.address)
            continue
        try:
            ports.check_free([listener], setup.source.name)
        except InputError as error:
            holder = ports.held_by(listener.port)
            if holder and holder.startswith(_COLLECTORS):
                held.append(f"{listener.address} by {holder}")
            else:
                yield failed(str(error), f"end what holds it, or change {listener.key}")
        else:
            free.append(listener.address)
    if held:
        yield ok(f"held by the collector: {', '.join(held)}")
    if free:
        yield ok(f"free: {', '.join(free)}")


def check_disk(setup: Setup) -> Iterator[Finding]:
    """Is there room for every queue when all of them are full?"""
    queue = setup.config.collector.queue
    held = queues.of(setup.config)
    folder = held.path
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK):
        yield failed(f"{folder}: {there} cannot be written", "give the collector's user this folder")
        return
    count = len(held.files)
    if not count:
        yield ok("no destination has a queue on disk")
        return
    needed = int(count * queue.size * ROOM_ON_DISK) + queues.RESERVE
    room = queues.disk_room(folder)
    said = f"{folder}: {_rounded(room)} for {count} queues of {format_size(queue.size)}"
    if room < needed:
        yield warning(
            f"{said}, which may need {_rounded(needed)}: `stack up` and `collector run` make them smaller",
            "lower collector.queue.size, or put collector.queue.directory on a larger disk",
        )
    else:
        yield ok(said)


def check_queues(setup: Setup) -> Iterator[Finding]:
    """Is every queue that something waits in a destination's, and whole?"""
    found = queues.of(setup.config).list()
    for queue in found:
        if queue.state == "damaged":
            todo = "theodore-otel stack up sets it aside, so that the collector starts"
            yield failed(f"{queue.file}: the queue of {queue.name} is damaged: {queue.trouble}", todo)
        elif queue.state == "set aside":
            yield warning(queues.told(queue), f"theodore-otel queue inspect {queue.file}, queue drop {queue.file.name}")
        elif queue.left_behind:
            todo = f"theodore-otel queue move {queue.name} NAME, or queue drop {queue.name}"
            yield warning(f"{queues.told(queue)} ({queue.file})", todo)
    if not any(queue.left_behind or queue.state == "damaged" for queue in found):
        waiting = sum(queue.counted.items for queue in found if queue.counted)
        yield ok(f"{waiting:,} items wait, all of them for a destination" if waiting else "nothing is left behind")


def _targets(files: list[str]) -> str:
    return " ".join(Path(file).stem for file in files)


def _rounded(size: int) -> str:
    return f"{size / 2**30:.1f}GiB"

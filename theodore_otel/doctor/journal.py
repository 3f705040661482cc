"""Checks of the audit journal: can it be written, with which key, and is it delivered?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from theodore_otel.doctor.finding import Finding, Setup, failed, note, ok, warning
from theodore_otel.journal import audit_keys, audit_lazy
from theodore_otel.journal.audit_keys import Keyring
from theodore_otel.journal.audit_trail import OPEN, trails


def check_journal(setup: Setup) -> Iterator[Finding]:
    """Can audit records be written and signed here, does none wait, and is none lost?"""
    folder = audit_lazy.directory(setup.config.instrument.audit.dir)
    if not _can_be_written(folder):
        yield failed(f"{folder}: audit records cannot be written", "give the folder to the user that runs Theodore")
        return
    reference = setup.config.instrument.audit.key
    given = reference.model_dump(exclude_none=True) if reference else None
    try:
        keys = audit_keys.load(folder, given, setup.environment, make=False)
        beside = setup.environment.get(audit_keys.VARIABLE) is None and (folder / audit_keys.FILE).exists()
        if beside and given is None and f"{audit_keys.VARIABLE}_FILE" not in setup.environment:
            yield note(f"the audit key is generated, in {folder}", "give one that Theodore's user cannot change")
        else:
            yield ok(f"audit records are signed with key {keys.current().id}")
    except audit_keys.UnusableKeyError as error:
        yield failed(f"the audit key cannot be used: {error}", "set it where Theodore is started")
    except OSError as error:
        if given or error.errno != 2:
            yield failed(f"the audit key cannot be read: {error.filename}: {error.strerror}", "make it readable")
    keyring = Keyring(audit_keys.known(folder, given, setup.environment))
    gone = [trail for trail in trails(folder) if trail.segments() and not trail.lives()]
    if lost := sum(trail.unwritten() for trail in gone):
        told = f"{lost} audit records of earlier runs are lost: neither written to disk nor delivered"
        yield warning(told, "make room on the disk of the journal; `theodore-otel audit verify` says which")
    left = [trail for trail in gone if trail.path.parent.parent.name == OPEN and not trail.is_delivered(keyring)]
    if left:
        count = sum(trail.waiting() for trail in left) or "some"
        yield warning(f"{count} audit records of earlier runs are not delivered", "theodore-otel audit flush")
    else:
        yield ok(f"{folder}: no audit record of an earlier run waits")


def _can_be_written(folder: Path) -> bool:
    """Say whether a folder, or the nearest one there is above it, can be written."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)

"""How the collector found what it watches, and when commands last ran well, whichever program holds that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# All times are nanoseconds since 1970 in UTC.

STALE = 5 * 60 * 10**9
"""What was not reported for so long is no longer known (ns)."""

LAST_MOMENT = 2**63 - 2
"""A time beyond it is no time (ns)."""

Sample = tuple[int, bool]
"""When a target was asked, and whether it answered as it should."""


@dataclass(frozen=True)
class TargetHealth:
    """How one target is."""

    target: str
    up: bool
    since: int | None
    """When it became so; None when it was so before the time that was looked at."""
    checked: int
    """When it was asked last."""


@dataclass(frozen=True)
class LastRun:
    """The last good run of a command."""

    tenant: str
    command: str
    ended: int


class HealthSource(Protocol):
    """A place that holds what the collector found; its methods raise what those of `Source` do."""

    def health(self, since: int) -> list[TargetHealth]:
        """Return how each target is that was asked since then, by name."""

    def last_runs(self, since: int) -> list[LastRun]:
        """Return the last good run since then of each tenant's commands."""


def judged(series: Mapping[str, Iterable[Sequence[Sample]]], begin: int) -> list[TargetHealth]:
    """Return how targets are, from what each collector saw of them since `begin`, in the order of time.

    A target is down when one of the collectors that still ask it finds it so.
    """
    known = {target: [one for one in seen if one] for target, seen in series.items()}
    return [_judged(target, seen, begin) for target, seen in sorted(known.items()) if seen]


def _judged(target: str, seen: list[Sequence[Sample]], begin: int) -> TargetHealth:
    checked = max(samples[-1][0] for samples in seen)
    asking = [samples for samples in seen if samples[-1][0] > checked - STALE]
    up = all(samples[-1][1] for samples in asking)
    changes = [_change(samples) for samples in asking if samples[-1][1] == up]
    # It is up once the last collector finds it so, and down from the first that does not.
    since = max(changes) if up else min(changes)
    return TargetHealth(target, up, since if since > begin + STALE else None, checked)


def _change(samples: Sequence[Sample]) -> int:
    """Return when the state began that the last sample has."""
    began, state = samples[-1]
    for time, up in reversed(samples):
        if up != state:
            break
        began = time
    return began

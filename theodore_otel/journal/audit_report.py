"""Who did what to which resource in a period: counts over audit records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from theodore_otel.journal.audit_record import NAMES, Record

COLUMNS: Final = ("id", *NAMES)


def report(records: Sequence[Record]) -> dict[str, Any]:
    """Return totals, outcomes, and one entry for each actor, action and resource with how often it went which way."""
    groups: dict[tuple[str | None, str, str | None], Counter[str]] = {}
    for each in records:
        groups.setdefault((each.actor, each.action, each.resource), Counter())[each.outcome] += 1
    ordered = sorted(groups.items(), key=lambda item: tuple(part or "" for part in item[0]))
    return {
        "records": len(records),
        "from": records[0].time if records else None,
        "to": records[-1].time if records else None,
        "actors": len({each.actor for each in records}),
        "outcomes": dict(sorted(Counter(each.outcome for each in records).items())),
        "activity": [
            {"actor": actor, "action": action, "resource": resource, "outcomes": dict(sorted(outcomes.items()))}
            for (actor, action, resource), outcomes in ordered
        ],
    }


def rows(records: Iterable[Record]) -> Iterable[dict[str, Any]]:
    """Return records as rows for a table of `COLUMNS`; a text that a spreadsheet would run is quoted."""
    return ({name: _cell(value) for name, value in each.fields().items()} for each in records)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value

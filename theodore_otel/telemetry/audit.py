"""`audit()`: who did what to which resource, kept for ever and proof against tampering.

A record is redacted, written to a journal as the next link of a chain of keyed hashes, and on the disk before the call
returns, whether an SDK is configured or not. It is delivered from the journal: by this process, by the next one with
the same credential, or by `theodore-otel audit flush`.
"""

from __future__ import annotations

from typing import Any


def audit(
    action: str, *, user_id: str | None = None, resource: str | None = None, outcome: str = "success", **context: Any
) -> str:
    """Record that somebody did something. Returns the `audit.id`.

    `action`: what was done, such as `report.export`. `user_id`: who did it; the user of the request when it is not
    given. `resource`: what it was done to. `outcome`: `success`, `failure`, `denied`, or a word of your own. `context`:
    everything else; secrets and personal data in it are masked.

    The call takes as long as one write to the disk, which calls in other threads share. It never raises: what keeps a
    record from the disk is told once on stderr, and the record is then delivered from memory. A program's mistake that
    no record can be made of gives the empty text.
    """
    try:
        return _record(action, user_id, resource, outcome, context)
    except Exception as error:  # noqa: BLE001 - an audit record must never break what is audited, nor vanish in silence
        from theodore_otel.journal.audit_process import tell

        tell("lost", f"AN AUDIT RECORD IS LOST: {type(error).__name__}: {error}")
        return ""


def _record(action: Any, user_id: Any, resource: Any, outcome: Any, context: dict[str, Any]) -> str:
    from theodore_otel.journal.audit_process import journal
    from theodore_otel.telemetry import audit_fields

    own = journal()
    around = audit_fields.surroundings()
    actor = user_id if user_id is not None else around.pop("user.id", None)
    around.pop("user.id", None)
    if own.pseudonymises and actor is not None and str(actor):
        actor = own.keys.current().pseudonym(str(actor))
    record = own.append(
        action=audit_fields.short(action) or "unknown",
        actor=audit_fields.short(actor),
        resource=audit_fields.short(resource),
        outcome=audit_fields.short(outcome) or "unknown",
        context=audit_fields.details({**around, **context}),
    )
    return record.id

"""What an audit record may hold: masked, short, and so that masking it again changes nothing.

The hash covers what is left after redaction. The collector redacts too, so what it gets must be what it would leave.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from theodore_otel.conventions import names
from theodore_otel.telemetry import redact

if TYPE_CHECKING:
    from theodore_otel.redaction.matcher import Matcher

_LONGEST: Final = 1024
_LONGEST_DETAILS: Final = 32_768
_LONGEST_KEPT: Final = 256
# The collector marks what it finds with control characters, and takes those it is sent out.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]+")
_TRIES: Final = 4
_AROUND: Final = (names.TENANT_ID, names.CORRELATION_ID, names.USER_ID, names.COMPONENT)


def short(value: Any) -> str | None:
    """Return a value as a masked text of one line; None for nothing."""
    if value is None:
        return None
    text = _CONTROLS.sub(" ", redact.text(value)).strip()[:_LONGEST]
    for _ in range(_TRIES):
        masked = _masked(text).strip()[:_LONGEST]
        if masked == text:
            return text or None
        text = masked
    return redact.matcher().mask


def details(context: Mapping[str, Any]) -> str | None:
    """Return a context as the text of a JSON object; None for an empty one."""
    if not context:
        return None
    masked = {_key(key): _settled(redact.attribute(str(key), value)) for key, value in context.items()}
    text = _json(masked)
    if len(text) > _LONGEST_DETAILS:
        text = _json(
            {key: value if len(_json(value)) <= _LONGEST_KEPT else "too long" for key, value in masked.items()}
        )
    if len(text) > _LONGEST_DETAILS or _masked(text) != text:
        return _json({"context": redact.matcher().mask})
    return text


def surroundings() -> dict[str, Any]:
    """Return what the current request, command and span say: tenant, correlation id, user, component, trace."""
    from opentelemetry import baggage, trace

    from theodore_otel.instrument import context

    carried = baggage.get_all() or baggage.get_all(context.root())
    found = {name: carried[name] for name in _AROUND if name in carried}
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        found |= {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}
    return found


def _settled(value: Any) -> Any:
    """Return a value whose JSON holds nothing that would be masked in it."""
    if isinstance(value, Mapping):
        return {_key(key): _settled(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_settled(one) for one in value]
    return _leaf(value)


def _leaf(value: Any) -> Any:
    if isinstance(value, str):
        value = _CONTROLS.sub(" ", value)
    elif isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    written = _json(value)
    return value if _masked(written) == written else redact.matcher().mask


def _key(key: Any) -> str:
    return str(_leaf(redact.text(key)))


def _masked(text: str) -> str:
    """Return a text masked as the collector will mask it: the hash covers what that leaves."""
    return _remembered(redact.matcher(), text) if len(text) <= _LONGEST_KEPT else redact.matcher().by_every_rule(text)


@lru_cache(maxsize=4096)
def _remembered(matcher: Matcher, text: str) -> str:
    return matcher.by_every_rule(text)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)

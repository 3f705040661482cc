"""What OTLP can hold: a value or a record that it cannot is changed alone, and nothing else is lost with it.

Upstream's SDK takes half a surrogate pair, an integer beyond 64 bit or a list that holds itself; its encoders refuse
them, and with them all that is in the same request, or drop the attribute without a word.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import attributes as upstream

from theodore_otel.instrument.texts import described, unshown

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData, ScopeMetrics
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_DEEPEST: Final = 16
MOST_MEMBERS: Final = 10_000
"""Members of one value, on all levels together: lists that hold each other would have any number of them."""
_CUT: Final = "..."
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
_LATEST: Final = 2**64 - 1
_AS_IT_IS: Final = (bool, float, type(None), bytes)

_T = TypeVar("_T")
_checked: Callable[[Any, int | None], Any] = upstream._clean_attribute_value
_set_checked = upstream.BoundedAttributes.__setitem__


def install() -> None:
    """Have the SDK make every attribute, of spans, events, links, log records and measurements, such that it can be
    encoded; never raises, also where a value of the program's own does.
    """
    upstream._clean_attribute_value = value  # type: ignore[assignment]
    upstream.BoundedAttributes.__setitem__ = _set_item  # type: ignore[method-assign]
    measurement: Any = sys.modules.get("opentelemetry.sdk.metrics._internal.measurement")
    if measurement is not None:
        measurement._clean_attribute_value = value


def text(given: str) -> str:
    """Return a text without halves of surrogate pairs, as `surrogateescape` makes of bytes that are no UTF-8."""
    return given if given.isascii() else given.encode("utf-8", "replace").decode("utf-8")


def value(given: Any, longest: int | None = None) -> Any:
    """Return an attribute's value as upstream checks it, such that it can be encoded; texts are cut to `longest`."""
    return text(given) if type(given) is str and longest is None else _value(given, longest, _DEEPEST, [MOST_MEMBERS])


def _set_item(attributes: Any, key: Any, given: Any) -> None:
    _set_checked(attributes, text(key) if isinstance(key, str) else key, given)


def _value(given: Any, longest: int | None, depth: int, left: list[int]) -> Any:
    if isinstance(given, str):
        return text(given if longest is None else given[:longest])
    if isinstance(given, _AS_IT_IS):
        return given
    if isinstance(given, int):
        return given if _LEAST <= given <= _MOST else described(given)
    if isinstance(given, Mapping | Sequence):
        return _members(given, longest, depth - 1, left) if depth else _CUT
    return _of_another_type(given, longest)


def _members(given: Mapping[Any, Any] | Sequence[Any], longest: int | None, depth: int, left: list[int]) -> Any:
    try:
        if isinstance(given, Mapping):
            return _mapping(given, longest, depth, left)
        return tuple([_value(item, longest, depth, left) for item in bounded(given, left)])
    except Exception:  # noqa: BLE001 - a container of the program's own may raise anything
        return {} if isinstance(given, Mapping) else unshown(given)


def bounded(items: Iterable[_T], left: list[int]) -> list[_T]:
    """Return as many items as there is room for, which `left` counts down. They are taken at once: a mapping that
    another thread changes meanwhile would raise.
    """
    taken = list(islice(items, left[0]))
    left[0] -= len(taken)
    return taken


def _mapping(given: Mapping[Any, Any], longest: int | None, depth: int, left: list[int]) -> dict[str, Any]:
    found = {}
    for name, item in bounded(given.items(), left):
        key = name if isinstance(name, str) else _of_another_type(name, None)
        if key:
            found[text(key)] = _value(item, longest, depth, left)
    return found


def _of_another_type(given: Any, longest: int | None) -> str | None:
    """Return the text that upstream makes of an object; None where it makes none, or none can be had."""
    try:
        found = _checked(given, longest)
    except Exception:  # noqa: BLE001 - a text of the program's own may raise anything
        return unshown(given)
    return text(found) if isinstance(found, str) else None


def span(given: ReadableSpan) -> ReadableSpan:
    """Return a copy of an ended span that can be encoded."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, Status

    status = given.status
    return ReadableSpan(
        name=_words(given.name),
        context=given.context,
        parent=given.parent,
        resource=given.resource,
        attributes=value(given.attributes or {}),
        events=[Event(_words(one.name), value(one.attributes or {}), _moment(one.timestamp)) for one in given.events],
        links=[Link(one.context, value(one.attributes or {})) for one in given.links],
        kind=given.kind,
        status=Status(status.status_code, status.description and _words(status.description)),
        start_time=_moment(given.start_time),
        end_time=_moment(given.end_time),
        instrumentation_scope=_scope(given.instrumentation_scope),
    )


def log(given: Any) -> Any:
    """Return a copy of a log record (`ReadableLogRecord` or `WholeRecord`) that can be encoded."""
    record = copy.copy(given.log_record)
    record.body = value(record.body)
    record.attributes = value(record.attributes or {})
    record.severity_text = record.severity_text and _words(record.severity_text)
    record.event_name = record.event_name and _words(record.event_name)
    record.timestamp = _moment(record.timestamp)
    record.observed_timestamp = _moment(record.observed_timestamp)
    return replace(given, log_record=record, instrumentation_scope=_scope(given.instrumentation_scope))


def metrics(given: MetricsData) -> MetricsData:
    """Return a copy of what was collected that can be encoded."""
    resources = [
        replace(resource, scope_metrics=[_scope_metrics(one) for one in resource.scope_metrics])
        for resource in given.resource_metrics
    ]
    return replace(given, resource_metrics=resources)


def _scope_metrics(given: ScopeMetrics) -> ScopeMetrics:
    return replace(given, scope=_scope(given.scope) or given.scope, metrics=[_metric(one) for one in given.metrics])


def _metric(given: Metric) -> Metric:
    data: Any = given.data
    return replace(
        given,
        name=_words(given.name),
        description=given.description and _words(given.description),
        unit=given.unit and _words(given.unit),
        data=replace(data, data_points=[_point(point) for point in data.data_points]),
    )


def _point(given: Any) -> Any:
    """Return a point whose numbers fit; an integer beyond 64 bit becomes the nearest floating point number."""
    changed: dict[str, Any] = {"attributes": value(given.attributes or {})}
    number = getattr(given, "value", None)
    if isinstance(number, int) and not _LEAST <= number <= _MOST:
        changed["value"] = _as_float(number)
    return replace(given, **changed)


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _scope(given: InstrumentationScope | None) -> InstrumentationScope | None:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    if given is None:
        return None
    version, url = given.version and _words(given.version), given.schema_url and _words(given.schema_url)
    return InstrumentationScope(_words(given.name), version, url, value(given.attributes or {}))


def _words(given: Any) -> str:
    return text(given if isinstance(given, str) else described(given))


def _moment(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else min(max(int(nanoseconds), 0), _LATEST)

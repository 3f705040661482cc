"""Take secrets out of encoded requests: URLs lose credentials, query and fragment; the redaction settings do the rest.

It works on the protobuf message because ended spans cannot be changed, and because that is the one place every name,
status, event and log body passes, in a thread that is not the program's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from theodore_otel.instrument.texts import shortened, without_controls

_URL_KEYS: Final = frozenset({"url.full", "http.url", "http.target", "url.original"})
_QUERY_KEYS: Final = frozenset({"url.query", "url.fragment"})
_COMMAND_LINE: Final = "process.command_line"
_ARGUMENTS: Final = "process.command_args"
OF_THEIR_OWN: Final = frozenset({*_URL_KEYS, *_QUERY_KEYS, _ARGUMENTS, _COMMAND_LINE})
"""Keys whose values are masked in a way of their own."""


class Matcher(Protocol):
    """What is needed of `theodore_otel.redaction.matcher.Matcher`."""

    def text(self, value: str, /) -> str:
        """Return the text with every secret in it masked."""

    def url(self, url: str, /) -> str:
        """Return a URL without user, password, query and fragment, masked."""

    def key(self, name: str, /) -> bool:
        """Say whether the value of a key of this name is a secret."""

    def hidden(self, secret: Any, /) -> str:
        """Return what stands for a secret: the mask, or its digest."""

    def value(self, key: str, value: Any, /) -> Any:
        """Return a value masked: a number that is one of a card, bytes that hold a secret."""


class Scrubber:
    """Masks what the redaction settings name, wherever it stands in a request."""

    def __init__(self, redaction: Mapping[str, Any]) -> None:
        """Remember the settings; the matcher compiles its patterns with the first record."""
        self._redaction = redaction
        self._mask = str(redaction.get("mask", "[REDACTED]"))
        self._matcher: Matcher | None = None

    def spans(self, request: Any) -> None:
        """Scrub an ExportTraceServiceRequest in place."""
        for resource in request.resource_spans:
            self._attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self._scope(scope.scope)
                for span in scope.spans:
                    self._span(span)

    def logs(self, request: Any, *, records: bool = True) -> None:
        """Scrub an ExportLogsServiceRequest in place; without `records` what they stand under only."""
        for resource in request.resource_logs:
            self._attributes(resource.resource.attributes)
            for scope in resource.scope_logs:
                self._scope(scope.scope)
                for record in scope.log_records if records else ():
                    self._texts(record, "event_name", "severity_text")
                    self._value(record.body)
                    self._attributes(record.attributes)

    def metrics(self, request: Any) -> None:
        """Scrub the labels in an ExportMetricsServiceRequest in place."""
        for resource in request.resource_metrics:
            self._attributes(resource.resource.attributes)
            for scope in resource.scope_metrics:
                self._scope(scope.scope)
                for metric in scope.metrics:
                    self._texts(metric, "name", "description", "unit")
                    self._attributes(metric.metadata)
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        self._attributes(point.attributes)

    def text(self, value: str) -> str:
        """Mask secrets in one text, and take control characters out; a very long one is cut."""
        return self._load().text(shortened(without_controls(value)))

    def secret_key(self, name: str) -> bool:
        """Say whether the value of a key of this name is a secret."""
        return self._load().key(name)

    def arguments(self, argv: Iterable[str], secrets: Collection[str] = ()) -> list[str]:
        """Mask secrets in a command line: `--api-key VALUE`, `--api-key=VALUE`, what looks like a secret, and what is
        known to be one in `secrets` (also as `-pVALUE`).
        """
        matcher = self._load()
        masked: list[str] = []
        secret_follows = False
        for argument in map(without_controls, argv):
            name, equals, _ = argument.partition("=")
            secret = name.startswith("-") and matcher.key(name.lstrip("-").replace("-", "_"))
            known = next((s for s in secrets if argument == s or (argument[:1] == "-" and argument.endswith(s))), None)
            if known is not None:
                masked.append(argument.removesuffix(known) + matcher.hidden(known))
            elif secret_follows and not argument.startswith("--"):
                masked.append(matcher.hidden(argument))
            elif secret and equals:
                masked.append(f"{name}={matcher.hidden(argument[len(name) + 1 :])}")
            else:
                masked.append(matcher.url(argument) if "://" in argument else matcher.text(argument))
            secret_follows = secret and not equals
        return masked

    def _span(self, span: Any) -> None:
        self._texts(span, "name", "trace_state")
        if span.HasField("status"):
            self._texts(span.status, "message")
        self._attributes(span.attributes)
        for event in span.events:
            self._texts(event, "name")
            self._attributes(event.attributes)
        for link in span.links:
            self._texts(link, "trace_state")
            self._attributes(link.attributes)

    def _scope(self, scope: Any) -> None:
        self._texts(scope, "name", "version")
        self._attributes(scope.attributes)

    def _texts(self, message: Any, *fields: str) -> None:
        for field in fields:
            text = getattr(message, field)
            masked = self.text(text) if text else text
            if masked is not text:
                setattr(message, field, masked)

    def _attributes(self, attributes: Any) -> None:
        matcher = self._load()
        for attribute in attributes:
            if not attribute.key.isprintable():
                attribute.key = without_controls(attribute.key)
            if not attribute.value.string_value.isprintable():
                attribute.value.string_value = without_controls(attribute.value.string_value)
            self._attribute(attribute, matcher)
            masked = matcher.text(attribute.key)
            if masked is not attribute.key and masked != attribute.key:
                attribute.key = masked

    def _attribute(self, attribute: Any, matcher: Matcher) -> None:
        key, value = attribute.key, attribute.value
        kind = value.WhichOneof("value")
        if key in _QUERY_KEYS and value.string_value:
            value.string_value = self._mask
        elif kind == "string_value" and key in _URL_KEYS:
            value.string_value = matcher.url(shortened(value.string_value))
        elif kind is not None and matcher.key(key):
            value.string_value = matcher.hidden(getattr(value, kind))
        elif kind == "array_value" and key == _ARGUMENTS:
            self._command_line(value.array_value.values)
        elif kind == "string_value" and key == _COMMAND_LINE:
            value.string_value = " ".join(self.arguments(shortened(value.string_value).split(" ")))
        else:
            self._value(value)

    def _command_line(self, values: Any) -> None:
        for value, masked in zip(values, self.arguments(v.string_value for v in values), strict=True):
            value.string_value = masked

    def _value(self, value: Any) -> None:
        kind = value.WhichOneof("value")
        if kind == "string_value":
            value.string_value = self.text(value.string_value)
        elif kind == "array_value":
            for item in value.array_value.values:
                self._value(item)
        elif kind == "kvlist_value":
            self._attributes(value.kvlist_value.values)
        elif kind in ("int_value", "bytes_value", "double_value"):
            content = getattr(value, kind)
            masked = self._load().value("", content)
            if masked is not content:
                value.string_value = masked

    def _load(self) -> Matcher:
        if self._matcher is None:
            self._matcher = _matcher(self._redaction)
        return self._matcher


def _matcher(redaction: Mapping[str, Any]) -> Matcher:
    from theodore_otel.redaction.matcher import Matcher as RealMatcher

    build: Callable[[Mapping[str, Any]], Matcher] = RealMatcher
    return build(redaction)

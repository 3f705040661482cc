"""Model calls over plain HTTP, recognised by their URL, with the usage read from the JSON answer.

One recognised call makes one CLIENT span `chat <model>` in place of the generic HTTP span: the instrumentation of the
HTTP client is held back while it runs, or, where that came first, its span is turned into this one. Held back means
too that a model provider is never sent trace context or baggage. Inside a watched `ai` function the call makes no AI
span of its own; its usage goes to that function's span.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from theodore_otel.conventions import names
from theodore_otel.instrument import active, outcome, usage
from theodore_otel.instrument import research as researches
from theodore_otel.instrument.operation import Tools, quietly
from theodore_otel.instrument.outcome import Outcome
from theodore_otel.instrument.readers import MISSING, Call, Parameters, Reader, reader
from theodore_otel.instrument.say import say
from theodore_otel.instrument.texts import as_count, as_text
from theodore_otel.instrument.tracebacks import hide_own_frame

_COVERED_KEY: Final = context.create_key("theodore-otel-model-call")
_LARGEST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of JSON that are parsed for the usage; a longer answer is not one of a chat."""


def _reader(*paths: str) -> Reader:
    """Return what reads the first of some paths, or sums of paths, that an answer has."""
    return reader([" + ".join(f"result.{part}" for part in path.split(" + ")) for path in paths], Parameters())


# As OpenAI and OpenRouter say it, as Anthropic and OpenAI's responses do, as Bedrock's Converse, as Gemini.
# What came from a cache is part of the input; Anthropic and Bedrock count it apart.
_COUNTS: Final = {
    names.GEN_AI_INPUT_TOKENS: _reader(
        "usage.prompt_tokens",
        "usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens",
        "usage.inputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens",
        "usageMetadata.promptTokenCount + usageMetadata.toolUsePromptTokenCount",
    ),
    names.GEN_AI_OUTPUT_TOKENS: _reader(
        "usage.completion_tokens",
        "usage.output_tokens",
        "usage.outputTokens",
        "usageMetadata.candidatesTokenCount + usageMetadata.thoughtsTokenCount",
    ),
    names.GEN_AI_CACHE_READ_TOKENS: _reader(
        "usage.prompt_tokens_details.cached_tokens",
        "usage.input_tokens_details.cached_tokens",
        "usage.cache_read_input_tokens",
        "usage.cacheReadInputTokens",
        "usageMetadata.cachedContentTokenCount",
    ),
    names.GEN_AI_CACHE_CREATION_TOKENS: _reader("usage.cache_creation_input_tokens", "usage.cacheWriteInputTokens"),
}
_MODEL: Final = _reader("model", "modelVersion")
_ERROR: Final = _reader("error.message", "error")


@dataclass(frozen=True, slots=True)
class ModelApi:
    """One model API of the configuration."""

    url: re.Pattern[str]
    provider: str
    operation: str


class ModelApis:
    """The model APIs that are recognised."""

    def __init__(self, configured: Sequence[Mapping[str, Any]], tools: Tools, report: Any = say) -> None:
        """One whose pattern does not compile is told and left out."""
        self.tools = tools
        self._apis: list[ModelApi] = []
        for entry in configured:
            try:
                self._apis.append(_api(entry))
            except (KeyError, TypeError, re.error) as error:
                report(f"cannot watch model API {entry!r}: {error}")

    def begin(self, url: Any, body: Any, *, read_later: bool = False) -> Exchange:
        """Start the span of a request if it goes to a model; `body` is JSON as bytes, text or object.

        `read_later`: the answer is not there yet when the client gives back its response.
        """
        return self._begin(url, body, read_later) or Exchange()

    @quietly
    def _begin(self, url: Any, body: Any, read_later: bool) -> ModelCall | None:
        url = str(url)
        for api in self._apis:
            found = api.url.match(url)
            if found:
                break
        else:
            return None
        if context.get_value(_COVERED_KEY):
            return None
        asked = _parse(body)
        model = asked.get("model") if isinstance(asked, dict) else None
        return ModelCall(api, model or found.groupdict().get("model"), self.tools, read_later)


class Exchange:
    """A request that goes to no model: nothing is observed, and tracebacks look as without us."""

    recognised = False

    def __enter__(self) -> None:
        """Begin to wait for the answer."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Let an exception pass."""
        hide_own_frame(error, traceback)

    def answered(self, status: int, body: Any) -> None:
        """End the call: HTTP status and the answer's JSON (bytes, text or object), None when it was not read."""


class ModelCall(Exchange):
    """One running call of a model."""

    recognised = True

    def __init__(self, api: ModelApi, model: Any, tools: Tools, read_later: bool) -> None:
        """Start the span and make it current, until the scope is left; it stays open until the answer is read."""
        self._api = api
        self._tools = tools
        self._model = as_text(model, tools.redact)
        self._ledger = usage.ledger()
        self._research = researches.current()
        self._ended = False
        self._adopted = False
        self._read_later = read_later
        tools.prices.warm(self._model)
        self._span = None if self._ledger is not None else self._take_span()
        self._token = context.attach(self._inner_context())

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Make current again what was before; an exception ends the call and goes on."""
        super().__exit__(kind, error, traceback)
        context.detach(self._token)
        if error is not None:
            self._raised(error)

    @quietly
    def answered(self, status: int, body: Any) -> None:
        """End the span, or hand the usage to the watched function around it."""
        answer = _parse(body)
        used = self._usage(answer)
        if self._ledger is not None:
            if used is not None and not self._ended:
                self._ledger.entries.append(used)
            self._ended = True
            return
        attributes: dict[str, Any] = {names.HTTP_STATUS: status}
        if model := self._answering(answer):
            attributes[names.GEN_AI_RESPONSE_MODEL] = model
        if used is not None:
            attributes.update(usage.attributes([used], self._tools.prices))
            if self._research:
                self._research.add(attributes)
        self._end(self._judge(status, answer), attributes)

    @quietly
    def _raised(self, error: BaseException) -> None:
        self._end(outcome.from_exception(error, self._tools.redact), {})

    def _take_span(self) -> Span:
        attributes = {
            names.OPERATION_TYPE: "ai",
            names.GEN_AI_OPERATION: self._api.operation,
            names.GEN_AI_PROVIDER: self._api.provider,
        }
        if self._model:
            attributes[names.GEN_AI_REQUEST_MODEL] = self._model
        if self._research and self._research.company:
            attributes[names.COMPANY_NAME] = self._research.company
        name = f"{self._api.operation} {self._model}" if self._model else self._api.operation
        active.change("ai", 1)
        outer = trace.get_current_span()
        # The span of an HTTP instrumentation ends with the response; an answer that is read later needs its own.
        self._adopted = not self._read_later and _is_http_span(outer)
        if not self._adopted:
            return self._tools.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        outer.update_name(name)
        outer.set_attributes(attributes)
        return outer

    def _inner_context(self) -> Context:
        inner = context.set_value(_COVERED_KEY, True)
        if self._span is None:
            return inner
        inner = context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True, inner)
        return trace.set_span_in_context(self._span, inner)

    def _usage(self, answer: Any) -> usage.Usage | None:
        found = {name: as_count(_read(one, answer), self._tools.redact) for name, one in _COUNTS.items()}
        if not any(count is not None for count in found.values()):
            return None
        return usage.Usage(usage.tokens(found), self._api.provider, self._model, self._answering(answer))

    def _answering(self, answer: Any) -> str | None:
        model = _read(_MODEL, answer)
        return as_text(model, self._tools.redact) if isinstance(model, str) else None

    def _judge(self, status: int, answer: Any) -> Outcome:
        error = _read(_ERROR, answer)
        if status < 400 and error is None:
            return outcome.SUCCESS
        text = as_text(error, self._tools.redact) if isinstance(error, str) else None
        words = f"HTTP {status}: {text}" if text else f"HTTP {status}"
        return Outcome(success=False, error_type=str(status) if status >= 400 else "model_error", description=words)

    def _end(self, judged: Outcome, attributes: dict[str, Any]) -> None:
        if self._ended or self._span is None:
            return
        self._ended = True
        active.change("ai", -1)
        self._span.set_attributes({**attributes, names.SUCCESS: judged.success})
        if not judged.success:
            self._span.set_attribute(names.ERROR_TYPE, judged.error_type)
            self._span.set_status(Status(StatusCode.ERROR, judged.description))
        if not self._adopted:
            self._span.end()


def _read(one: Reader, answer: Any) -> Any:
    value = one(Call(None, (), {}, answer))
    return None if value is MISSING else value


def _api(entry: Mapping[str, Any]) -> ModelApi:
    return ModelApi(re.compile(entry["url"]), entry["provider"], entry.get("operation") or "chat")


def _is_http_span(span: Span) -> bool:
    """Say whether this is the span of an HTTP instrumentation that wraps us, which then holds back all others."""
    if not context.get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY) or not span.is_recording():
        return False
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    return names.HTTP_METHOD in attributes or "http.method" in attributes


def _parse(body: Any) -> Any:
    if isinstance(body, bytes | str):
        if len(body) > _LARGEST_ANSWER:
            return None
        try:
            return json.loads(body)
        except ValueError:
            return None
    return body

"""structlog: upstream's processor, with the export level, without doubles, and without showing in `is_configured`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Final

from opentelemetry.instrumentation import structlog as contrib

from theodore_otel.instrument import logs
from theodore_otel.instrument.replacing import replace

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "critical": 50}

_level_of: Callable[[str], int] = lambda _: 20  # noqa: E731


class EventProcessor(contrib.StructlogProcessor):
    """Exports an event and leaves it as it is."""

    def __call__(self, logger: Any, method_name: str, event_dict: dict[str, Any]) -> dict[str, Any]:
        """Export from the configured level on; whatever goes wrong here stays here."""
        name = str(event_dict.get("logger") or getattr(logger, "name", None) or "structlog")
        if _LEVELS.get(str(event_dict.get("level") or method_name).lower(), 20) >= _level_of(name):
            try:
                super().__call__(SimpleNamespace(name=name), method_name, event_dict)
                logs.exported_by_structlog()
            except Exception:  # noqa: BLE001, S110 - the program's own logging goes on
                pass
        return event_dict


class _Processors(list[Any]):
    """The program's processors as it configured them; whoever runs them meets ours before the last one."""

    def __init__(self, processors: Iterable[Any], ours: EventProcessor) -> None:
        super().__init__(one for one in processors if one is not ours)
        self._ours = ours

    def __iter__(self) -> Iterator[Any]:
        yield from self[:-1]
        yield self._ours
        yield from self[-1:]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return how a copy is made, which is the program's: a list without ours."""
        return list, (self[:],)


def prepare(level_of: Callable[[str], int]) -> None:
    """Have upstream's instrumentor use `EventProcessor`, and structlog say the truth about who configured it."""
    global _level_of
    import structlog

    _level_of = level_of
    contrib.StructlogProcessor = EventProcessor  # type: ignore[misc]
    _hide_from(structlog)
    replace(structlog, "is_configured", lambda: contrib.StructlogInstrumentor._is_configured_by_app)


def _hide_from(structlog: Any) -> None:
    """Show the processors that the program configured, and no other."""
    original = structlog.configure

    def configure(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        config = structlog._config._CONFIG
        ours = [one for one in config.default_processors if isinstance(one, EventProcessor)]
        if ours:
            config.default_processors = _Processors(config.default_processors, ours[0])

    replace(structlog, "configure", configure)

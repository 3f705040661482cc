"""The levels and categories of log records."""

from __future__ import annotations

import logging
from enum import IntEnum, StrEnum
from typing import Final

TRACE: Final = 5
logging.addLevelName(TRACE, "TRACE")


class LogLevel(IntEnum):
    """How severe a record is; the numbers are those of `logging`."""

    TRACE = TRACE
    DEBUG = logging.DEBUG
    INFO = logging.INFO
    WARN = logging.WARNING
    ERROR = logging.ERROR
    CRITICAL = logging.CRITICAL

    @classmethod
    def of(cls, name: str | int) -> LogLevel:
        """Return the level of a name in any case, `WARNING` and `FATAL` too, or of a number.

        Raises ValueError that says which levels there are.
        """
        try:
            return cls(name) if isinstance(name, int) else cls[_ALIASES.get(name.upper(), name.upper())]
        except (ValueError, KeyError, AttributeError):
            raise ValueError(f"expected one of {', '.join(cls.__members__)}, got {name!r}") from None


class LogCategory(StrEnum):
    """What a record is about; the collector treats `audit` and `security` with special care."""

    SYSTEM = "system"
    SECURITY = "security"
    AUDIT = "audit"
    PERFORMANCE = "performance"
    BUSINESS = "business"
    AI_OPERATIONS = "ai_operations"
    USER_ACTIVITY = "user_activity"
    API_ACCESS = "api_access"
    DATA_PROCESSING = "data_processing"
    INTEGRATION = "integration"


_ALIASES: Final = {"WARNING": "WARN", "FATAL": "CRITICAL"}

"""Types that several sections of the configuration share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from theodore_otel.redaction.matcher import Matcher
from theodore_otel.redaction.presets import load as redaction_rules

Signal = Literal["traces", "logs", "metrics"]
Category = Literal[
    "system",
    "security",
    "audit",
    "performance",
    "business",
    "ai_operations",
    "user_activity",
    "api_access",
    "data_processing",
    "integration",
]
Level = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL"]
TenantId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,62}$")]
ServiceId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,58}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


_REFUSED = (
    "expected an address without user and password or a key in it (api_key, token, headers, username and password take "
    "them, by reference; an @ in a path is written %40), got one with"
)


# Both are asked before the pattern: the address must not be repeated in a message, because it holds the secret.
def _without_user(address: Any) -> Any:
    if isinstance(address, str) and _names_user(address):
        raise ValueError(_REFUSED)
    return address


def _without_secrets(address: Any) -> Any:
    if isinstance(address, str) and (_names_user(address) or _holds_secret(address)):
        raise ValueError(_REFUSED)
    return address


def _names_user(address: str) -> bool:
    return "@" in re.split(r"[?#]", address, maxsplit=1)[0]


def _holds_secret(address: str) -> bool:
    query = address.partition("?")[2].replace("#", "&") or address.partition("#")[2]
    if not query:
        return False
    matcher = Matcher(redaction_rules().settings())
    return matcher.text(query) != query or any(matcher.key(name) for name, _ in parse_qsl(query))


Address = Annotated[str, BeforeValidator(_without_secrets), Field(min_length=1)]
HostPort = Annotated[
    str,
    BeforeValidator(_without_secrets),
    Field(pattern=r"^[^\s:/]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$", examples=["127.0.0.1:4318"]),
]
_URL = r"^https?://[^\s/]+"
Url = Annotated[str, BeforeValidator(_without_secrets), Field(pattern=_URL)]
Page = Annotated[str, BeforeValidator(_without_user), Field(pattern=_URL)]
"""A URL whose query may hold whatever the page wants."""
Rate = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A mapping of the file: unknown keys are refused, types are taken as written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Secret(Section):
    """A reference to a secret, never the secret itself."""

    env: str | None = Field(
        None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Environment variable that holds it."
    )
    file: str | None = Field(None, min_length=1, description="File that holds it; trimmed when read.")

    @model_validator(mode="before")
    @classmethod
    def _only_a_reference(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            # The value itself must not be repeated in the message: it is probably the secret.
            raise ValueError("expected a reference such as {env: NAME} or {file: PATH}, got a value in clear")  # noqa: TRY004
        return value

    @field_validator("file")
    @classmethod
    def _is_no_reference(cls, value: str | None) -> str | None:
        # The collector's syntax has no way to write these in the name of a file.
        if value is not None and (set("${}") & set(value) or not value.isprintable()):
            raise ValueError("expected a path of printable characters without $, { and }")
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("expected exactly one of env and file")
        return self


class Tls(Section):
    """TLS of one connection or listener."""

    enabled: bool = Field(True, description="false sends in clear text.")
    ca_file: str | None = Field(None, description="Certificate authority that signed the other side, PEM.")
    cert_file: str | None = Field(None, description="Own certificate, PEM.")
    key_file: str | None = Field(None, description="Own private key, PEM.")
    insecure_skip_verify: bool = Field(False, description="true accepts any certificate: for tests only.")

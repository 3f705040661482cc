"""Who is told of alerts: one model per type of channel."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from theodore_otel.config.base import HostPort, Secret, Section, Url

PhoneNumber = Annotated[str, Field(pattern=r"^\+[1-9]\d{6,14}$", examples=["+4915112345678"])]
MailAddress = Annotated[str, Field(pattern=r"^[^\s@<>]+@[^\s@<>]+$", examples=["oncall@example.com"])]


class _Channel(Section):
    resolved: bool = Field(True, description="Whether the end of an alert is told too.")


class Email(_Channel):
    """E-mail over SMTP."""

    type: Literal["email"]
    smtp: HostPort = Field(description="host:port of the mail server.")
    sender: MailAddress = Field(alias="from", description="Address it comes from.")
    to: list[MailAddress] = Field(min_length=1, description="Addresses it goes to.")
    username: str | None = Field(None, min_length=1, description="User name at the mail server.")
    password: Secret | None = Field(None, description="Password of that user, by reference.")
    require_tls: bool = Field(True, description="false sends in clear text where the server has no STARTTLS.")

    @model_validator(mode="after")
    def _user_and_password(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("expected both username and password, or neither")
        return self


class Slack(_Channel):
    """A channel of Slack, by an incoming webhook."""

    type: Literal["slack"]
    url: Secret = Field(description="Address of the incoming webhook, by reference: it is a secret.")
    channel: str | None = Field(None, min_length=1, description="Channel; the webhook's own when empty.")


class Webhook(_Channel):
    """Any HTTP endpoint; it gets Alertmanager's JSON."""

    type: Literal["webhook"]
    url: Secret = Field(description="Address, by reference.")
    token: Secret | None = Field(None, description="Bearer token, by reference.")


class Sms(_Channel):
    """Text messages by Amazon SNS; credentials come from the AWS environment of Alertmanager."""

    type: Literal["sms"]
    to: list[PhoneNumber] = Field(min_length=1, description="Phone numbers in the form of E.164.")
    region: str = Field(pattern=r"^[a-z0-9-]+$", description="AWS region.", examples=["eu-central-1"])
    role_arn: str | None = Field(None, min_length=1, description="Role that is taken for sending.")
    profile: str | None = Field(None, min_length=1, description="Profile of the AWS environment.")
    api_url: Url | None = Field(None, description="Address in the place of the region's own, for a proxy.")
    resolved: bool = Field(False, description="Whether the end of an alert is told too.")


class PagerDuty(_Channel):
    """PagerDuty, Events API version 2."""

    type: Literal["pagerduty"]
    key: Secret = Field(description="Integration key, by reference.")
    url: Url | None = Field(None, description="Address in the place of PagerDuty's own, for a proxy.")


AnyChannel = Email | Slack | Webhook | Sms | PagerDuty
Channel = Annotated[AnyChannel, Field(discriminator="type")]
TYPES: tuple[str, ...] = tuple(
    get_args(model.model_fields["type"].annotation)[0] for model in (Email, Slack, Webhook, Sms, PagerDuty)
)


def secrets(channel: AnyChannel) -> list[Secret]:
    """Return the secrets a channel refers to."""
    values = (getattr(channel, name) for name in type(channel).model_fields)
    return [value for value in values if isinstance(value, Secret)]

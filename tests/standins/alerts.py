"""Where alerts are sent to: Slack, PagerDuty, a webhook of one's own, a mail server, Amazon SNS."""

from __future__ import annotations

import email
import email.message
import json
from typing import Any, Self

import moto.backends
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from moto.server import ThreadedMotoServer
from support.ports import free_ports

from standins.http import HttpStandIn, Request, WireError, expect


class _Json(HttpStandIn):
    """Takes JSON at one path."""

    path = "/"

    def take(self, request: Request) -> tuple[int, object]:
        expect("method", request.method, "POST")
        expect("path", request.path, self.path)
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise WireError(f"content-type: expected JSON, got {request.headers.get('content-type')!r}")
        return self.check(json.loads(request.body), request)

    def check(self, message: dict[str, Any], request: Request) -> tuple[int, object]:
        return 200, {}

    def messages(self) -> list[dict[str, Any]]:
        """Return what it took, the oldest first."""
        return [json.loads(request.body) for request in self.accepted]


class Slack(_Json):
    """An incoming webhook; its path is the secret."""

    path = "/services/T000/B000/secret-of-the-webhook"

    def check(self, message: dict[str, Any], request: Request) -> tuple[int, object]:
        for attachment in message["attachments"]:
            if not attachment["title"] or not attachment["text"]:
                raise WireError(f"attachment: expected a title and a text, got {attachment}")
        return 200, {"ok": True}


class PagerDuty(_Json):
    """Events API version 2."""

    path = "/v2/enqueue"

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def check(self, message: dict[str, Any], request: Request) -> tuple[int, object]:
        expect("routing_key", message["routing_key"], self.key)
        if message["event_action"] not in ("trigger", "acknowledge", "resolve"):
            raise WireError(f"event_action: got {message['event_action']!r}")
        payload = message["payload"]
        if payload["severity"] not in ("critical", "error", "warning", "info"):
            raise WireError(f"severity: got {payload['severity']!r}")
        if not 0 < len(payload["summary"]) <= 1024 or not payload["source"]:
            raise WireError(f"payload: expected a summary and a source, got {payload}")
        return 202, {"status": "success", "message": "Event processed", "dedup_key": message["dedup_key"]}


class Webhook(_Json):
    """Takes what Alertmanager posts, from who has the token."""

    path = "/alerts"

    def __init__(self, token: str | None = None) -> None:
        super().__init__()
        self.token = token

    def check(self, message: dict[str, Any], request: Request) -> tuple[int, object]:
        expect("version", message["version"], "4")
        if self.token:
            request.expect("authorization", f"Bearer {self.token}")
        return 200, {}

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Return the alerts it was told of that have these labels."""
        told = [alert for message in self.messages() for alert in message["alerts"]]
        return [alert for alert in told if labels.items() <= alert["labels"].items()]


class Mail:
    """A mail server that wants a user and a password, and keeps what it gets."""

    def __init__(self, username: str, password: str) -> None:
        self.mails: list[email.message.Message] = []
        self.recipients: list[list[str]] = []
        self._known = (username.encode(), password.encode())
        (self.port,) = free_ports(1)
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            auth_required=True,
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN"],  # it asks in other words than Alertmanager answers
            authenticator=self._authenticate,
        )

    def _authenticate(self, server: object, session: object, envelope: object, kind: str, data: object) -> AuthResult:
        known = isinstance(data, LoginPassword) and (data.login, data.password) == self._known
        return AuthResult(success=known)

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        self.recipients.append(envelope.rcpt_tos)
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 OK"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._controller.stop()


class Sns:
    """Amazon SNS, as moto's server has it."""

    region = "eu-central-1"
    account = "123456789012"

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._server = ThreadedMotoServer("127.0.0.1", port, verbose=False)

    def texts(self) -> list[tuple[str, str]]:
        """Return number and text of every message."""
        backend = moto.backends.get_backend("sns")[self.account][self.region]
        return [tuple(message[:2]) for message in backend.sms_messages.values()]

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()
        self._server._server.server_close()  # moto leaves the port open.

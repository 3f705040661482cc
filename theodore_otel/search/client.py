"""The official client, connected as a destination says, and errors that name the destination and no secret."""

from __future__ import annotations

import base64
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from theodore_otel.config.destinations import Elasticsearch as Destination
from theodore_otel.errors import CheckFailedError, DownError, InputError
from theodore_otel.otelcol.secrets import read_secret
from theodore_otel.redaction.matcher import MASK, Matcher
from theodore_otel.redaction.presets import load as redaction_rules

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_NOT_ITS_ANSWER = "answers, but not as Elasticsearch does"
_ODD = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)
_DEEPEST = 20
_LONGEST_READ = 10_000
_LONGEST_REASON = 300
_PAUSE = 1.0
"""Seconds between two questions whether it is up."""


def connect(name: str, destination: Destination, environment: Mapping[str, str]) -> Elasticsearch:
    """Return a client for a destination; nothing is sent yet.

    Raises:
        InputError: when the client is not installed, a secret cannot be had, or a TLS file cannot be used.
    """
    try:
        from elasticsearch import Elasticsearch, ElasticsearchWarning

        from theodore_otel.search.node import BoundedNode
    except ImportError as error:
        raise InputError("Elasticsearch's client is not installed: pip install 'theodore-otel[servers]'") from error
    # What the client and the server warn of is nothing to do here, and would stand between our own lines.
    logging.getLogger("elastic_transport").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", category=ElasticsearchWarning)
    key = destination.api_key
    api_key = read_secret(key, environment, f"destinations.{name}.api_key") if key else None
    return Elasticsearch(
        destination.endpoints,
        api_key=api_key,
        node_class=BoundedNode,
        max_retries=1,
        request_timeout=30,
        **_tls(name, destination),
    )


def _tls(name: str, destination: Destination) -> dict[str, Any]:
    """Return the client's TLS options; a plain address takes none."""
    if not any(endpoint.startswith("https:") for endpoint in destination.endpoints):
        return {}
    import ssl

    tls = destination.tls
    at = f"destinations.{name}.tls"
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        files = ", ".join(file for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{at}: expected files in PEM form, could not use {files}: {why}") from None
    if tls.insecure_skip_verify:
        # Of a context that trusts everything the client makes one that does not.
        own = {"client_cert": tls.cert_file, "client_key": tls.key_file} if tls.cert_file else {}
        return {"verify_certs": False, "ssl_show_warn": False, **own}
    return {"ssl_context": context}


def wait_until_up(
    client: Elasticsearch, name: str, destination: Destination, seconds: float, say: Callable[[str], None]
) -> None:
    """Wait until the cluster answers that it can be used, for at most so many seconds; `say` is told when it has to.

    Raises:
        DownError: when it does not.
        InputError: when waiting would not help: wrong credentials, a certificate that is not trusted.
    """
    where = ", ".join(destination.endpoints)
    deadline = time.monotonic() + seconds
    waiting = False
    while True:
        why = _why_not_up(client, name, destination)
        if why is None:
            return
        if time.monotonic() >= deadline:
            raise DownError(f"destinations.{name}: Elasticsearch at {where} does not answer: {why}")
        if not waiting:
            say(f"{name}: waiting for {where}, at most {seconds:g} s")
            waiting = True
        time.sleep(min(_PAUSE, max(deadline - time.monotonic(), 0)))


def _why_not_up(client: Elasticsearch, name: str, destination: Destination) -> str | None:
    from elastic_transport import ConnectionError as NoConnectionError
    from elastic_transport import ConnectionTimeout, TlsError, TransportError
    from elasticsearch import ApiError

    asked = client.options(request_timeout=5, max_retries=0, retry_on_status=())
    try:
        with told(name, destination):
            asked.cluster.health(master_timeout="4s")
    except TlsError as error:
        raise InputError(
            f"destinations.{name}.tls: the server's certificate is not trusted: {_reason(error)}"
        ) from None
    except ConnectionTimeout:
        return "no answer within 5 s"
    except NoConnectionError as error:
        return _reason(error)
    except ApiError as error:
        return f"status {error.status_code}"
    except (TransportError, *_ODD):
        return _NOT_ITS_ANSWER
    return None


@contextmanager
def told(name: str, destination: Destination) -> Iterator[None]:
    """Turn answers that no waiting helps against into errors that say what to change."""
    from elasticsearch import AuthenticationException, AuthorizationException, UnsupportedProductError

    at = f"destinations.{name}"
    try:
        yield
    except AuthenticationException:
        given = f"{at}.api_key was refused" if destination.api_key else f"it wants {at}.api_key"
        raise InputError(f"{at}: Elasticsearch does not let us in (401): {given}") from None
    except AuthorizationException as error:
        raise InputError(f"{at}.api_key: it may not do this (403): {explained(error, destination)}") from None
    except UnsupportedProductError:
        raise CheckFailedError(f"{at}: {', '.join(destination.endpoints)} is not Elasticsearch") from None


@contextmanager
def working(name: str, destination: Destination) -> Iterator[None]:
    """Turn what goes wrong while it works into errors that are told in one message."""
    from elastic_transport import SerializationError, TransportError
    from elasticsearch import ApiError

    try:
        with told(name, destination):
            yield
    except ApiError as error:
        raise CheckFailedError(
            f"destinations.{name}: Elasticsearch refused: {explained(error, destination)} ({error.status_code})"
        ) from None
    except (SerializationError, UnexpectedAnswerError, RecursionError):
        where = ", ".join(destination.endpoints)
        raise CheckFailedError(f"destinations.{name}: Elasticsearch at {where} {_NOT_ITS_ANSWER}") from None
    except TransportError as error:
        where = ", ".join(destination.endpoints)
        raise DownError(f"destinations.{name}: Elasticsearch at {where} went away: {_reason(error)}") from None


def explained(error: Any, destination: Destination) -> str:
    """Return the innermost reason that the server gave for a refusal, in one line, without the key it may repeat."""
    body = error.body
    reason = body.get("error") if isinstance(body, Mapping) else body
    for _ in range(_DEEPEST):
        if not isinstance(reason, Mapping):
            break
        cause = reason.get("caused_by")
        reason = cause if isinstance(cause, Mapping) and cause.get("reason") else reason.get("reason")
    said = reason if isinstance(reason, str) and reason.strip() else str(error.message)
    return _shown(said, destination)


def _shown(text: str, destination: Destination) -> str:
    for secret in _secrets(destination):
        text = text.replace(secret, MASK)
    text = Matcher(redaction_rules().settings()).text(text[:_LONGEST_READ])
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_REASON]


def _secrets(destination: Destination) -> list[str]:
    """Return the API key as it is sent, and the two halves it is made of."""
    if destination.api_key is None:
        return []
    try:
        key = read_secret(destination.api_key, os.environ, "api_key")
    except InputError:
        return []
    try:
        plain = base64.b64decode(key, validate=True).decode()
    except ValueError:
        plain = key
    return sorted({key, plain, *plain.split(":")} - {""}, key=len, reverse=True)


class UnexpectedAnswerError(Exception):
    """The server answered, but not as Elasticsearch does."""


@contextmanager
def read_answer() -> Iterator[None]:
    """Tell an answer of another form than Elasticsearch's; nothing but answers is looked at inside.

    Raises:
        UnexpectedAnswerError: when what was looked for is not there.
    """
    try:
        yield
    except _ODD as error:
        raise UnexpectedAnswerError from error


def known(ask: Callable[[], Any], nothing: Any) -> Any:
    """Return what the server answers; `nothing` when there is no such thing."""
    from elasticsearch import NotFoundError

    try:
        return ask().body
    except NotFoundError:
        return nothing


def _reason(error: Any) -> str:
    """Return the inner reason of a failed connection in one line."""
    inner = [str(each) for each in getattr(error, "errors", ())] or [str(error.message)]
    return "".join(c if c.isprintable() else " " for c in inner[-1].partition("\n")[0])[:_LONGEST_REASON]

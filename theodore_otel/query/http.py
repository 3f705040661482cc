"""One question over HTTP, bounded in time and size whatever it is that answers."""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

_LARGEST = 32 * 2**20


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    body: bytes


class NoAnswerError(Exception):
    """Nothing answered, or nothing that is HTTP; the message says why."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Go nowhere else: who was asked has to answer."""


def get(url: str, seconds: float) -> Answer:
    """Return the answer to a GET request.

    Raises:
        NoAnswerError: when there is none within the time, or one that is too long.
    """
    found: list[Answer | NoAnswerError] = []
    # In a thread: a timeout of the socket begins anew with every byte.
    asking = Thread(target=lambda: found.append(_asked(url, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    answer = found[0] if found else NoAnswerError(f"no whole answer within {seconds:g} s")
    if isinstance(answer, NoAnswerError):
        raise answer
    return answer


def _asked(url: str, seconds: float) -> Answer | NoAnswerError:
    # A proxy speaks for others, not for this machine.
    own = urllib.request.ProxyHandler({} if _is_loopback(url) else None)
    try:
        with urllib.request.build_opener(own, _NoRedirects()).open(url, timeout=seconds) as answer:
            return _read(answer, answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error, error.code)
    except urllib.error.URLError as error:
        return NoAnswerError(str(error.reason) or type(error.reason).__name__)
    except (OSError, HTTPException, ValueError) as error:
        return NoAnswerError(str(error) or type(error).__name__)


def _read(answer: Any, status: int) -> Answer | NoAnswerError:
    try:
        body = answer.read(_LARGEST + 1)
    except (OSError, HTTPException, ValueError) as error:
        return NoAnswerError(str(error) or type(error).__name__)
    return Answer(status, body) if len(body) <= _LARGEST else NoAnswerError(f"more than {_LARGEST >> 20} MiB")


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Questions to servers that speak JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any


def ask(method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
    """Send one request and return the JSON answer; an HTTPError notes what was asked and what the server said."""
    request = urllib.request.Request(
        url,
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.add_note(f"{url}: {error.read().decode(errors='replace')}")
        raise

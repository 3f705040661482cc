"""A page reader in another layer, which uses urllib3 and not requests."""

from __future__ import annotations

import re

import urllib3

_POOL = urllib3.PoolManager(maxsize=10, retries=False, timeout=30)
_TAG = re.compile(r"<[^>]+>")


class PageError(Exception):
    """A page could not be read."""


class PageReader:
    """Reads pages as text."""

    def read(self, url: str) -> str:
        """Return the text of one page."""
        response = _POOL.request("GET", url)
        if response.status != 200:
            raise PageError(f"{url} answered {response.status}")
        return _TAG.sub(" ", response.data.decode("utf-8", "replace")).strip()

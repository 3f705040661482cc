"""A small vector store in one file per tenant: hashed words for vectors, cosine for likeness."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

_DIMENSIONS = 64


def embed(text: str) -> list[float]:
    """Return a vector of length one for a text; the same text always gives the same vector."""
    vector = [0.0] * _DIMENSIONS
    for word in text.lower().split():
        digest = hashlib.sha256(word.encode()).digest()
        vector[digest[0] % _DIMENSIONS] += 1.0 if digest[1] % 2 else -1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def similarity(one: list[float], other: list[float]) -> float:
    """Return the cosine of two vectors of length one."""
    return sum(a * b for a, b in zip(one, other, strict=True))


class VectorStore:
    """The companies of one tenant."""

    def __init__(self, folder: Path, tenant: str = "default") -> None:
        self.path = folder / f"{tenant}.json"

    def upsert(self, company_id: str, text: str, details: dict[str, Any]) -> int:
        """Write one company and return how many bytes the store has now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another run would overwrite what this one adds
            companies = self._read()
            companies[company_id] = {"vector": embed(text), "details": details}
            return self._write(companies)

    def get(self, company_id: str) -> dict[str, Any] | None:
        """Return the details of one company, or None."""
        company = self._read().get(company_id)
        return company["details"] if company else None

    def find_similar(self, company_id: str, limit: int = 3) -> list[tuple[str, float]]:
        """Return the companies most like one, best first."""
        companies = self._read()
        own = companies[company_id]["vector"]
        others = ((name, similarity(own, entry["vector"])) for name, entry in companies.items() if name != company_id)
        return sorted(others, key=lambda pair: (-pair[1], pair[0]))[:limit]

    def count(self) -> int:
        """Return how many companies the store holds."""
        return len(self._read())

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        companies: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return companies

    def _write(self, companies: dict[str, Any]) -> int:
        data = json.dumps(companies).encode()
        handle, name = tempfile.mkstemp(dir=self.path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, self.path)
        return len(data)

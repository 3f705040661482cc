"""Where things are, from the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path


def model_url() -> str:
    """Return the address that chat completions are posted to."""
    return os.environ.get("THEODORE_MODEL_URL", "https://openrouter.ai/api/v1/chat/completions")


def model_name() -> str:
    """Return the model that chooses pages and distils them."""
    return os.environ.get("THEODORE_MODEL", "anthropic/claude-3.5-haiku")


def model_key() -> str:
    """Return the key of the model API."""
    return os.environ.get("OPENROUTER_API_KEY", "")


def data_folder() -> Path:
    """Return the folder of the vector store."""
    return Path(os.environ.get("THEODORE_DATA", "~/.theodore")).expanduser()


def site_of(company: str) -> str:
    """Return the base address of a company's site; a URL is taken as it is."""
    if "://" in company:
        return company.split("?")[0].rstrip("/")
    base = os.environ.get("THEODORE_SITE_URL")
    name = company_id(company)
    return f"{base.rstrip('/')}/{name}" if base else f"https://www.{name}.com"


def company_id(company: str) -> str:
    """Return the id of a company: its name in lower case with hyphens, or the last part of its URL."""
    name = company.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")

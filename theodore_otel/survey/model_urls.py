"""URLs of model APIs: what knows them already, and what stands in the configuration for one that nobody knows."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from theodore_otel.config.instrument import Instrument
from theodore_otel.config.presets import preset, preset_names


def preset_of(url: str) -> str | None:
    """Return the preset that knows a URL, empty for one that is known without any; None where nothing does."""
    if any(re.match(api.url, url) for api in Instrument().model_apis):
        return ""
    for name in preset_names():
        if any(re.match(api["url"], url) for api in preset(name).instrument.get("model_apis", [])):
            return name
    return None


def described(url: str) -> tuple[str, str, dict[str, Any]]:
    """Return pattern, reason and fields of an entry under `instrument.model_apis`."""
    host = urlsplit(url).hostname or "model"
    name = next((part for part in reversed(host.split(".")[:-1]) if part), host)
    return re.escape(url), f"{host} is called as a model API is", {"name": name, "provider": name}

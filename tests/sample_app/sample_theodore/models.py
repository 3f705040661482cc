"""Calls of a language model the way Theodore makes them: plain `requests.post`."""

from __future__ import annotations

import logging
from typing import Any

import requests

from sample_theodore import settings
from sample_theodore.planted import MESSAGE_API_KEY

log = logging.getLogger("sample_theodore.ai")


class ModelError(Exception):
    """The model API did not answer as it should."""


class ModelClient:
    """A client of an OpenRouter-shaped API."""

    def __init__(self, api_key: str | None = None) -> None:
        self.api_key = api_key or settings.model_key()

    def complete(self, prompt: str, model: str | None = None) -> str:
        """Return the model's answer to one prompt."""
        answer = self.ask(prompt, model or settings.model_name())
        text: str = answer["choices"][0]["message"]["content"]
        return text

    def ask(self, prompt: str, model: str) -> dict[str, Any]:
        """Return the whole JSON answer to one prompt."""
        response = requests.post(
            settings.model_url(),
            headers={"Authorization": f"Bearer {self.api_key}"},
            json={"model": model, "messages": [{"role": "user", "content": prompt}]},
            timeout=30,
        )
        if response.status_code != 200:
            raise ModelError(f"model API answered {response.status_code}, api_key={MESSAGE_API_KEY}")
        log.info("model %s answered", model)
        answer: dict[str, Any] = response.json()
        return answer

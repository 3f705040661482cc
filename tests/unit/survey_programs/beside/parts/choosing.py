import os
from dataclasses import dataclass

import requests


@dataclass
class Choice:
    success: bool
    paths: list
    error: str | None = None


class Router:
    def __init__(self):
        self.key = os.environ.get("ROUTER_KEY", "")

    def ask(self, prompt, model="house/model", max_tokens=4000):
        answer = requests.post(
            "https://openrouter.ai/api/v1/chat/completions",
            headers={"Authorization": f"Bearer {self.key}"},
            json={"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens},
            timeout=120,
        )
        return answer.json()["choices"][0]["message"]["content"]


def make_prompt(paths, domain):
    return f"Choose among {len(paths)} paths of {domain}"


def choose_paths_sync(paths, base_url):
    try:
        return Choice(True, Router().ask(make_prompt(paths, base_url)).split())
    except Exception as error:
        return Choice(False, [], str(error))

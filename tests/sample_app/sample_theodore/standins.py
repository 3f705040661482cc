"""Loopback stand-ins for company sites and the model API.

`python -m sample_theodore.standins --port-file F` serves until stopped; with `--port 8090 -- theodore serve` it serves
beside that command, which runs in its place.

How a site behaves follows from the company's name: `failing...` answers 500, `slow...` takes `--delay` seconds for
a page, `nositemap...` has no sitemap, the model refuses what is said of `refused...`; every other site is healthy.
`/_record` tells every request received with its headers.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sample_theodore.planted import URL_TOKEN

PAGES = 12
MODEL_PATH = "/api/v1/chat/completions"


def usage_of(prompt: str, answer: str) -> dict[str, int]:
    """Return the usage for a prompt and its answer: one token a word."""
    counts = len(prompt.split()), len(answer.split())
    return {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)}


def answer_to(prompt: str) -> str:
    """Return what the model says: ten of the links it is given, or a short summary."""
    if prompt.startswith("Choose"):
        return json.dumps([line for line in prompt.splitlines() if line.startswith("http")][:10])
    return f"A company that makes fine things, told in {len(prompt.split())} words."


class Standins(ThreadingHTTPServer):
    """One server for all sites and the model API."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str = "127.0.0.1", delay: float = 0.2, port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.delay = delay
        self.record: list[dict[str, Any]] = []
        self.usage: list[dict[str, Any]] = []
        self.most_at_once = 0
        self._slow = 0
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """The base address of the server."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What the sample program needs in its environment to use the stand-ins."""
        return {"THEODORE_SITE_URL": f"{self.address}/sites", "THEODORE_MODEL_URL": f"{self.address}{MODEL_PATH}"}

    def dawdle(self) -> None:
        """Take `delay` seconds, and remember how many requests did so at once."""
        with self._lock:
            self._slow += 1
            self.most_at_once = max(self.most_at_once, self._slow)
        time.sleep(self.delay)
        with self._lock:
            self._slow -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Standins

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path == "/_record":
            self._json(200, {"requests": self.server.record, "usage": self.server.usage})
            return
        self._note()
        parts = self.path.split("?")[0].split("/", 3)
        if len(parts) == 4 and parts[1] == "sites":
            self._site(parts[2], parts[3])
        else:
            self._text(404, "nothing here")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._note()
        if self.path.split("?")[0] == MODEL_PATH:
            self._model(json.loads(body))
        else:
            self._text(404, "nothing here")

    def _site(self, company: str, page: str) -> None:
        if company.startswith("failing"):
            self._text(500, "out of order")
        elif page == "robots.txt":
            self._text(200, "User-agent: *\nAllow: /\n")
        elif page == "sitemap.xml" and company.startswith("nositemap"):
            self._text(404, "no sitemap")
        elif page == "sitemap.xml":
            self._text(200, self._sitemap(company))
        else:
            if company.startswith("slow") and self.command == "GET":
                self.server.dawdle()
            self._text(200, f"<h1>{company}</h1><p>Page {page or 'home'} tells of {company} and its things.</p>")

    def _sitemap(self, company: str) -> str:
        base = f"{self.server.address}/sites/{company}"
        links = (f"<url><loc>{base}/page-{n}?token={URL_TOKEN}</loc></url>" for n in range(1, PAGES + 1))
        return f"<urlset>{''.join(links)}</urlset>"

    def _model(self, request: dict[str, Any]) -> None:
        prompt = "\n".join(message["content"] for message in request["messages"])
        if "refused" in prompt:
            self._json(429, {"error": {"message": "too many requests", "code": 429}})
            return
        answer = answer_to(prompt)
        usage = usage_of(prompt, answer)
        self.server.usage.append({"model": request["model"], **usage})
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._json(200, {"id": "gen-1", "model": request["model"], "choices": [choice], "usage": usage})

    def _note(self) -> None:
        entry = {"method": self.command, "path": self.path, "headers": dict(self.headers.items())}
        self.server.record.append(entry)

    def _json(self, status: int, content: object) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _text(self, status: int, content: str) -> None:
        self._send(status, "text/html; charset=utf-8", content.encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the record tells it."""


@contextmanager
def running(delay: float = 0.2) -> Iterator[Standins]:
    """Run the stand-ins in a thread of this process."""
    server = Standins(delay=delay)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve until stopped. The port file tells, as JSON, what to put in the environment and where the record is."""
    parser = argparse.ArgumentParser(prog="sample_theodore.standins")
    parser.add_argument("--port-file", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--delay", type=float, default=0.2, help="seconds a page of a slow site takes")
    parser.add_argument("command", nargs="*", help="command that is run with the stand-ins in its environment")
    options = parser.parse_args()
    server = Standins(options.host, options.delay, options.port)
    if options.port_file:
        told = {**server.environment, "record": f"{server.address}/_record"}
        draft = options.port_file.with_suffix(".draft")
        draft.write_text(json.dumps(told), encoding="utf-8")
        os.replace(draft, options.port_file)
    if options.command and os.fork():
        server.server_close()
        os.execvpe(options.command[0], options.command, {**os.environ, **server.environment})
    server.serve_forever()


if __name__ == "__main__":
    main()

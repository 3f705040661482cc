"""Cost and use of the product through the real collector: what was streamed, cached, asked for, and by whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from support.collector import Collector, wait_for
from support.ports import free_ports

from theodore_otel.config import load_text
from theodore_otel.conventions import names
from theodore_otel.render import render

BIN = Path(sys.executable).parent
KEY = "the-key-of-the-users-hashes"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 600}}
PRICE = {"input_per_million": 100.0, "output_per_million": 1000.0, "cached_input_per_million": 10.0}
COST = (400 * 100.0 + 600 * 10.0 + 50 * 1000.0) / 1e6

APP = """
import json, os, sys
import click, requests
from fastapi import FastAPI

def ask(model, stream):
    body = {"model": model, "stream": stream}
    with requests.post(os.environ["MODEL_URL"], json=body, stream=stream, timeout=30) as response:
        return b"".join(response.iter_lines()) if stream else response.json()

def execute(company, model):
    ask(model, True)
    ask(model, False)
    return {"state": "lost" if company == "Lost" else "done", "pages": [1, 2]}

def find_company(name):
    raise LookupError(name)

@click.group()
def cli(): pass

@cli.command()
@click.argument("company")
@click.option("--model", default="house-1")
def research(company, model):
    execute(company, model)
    try:
        find_company(company)
    except LookupError:
        pass

@cli.command()
@click.argument("port", type=int)
def serve(port):
    import uvicorn
    uvicorn.run(app, port=port)

app = FastAPI()

@app.get("/companies/{company}")
def company(company: str):
    return [company]

@app.get("/health")
def health():
    return "ok"

if __name__ == "__main__":
    cli()
"""


class Model(BaseHTTPRequestHandler):
    """Answers as an OpenAI-compatible API does, at once or as a stream."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        event = {"model": asked["model"], "choices": [], "usage": USAGE}
        body = json.dumps(event).encode()
        if asked["stream"]:
            body = b'data: {"model": "%s", "choices": [{}]}\n\n' % asked["model"].encode() * 20
            body += b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if asked["stream"] else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class World:
    """A collector, a model and a program that uses both."""

    def __init__(self, folder: Path, model_url: str) -> None:
        self.folder = folder
        (folder / "app.py").write_text(APP)
        configuration = {
            "profile": "local",
            "destinations": {"scrape": {"type": "prometheus"}},
            "instrument": {
                "exit_budget": "60s",
                "presets": ["click", "fastapi", "pinecone", "openai-http"],
                "model_apis": [{"name": "house", "url": r"http://127\.0\.0\.1:\d+/api/chat", "provider": "house"}],
                "prices": {"house-1": PRICE},
                "analytics": {"key": {"env": "USERS_KEY"}, "features": {"research": ["research", "/companies/*"]}},
                "watch": {
                    "research": [
                        {
                            "function": "app:execute",
                            "company": "arg.company",
                            "outcome": {"path": "result.state", "equals": "done"},
                            "pages": "result.pages",
                        }
                    ],
                    "phase": [{"function": "app:find_company", "expected": ["LookupError"]}],
                },
            },
        }
        (folder / "run.py").write_text("import app\napp.cli()\n")
        self.collector = Collector(folder, configuration, ["acme"])
        self.file = folder / "theodore-otel.yaml"
        self.file.write_text(yaml.safe_dump(self.collector.configuration))
        (settings,) = render(load_text(self.file.read_text(), "t"), "t", ["instrument"])
        (folder / "instrument.json").write_text(settings.text)
        self.environment = {
            **os.environ,
            "THEODORE_OTEL_HOME": str(self.collector.home),
            "THEODORE_OTEL_CONFIG": str(folder / "instrument.json"),
            "THEODORE_OTEL_CREDENTIAL": f"acme.1:{self.collector.tokens['acme.1']}",
            "MODEL_URL": f"{model_url}/api/chat",
            "USERS_KEY": KEY,
            "LOGNAME": "carol",
        }

    def command(self, *arguments: str) -> list[str]:
        return [str(BIN / "opentelemetry-instrument"), sys.executable, "run.py", *arguments]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def logs(self, search: str) -> list[dict]:
        """Ask as an operator does."""
        done = subprocess.run(
            [
                BIN / "theodore-otel", "observability", "logs", "-c", self.file, "--search", search,
                "--format", "json", "--limit", "1000",
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def metric(self, name: str, label: str = "") -> dict[str, float]:
        return {k: v for k, v in self.collector.prometheus().items() if k.startswith(name + "{") and label in k}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = World(tmp_path_factory.mktemp("watch"), f"http://127.0.0.1:{server.server_port}")
    made.collector.start()
    yield made
    made.collector.stop()
    server.shutdown()
    server.server_close()


def test_tokens_and_cost_of_streams_and_caches_are_counted_once(world):
    assert world.run("research", "ACME") == ""
    tokens = wait_for(lambda: world.metric("theodore_ai_tokens_total", 'model="house-1"'), 60)
    labels = 'model="house-1",operation="chat",provider="house"'
    (name,) = tokens
    assert labels in name
    assert {part.partition("=")[0] for part in name.partition("{")[2].rstrip("}").split(",")} >= {"tenant", "success"}
    assert "ACME" not in str(world.collector.prometheus())
    assert tokens[name] == 2 * (1000 + 50)  # what came from the cache is part of the input, not more
    (cost,) = world.metric("theodore_ai_cost_total", 'model="house-1"').values()
    assert cost == pytest.approx(2 * COST)

    def calls():
        asked = names.GEN_AI_REQUEST_MODEL
        return [s["attributes"] for _, s in world.collector.spans() if s["attributes"].get(asked) == "house-1"]

    assert len(wait_for(lambda: len(calls()) >= 2 and calls(), 60)) == 2
    assert [call[names.GEN_AI_CACHE_READ_TOKENS] for call in calls()] == ["600", "600"]
    assert [call[names.COMPANY_NAME] for call in calls()] == ["ACME", "ACME"]


def test_what_a_company_cost_is_asked_of_the_log_records(world):
    world.run("research", "Globex")
    (record,) = wait_for(lambda: world.logs("Globex"), 60)
    assert record["message"] == "research succeeded"
    found = record["attributes"]
    assert found[names.CATEGORY] == "business"
    assert found[names.AI_COST] == pytest.approx(2 * COST)
    assert found[names.GEN_AI_INPUT_TOKENS] == 2000


def test_a_model_without_a_price_counts_its_tokens_and_has_no_cost(world):
    world.run("research", "Initech", "--model", "unheard-of")
    tokens = wait_for(lambda: world.metric("theodore_ai_tokens_total", 'model="unheard-of"'), 60)
    assert list(tokens.values()) == [2100]
    assert world.metric("theodore_ai_cost_total", 'model="unheard-of"') == {}
    (told,) = wait_for(lambda: world.logs("unheard-of (house) have no cost"), 60)
    assert told["level"] == "WARN"


def test_a_rule_tells_that_a_research_failed_and_an_expected_exception_is_none(world):
    world.run("research", "Lost")

    def spans(kind):
        return [s for _, s in world.collector.spans() if s["attributes"].get(names.OPERATION_TYPE) == kind]

    (research,) = wait_for(
        lambda: [s for s in spans("research") if s["attributes"].get(names.COMPANY_NAME) == "Lost"], 60
    )
    assert research["status"]["code"] == 2
    assert research["attributes"][names.RESEARCH_PAGES] == "2"
    (phase,) = wait_for(lambda: [s for s in spans("phase") if s["traceId"] == research["traceId"]], 60)
    assert phase["attributes"][names.SUCCESS] is True
    assert phase.get("status", {}).get("code", 0) == 0


def test_every_command_and_request_is_one_record_with_a_hash_for_its_user(world):
    before = len(world.logs("user_activity"))
    world.run("research", "Umbrella")
    world.run("research", "Lost")
    log = (world.folder / "service.log").open("w")
    (port,) = map(str, free_ports(1))
    service = subprocess.Popen(
        world.command("serve", port), cwd=world.folder, env=world.environment, stdout=log, stderr=log
    )
    try:
        address = f"http://127.0.0.1:{port}"

        def healthy():
            try:
                return urllib.request.urlopen(f"{address}/health", timeout=5).status == 200
            except OSError:
                return False

        wait_for(healthy, 60, lambda: (world.folder / "service.log").read_text())
        for user in ("ann", "ann", "bob"):
            request = urllib.request.Request(f"{address}/companies/ACME", headers={"X-User-ID": user})
            urllib.request.urlopen(request, timeout=30)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/wp-login.php", timeout=30)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    records = wait_for(lambda: len(all_ := world.logs("user_activity")) >= before + 5 and all_[before:], 60)
    used = [record["attributes"] for record in records]
    commands = [each for each in used if names.COMMAND in each]
    requests = [each for each in used if names.HTTP_ROUTE in each]
    assert [each[names.SUCCESS] for each in commands] == [True, False]
    assert [each[names.HTTP_ROUTE] for each in requests] == ["/companies/{company}"] * 3
    assert {each[names.FEATURE] for each in used} == {"research"}
    hashes = [each[names.USER_HASH] for each in requests]
    assert hashes[0] == hashes[1] != hashes[2]
    assert commands[0][names.USER_HASH] == commands[1][names.USER_HASH]
    assert not any(name in str(used) for name in ("ann'", "bob", "carol", KEY))

    def counted():
        return sum(world.metric("theodore_log_records_total", 'category="user_activity"').values())

    wait_for(lambda: counted() == before + 5, 60, counted)

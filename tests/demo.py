"""Observe the sample Theodore from end to end and show what arrived: `make demo`, `make demo-clean`.

Two tenants research companies from the command line, one failing and one slow, and through one service process with one
credential. Everything goes through the real collector into the local store and is read back from there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml
from sample_theodore import planted, standins

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("DEMO_FOLDER", ROOT / ".demo"))
STATE = FOLDER / "state"
CONFIG = FOLDER / "theodore-otel.yaml"
BIN = Path(sys.executable).parent


def main() -> None:
    """Run the demo, or remove it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", action="store_true", help="stop the stack and delete what the demo wrote")
    if parser.parse_args().clean:
        clean()
    else:
        demo()


def clean() -> None:
    """Stop the stack and delete the demo's folder."""
    if CONFIG.exists():
        run("stack", "down", "-c", CONFIG)
    shutil.rmtree(FOLDER, ignore_errors=True)
    print("the demo is removed")


def demo() -> None:
    """Run every step and print what a newcomer wants to see."""
    started = time.monotonic()
    if FOLDER.exists():
        clean()
    FOLDER.mkdir()
    CONFIG.write_text(yaml.safe_dump(configuration(), sort_keys=False), encoding="utf-8")
    run("render", "instrument", "-c", CONFIG)

    title("1. Credentials for two tenants and one service, and the local stack")
    credentials = {name: credential(name) for name in ("acme", "globex")}
    credentials["api"] = credential("api", "--service")
    run("stack", "up", "-c", CONFIG)

    with standins.running(delay=0.5) as sites:
        title("2. opentelemetry-instrument theodore research ...: a good, a slow and a failing company")
        for tenant, company in (("acme", "ACME Rockets"), ("globex", "Slow Mills"), ("globex", "Failing Foundry")):
            secret = ["--api-key", planted.OPTION_API_KEY]
            theodore(sites, credentials[tenant], "research", company, "--tenant", tenant, *secret)
        title("3. Both tenants, and one that is not on the list, through one service process with one credential")
        with service(sites, credentials["api"]) as address:
            for tenant, company in (("acme", "Blue Sky"), ("globex", "Green Fields"), ("initech", "Foreign")):
                answer = ask(f"{address}/research/{urllib.request.quote(company)}", tenant)
                print(f"POST /research/{company} as {tenant}: success={answer['success']}")

    settle()
    title("4. What arrived")
    run("observability", "traces", "-c", CONFIG)
    title("5. The failing run: it exited 0, and is an error all the same")
    run("observability", "traces", newest("error"), "-c", CONFIG)
    run("observability", "logs", "--level", "ERROR", "--limit", "3", "-c", CONFIG)
    title("6. A good run as a tree: phases, model calls, tokens, dollars")
    run("observability", "traces", newest("ok"), "-c", CONFIG)
    title("7. Tokens and cost per tenant")
    for metric in ("theodore_ai_tokens_total", "theodore_ai_cost_total", "theodore_companies_researched_total"):
        run("observability", "metrics", "--metric-name", metric, "--by", "tenant", "-c", CONFIG)
    title("8. Planted secrets: sent into logs, URLs, exceptions and arguments; found in anything stored:")
    prove()
    print(f"\nDone in {time.monotonic() - started:.0f} s. The stack still runs; look further with")
    print(f"  export THEODORE_OTEL_HOME={STATE.relative_to(Path.cwd()) if STATE.is_relative_to(Path.cwd()) else STATE}")
    print(f"  {BIN.name}/theodore-otel observability status -c {CONFIG.relative_to(ROOT)}")
    print("and remove everything with `make demo-clean`.")


def configuration() -> dict[str, object]:
    """Return the demo's configuration: the local profile on free ports, and the sample's functions."""
    names = ("grpc", "http", "health", "telemetry", "metrics")
    held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    listen = {name: f"127.0.0.1:{port.getsockname()[1]}" for name, port in zip(names, held, strict=True)}
    for port in held:
        port.close()
    return {
        "version": 1,
        "profile": "local",
        "collector": {"listen": listen},
        "tenants": {"services": {"api": {"may_report": ["acme", "globex"]}}},
        "destinations": {"scrape": {"type": "prometheus"}},
        "instrument": yaml.safe_load((ROOT / "tests/sample_app/watch.yaml").read_text(encoding="utf-8")),
    }


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def run(*arguments: object) -> None:
    """Run one theodore-otel command; its output is the user's."""
    subprocess.run([BIN / "theodore-otel", *map(str, arguments)], env=environment(), check=True)


def output(*arguments: object) -> str:
    """Run one theodore-otel command and return what it prints."""
    command = [BIN / "theodore-otel", "-q", *map(str, arguments)]
    return subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of everything the demo starts."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "THEODORE_OTEL_HOME": str(STATE), **(more or {})}


def credential(name: str, *options: str) -> str:
    """Make a credential and return its `NAME:TOKEN`."""
    made = output("tenant", "add", name, *options).strip().partition("=")[2]
    print(f"{name}: THEODORE_OTEL_CREDENTIAL={made.partition(':')[0]}:...")
    return made


def instrumented(sites: standins.Standins, secret: str) -> dict[str, str]:
    """Return what Theodore needs in its environment: its own settings, and three lines for telemetry."""
    return environment(
        {
            **sites.environment,
            "THEODORE_DATA": str(FOLDER / "data"),
            "THEODORE_OTEL_CONFIG": str(FOLDER / "instrument.json"),
            "THEODORE_OTEL_CREDENTIAL": secret,
        }
    )


def theodore(sites: standins.Standins, secret: str, *arguments: str) -> None:
    """Run Theodore's command line under opentelemetry-instrument."""
    shown = " ".join("..." if word == planted.OPTION_API_KEY else word for word in arguments)
    print(f"$ opentelemetry-instrument theodore {shown}", flush=True)
    command = [BIN / "opentelemetry-instrument", BIN / "theodore", *arguments]
    done = subprocess.run(command, env=instrumented(sites, secret), capture_output=True, text=True)
    print(f"{done.stdout.strip()}  (exit code {done.returncode})")


@contextmanager
def service(sites: standins.Standins, secret: str) -> Iterator[str]:
    """Run Theodore's service under opentelemetry-instrument and yield its address."""
    port_file = FOLDER / "service.address"
    command = [BIN / "opentelemetry-instrument", BIN / "theodore", "serve", "--port-file", port_file]
    with (FOLDER / "service.log").open("w") as log:
        process = subprocess.Popen(command, env=instrumented(sites, secret), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not port_file.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        yield port_file.read_text(encoding="utf-8")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def ask(url: str, tenant: str) -> dict[str, object]:
    """Ask the service for a research as one of its users."""
    request = urllib.request.Request(url, method="POST", headers={"X-Tenant-ID": tenant, "X-User-ID": "u-1"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        result: dict[str, object] = json.load(answer)
    return result


def settle() -> None:
    """Wait until the collector has decided on every trace and written it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        traces = json.loads(output("observability", "traces", "-c", CONFIG, "--format", "json"))
        if sum(bool(trace["company"]) for trace in traces) >= 5:
            return
        time.sleep(0.5)
    sys.exit("the traces did not arrive within 20 s; see `theodore-otel stack logs`")


def newest(status: str) -> str:
    """Return the id of the newest trace of a command that ended so."""
    found = json.loads(output("observability", "traces", "-c", CONFIG, "--status", status, "--format", "json"))
    researches = [trace for trace in found if trace["company"]]
    return str(researches[0]["trace_id"])


def prove() -> None:
    """Search everything that was stored for the planted secrets; end the demo when one is found."""
    found = 0
    files = [file for file in STATE.rglob("*") if file.is_file()]
    contents = {file: file.read_bytes() for file in files if file.suffix != ".parquet"}
    exported = "".join(
        output("observability", kind, "-c", CONFIG, "--format", "json", "--limit", "100000")
        for kind in ("logs", "traces")
    )
    for secret in planted.EVERYTHING:
        places = [str(file.relative_to(STATE)) for file, content in contents.items() if secret.encode() in content]
        places += ["the store"] if secret in exported else []
        found += len(places)
        print(f"  {secret[:10]}...  {'FOUND in ' + ', '.join(places) if places else 'not found'}")
    print(f"searched {len(files)} files and the store; {exported.count('[REDACTED]')} values masked")
    if found:
        sys.exit("a planted secret arrived")


if __name__ == "__main__":
    main()

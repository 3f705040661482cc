"""Observe the sample Theodore from end to end and show what arrived: `make demo`, `make demo-clean`.

Two tenants research companies from the command line, one failing and one slow, and through one service process with one
credential. Everything goes through the real collector into the local store and is read back from there.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
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
from support.ports import free_ports

ROOT = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("DEMO_FOLDER") or ROOT / ".demo").absolute()
MARK = FOLDER / ".made-by-make-demo"
STATE = FOLDER / "state"
CONFIG = FOLDER / "theodore-otel.yaml"
BIN = Path(sys.executable).parent
SETTLING = 60
"""Seconds that telemetry may take to arrive; two when nothing else runs."""


def main() -> None:
    """Run the demo, or remove it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", action="store_true", help="stop the stack and delete what the demo wrote")
    if parser.parse_args().clean:
        clean()
    else:
        demo()


def clean() -> None:
    """Stop the stack and delete the demo's folder; one that the demo has not made is left alone."""
    if FOLDER.exists() and not (MARK.exists() or FOLDER == ROOT / ".demo" or not any(FOLDER.iterdir())):
        sys.exit(f"{FOLDER}: the demo has not made this folder, so it is not deleted; set DEMO_FOLDER to another")
    if FOLDER.exists():
        run("stack", "down")
    shutil.rmtree(FOLDER, ignore_errors=True)
    print("the demo is removed")


def demo() -> None:
    """Run every step and print what a newcomer wants to see."""
    started = time.monotonic()
    if FOLDER.exists():
        clean()
    FOLDER.mkdir()
    MARK.touch()
    CONFIG.write_text(yaml.safe_dump(configuration(), sort_keys=False), encoding="utf-8")

    title("1. What Theodore's process reads, credentials for two tenants and one service, and the local stack")
    show("render", "instrument", "-c", CONFIG)
    credentials = {name: credential(name) for name in ("acme", "globex")}
    credentials["api"] = credential("api", "--service")
    show("stack", "up", "-c", CONFIG)

    with standins.running(delay=0.5) as sites:
        title("2. From the command line: a good company, a slow one, and one whose site fails")
        for tenant, company in (("acme", "ACME Rockets"), ("globex", "Slow Mills"), ("globex", "Failing Foundry")):
            secret = ["--api-key", planted.OPTION_API_KEY]
            theodore(sites, credentials[tenant], "research", company, "--tenant", tenant, *secret)
        title("3. Through one service with one credential: both its tenants, and one that it may not report")
        with service(sites, credentials["api"]) as address:
            for tenant, company in (("acme", "Blue Sky"), ("globex", "Green Fields"), ("initech", "Foreign Body")):
                answer = ask(f"{address}/research/{urllib.request.quote(company)}", tenant)
                print(f"POST /research/{company}  X-Tenant-ID: {tenant}  ->  success={answer['success']}")

    settle()
    title("4. What arrived; what the service told of initech was refused")
    show("observability", "traces")
    show("observability", "status", "--component", "collector", "--detailed")
    show("observability", "health")
    title("5. The failing run: its exit code was 0, and it is an error all the same")
    show("observability", "traces", newest("error"))
    show("observability", "logs", "--level", "ERROR", "--limit", "3")
    title("6. A good run as a tree: phases, pages, model calls with tokens and dollars")
    show("observability", "traces", newest("ok"))
    title("7. Tokens, dollars and companies per tenant, counted in the collector")
    names = ("theodore_ai_tokens_total", "theodore_ai_cost_total", "theodore_companies_researched_total")
    show("observability", "metrics", *(word for name in names for word in ("--metric-name", name)))
    title("8. Secrets planted in arguments, URLs, exceptions and log lines: is one in anything that was stored?")
    prove()
    print(f"\nDone in {time.monotonic() - started:.0f} s. The stack still runs. To look further:")
    print(f"  export THEODORE_OTEL_HOME={shown(STATE)} PATH={shown(BIN)}:$PATH")
    print("  theodore-otel observability status")
    print("`make demo-clean` stops it and removes everything.")


def configuration() -> dict[str, object]:
    """Return the demo's configuration: the local profile on free ports, and the sample's functions."""
    names = ("grpc", "http", "health", "telemetry", "metrics")
    listen = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
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


def shown(path: Path) -> str:
    """Return a path as it is typed in the folder of the project."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def show(*arguments: object) -> None:
    """Run one theodore-otel command as the user would type it."""
    words = [shown(word) if isinstance(word, Path) else str(word) for word in arguments]
    print(f"\n$ theodore-otel {' '.join(words)}", flush=True)
    run(*arguments)


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
    print(f"\n$ theodore-otel tenant add {' '.join([name, *options])}")
    print(f"THEODORE_OTEL_CREDENTIAL={made.partition(':')[0]}:...")
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
    words = ["..." if word == planted.OPTION_API_KEY else shlex.quote(word) for word in arguments]
    print(f"$ opentelemetry-instrument theodore {' '.join(words)}", flush=True)
    command = [BIN / "opentelemetry-instrument", BIN / "theodore", *arguments]
    done = subprocess.run(command, env=instrumented(sites, secret), capture_output=True, text=True)
    print(f"{done.stdout.strip()}  (exit code {done.returncode})")
    for line in done.stderr.splitlines():
        if line.startswith("theodore-otel:"):
            print(line)


@contextmanager
def service(sites: standins.Standins, secret: str) -> Iterator[str]:
    """Run Theodore's service under opentelemetry-instrument and yield its address."""
    port_file = FOLDER / "service.address"
    command = [BIN / "opentelemetry-instrument", BIN / "theodore", "serve", "--port-file", port_file]
    with (FOLDER / "service.log").open("w") as log:
        process = subprocess.Popen(command, env=instrumented(sites, secret), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
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
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline:
        traces = json.loads(output("observability", "traces", "--format", "json"))
        if sum(bool(trace["company"]) for trace in traces) >= 5:
            return
        time.sleep(0.5)
    sys.exit(f"the traces did not arrive within {SETTLING} s; see `theodore-otel stack logs`")


def newest(status: str) -> str:
    """Return the beginning of the id of the newest trace of a command that ended so."""
    found = json.loads(output("observability", "traces", "--status", status, "--format", "json"))
    return next(str(trace["trace_id"])[:16] for trace in found if trace["name"] == "research")


def prove() -> None:
    """Search everything that was stored for the planted secrets; end the demo when one is found."""
    found = 0
    files = [file for file in STATE.rglob("*") if file.is_file()]
    contents = {file: file.read_bytes() for file in files if file.suffix != ".parquet"}
    exported = "".join(
        output("observability", kind, "--format", "json", "--limit", "100000") for kind in ("logs", "traces")
    )
    for secret in planted.EVERYTHING:
        places = [str(file.relative_to(STATE)) for file, content in contents.items() if secret.encode() in content]
        places += ["the store"] if secret in exported else []
        found += len(places)
        print(f"{secret[:10]}...  {'FOUND in ' + ', '.join(places) if places else 'not found'}")
    print(f"searched {len(files)} files and the store, where [REDACTED] stands {exported.count('[REDACTED]')} times")
    if found:
        sys.exit("a planted secret arrived")


if __name__ == "__main__":
    main()

"""The faults, each a row or more of the table: what is broken, for how long, and what has become of every record."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from backends.servers import Elasticsearch, Kafka
from standins.otlp import OtlpHttp
from support.collector import Collector, wait_for

from faults import places
from faults.ledger import KINDS, Balance, Load, balance
from theodore_otel.config import load_text
from theodore_otel.config.model import Config
from theodore_otel.otelcol import queues

Find = Callable[[str], Counter[int]]
RATES = {"logs": 100, "audit": 40, "traces": 40}
DRAINED = 90.0


@contextmanager
def collecting(folder: Path, destinations: Mapping[str, Any], **collector: Any) -> Iterator[Collector]:
    """Run a collector with these destinations."""
    settings = {**places.SETTINGS, "destinations": destinations}
    settings["collector"] = {**places.SETTINGS["collector"], **collector}
    made = Collector(folder, settings, ["acme"])
    made.start()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def loads(collector: Collector, *kinds: str, **more: Any) -> Iterator[list[Load]]:
    """Send records of these kinds, all when none is named, for the length of a block."""
    with ExitStack() as stack:
        yield [stack.enter_context(Load(collector, kind, RATES[kind], **more)) for kind in kinds or KINDS]


def waiting(collector: Collector) -> float:
    """Return the bytes in all queues."""
    told = places.telemetry(collector.ports["telemetry"])
    return sum(value for name, value in told.items() if name.startswith("otelcol_exporter_queue_size"))


def settled(collector: Collector) -> None:
    """Wait until all that was accepted is decided on and sent."""
    time.sleep(2.5)
    wait_for(lambda: not waiting(collector), DRAINED, lambda: waiting(collector))
    time.sleep(0.5)


def balances(fault: str, sent: list[Load], destination: str, find: Find, **promises: str) -> Iterator[Balance]:
    """Yield the balance of each kind; `promises` are by kind, `kept` where none is given."""
    for load in sent:
        yield balance(fault, load, destination, find(load.kind), promise=promises.get(load.kind, "kept"))


def down(folder: Path) -> Iterator[Balance]:
    """Elasticsearch is killed, then started again; Kafka the same."""
    search = places.server("elasticsearch", folder / "es")
    broker = places.server("kafka", folder / "kafka")
    assert isinstance(search, Elasticsearch)
    assert isinstance(broker, Kafka)
    try:
        destinations = {"search": _search(folder, search), "bus": {"type": "kafka", "brokers": [broker.at("broker")]}}
        with collecting(folder, destinations) as collector:
            with loads(collector) as sent:
                time.sleep(3)
                search.kill()
                broker.kill()
                time.sleep(8)
                broker.start()
                search.start()
                time.sleep(2)
            settled(collector)
            yield from balances("down", sent, "elasticsearch", lambda kind: places.at_elasticsearch(search, kind))
            yield from balances("down", sent, "kafka", lambda kind: places.at_kafka(broker, kind))
    finally:
        search.kill()
        broker.kill()


def hung(folder: Path) -> Iterator[Balance]:
    """Elasticsearch stands still (SIGSTOP) and goes on; an OTLP endpoint beside it is well."""
    search = places.server("elasticsearch", folder / "es")
    assert isinstance(search, Elasticsearch)
    with OtlpHttp({}) as other:
        try:
            with collecting(folder, {"search": _search(folder, search), "other": places.otlp(other)}) as collector:
                with loads(collector) as sent:
                    time.sleep(2)
                    search.signal(signal.SIGSTOP)
                    time.sleep(8)
                    search.signal(signal.SIGCONT)
                    time.sleep(2)
                settled(collector)
                yield from balances("hung", sent, "elasticsearch", lambda kind: places.at_elasticsearch(search, kind))
                once = dict.fromkeys(KINDS, "once")
                yield from balances("hung", sent, "otlp beside", lambda kind: places.at_otlp(other, kind), **once)
        finally:
            search.kill()


def refusing(folder: Path) -> Iterator[Balance]:
    """An OTLP endpoint answers 503, then 429, then is away."""
    with OtlpHttp({}) as endpoint, collecting(folder, {"it": places.otlp(endpoint)}) as collector:
        with loads(collector) as sent:
            for status in (503, 429):
                time.sleep(1)
                endpoint.answer(status)
                time.sleep(4)
                endpoint.answer(None)
            endpoint.stop()
            time.sleep(4)
            endpoint.start()
        settled(collector)
        yield from balances("refusing", sent, "otlp", lambda kind: places.at_otlp(endpoint, kind))


def garbage(folder: Path) -> Iterator[Balance]:
    """What stands before Elasticsearch answers 200 with JSON that is no answer to a bulk request."""
    search = places.server("elasticsearch", folder / "es")
    assert isinstance(search, Elasticsearch)
    try:
        with places.Garbled(search) as proxy:
            destination = {**_search(folder, search), "endpoints": [proxy.url]}
            with collecting(folder, {"search": destination}) as collector:
                with loads(collector) as sent:
                    time.sleep(2)
                    proxy.garbage = b"{}"
                    time.sleep(3)
                    proxy.garbage = None
                    time.sleep(2)
                settled(collector)
                told = dict.fromkeys(KINDS, "told")
                yield from balances("garbage", sent, "es", lambda kind: places.at_elasticsearch(search, kind), **told)
    finally:
        search.kill()


def killed(folder: Path) -> Iterator[Balance]:
    """The collector is killed three times (kill -9), once with its destination away."""
    with OtlpHttp({}) as endpoint, collecting(folder, {"it": places.otlp(endpoint)}) as collector:
        with loads(collector) as sent:
            for round_ in range(3):
                time.sleep(2)
                if round_ == 1:
                    endpoint.answer(503)
                collector.kill()
                collector.start()
            endpoint.answer(None)
            time.sleep(1)
        settled(collector)
        # What the sampler had not decided on is lost, as docs/destinations.md says.
        yield from balances("killed", sent, "otlp", lambda kind: places.at_otlp(endpoint, kind), traces="told")


def stopped(folder: Path) -> Iterator[Balance]:
    """The collector is stopped and started again twice, and reads its configuration again (SIGHUP) twice."""
    with OtlpHttp({}) as endpoint, collecting(folder, {"it": places.otlp(endpoint)}) as collector:
        with loads(collector) as sent:
            for _ in range(2):
                time.sleep(2)
                collector.stop()
                collector.start()
            for _ in range(2):
                time.sleep(2)
                collector.reload()
            time.sleep(2)
        settled(collector)
        yield from balances("stopped, reloaded", sent, "otlp", lambda kind: places.at_otlp(endpoint, kind))


def full(folder: Path) -> Iterator[Balance]:
    """A destination's queue is full; another is well. What is counted is counted once."""
    with OtlpHttp({}) as away, OtlpHttp({}) as well:
        away.answer(503)
        destinations = {"away": places.otlp(away), "well": places.otlp(well), "scrape": {"type": "prometheus"}}
        with collecting(folder, destinations) as collector:
            with loads(collector, "audit") as (audit,):
                big = Load(collector, "logs", 1, batch=100, size=40_000, patience=5)
                for _ in range(60):
                    if _left_out(collector, "away", "log_records"):
                        break
                    big.send()
                for _ in range(5):
                    big.send()
            away.answer(None)
            settled(collector)
            yield balance(
                "queue full",
                big,
                "the full one",
                places.at_otlp(away, "logs"),
                promise="counted",
                counted=int(_left_out(collector, "away", "log_records")),
            )
            for load in (big, audit):
                yield balance("queue full", load, "healthy", places.at_otlp(well, load.kind), promise="once")
            yield balance("queue full", audit, "the full one", places.at_otlp(away, "audit"), promise="once")
            for load, category in ((big, "system"), (audit, "audit")):
                counted = _counted(collector, category)
                found = Counter(dict.fromkeys(sorted(load.acknowledged)[:counted], 1))
                found[load.first] += max(0, counted - len(load.acknowledged))
                yield balance("queue full", load, "its counter", found, promise="once")


def disk(folder: Path) -> Iterator[Balance]:
    """Others fill the disk of the queues, and make room again. Needs root, for a disk of its own."""
    place = folder / "disk"
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m", "tmpfs", place], check=False).returncode:
        return
    try:
        with OtlpHttp({}) as away, OtlpHttp({}) as well:
            destinations = {"away": places.otlp(away, "logs"), "well": places.otlp(well, "logs")}
            made = {"queue": {"size": "64MiB", "directory": str(place)}}
            queues.check(queues.of(_config(destinations, made)), lambda _: None)
            with collecting(folder, destinations, **made) as collector:
                with loads(collector, "audit", "logs") as sent:
                    time.sleep(2)
                    ballast = place / "ballast"
                    with ballast.open("wb") as file:
                        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(place).free - 2**18)
                    away.answer(503)
                    big = Load(collector, "audit", 1, batch=20, size=20_000, first=10**6, patience=5)
                    for _ in range(20):
                        big.send()
                    away.answer(None)
                    time.sleep(2)
                    ballast.unlink()
                    time.sleep(2)
                settled(collector)
                for name, standin in (("was away", away), ("healthy", well)):
                    found = places.at_otlp(standin, "audit")
                    for load in (sent[0], big):
                        yield balance("disk full", load, name, found, promise="once")
                    left_out = int(_left_out(collector, "away" if standin is away else "well", "log_records"))
                    logs = places.at_otlp(standin, "logs")
                    yield balance("disk full", sent[1], name, logs, promise="counted", counted=left_out)
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def damaged(folder: Path) -> Iterator[Balance]:
    """One destination's queue is damaged while the collector is away; another's is not."""
    with OtlpHttp({}) as bad, OtlpHttp({}) as good:
        destinations = {"bad": places.otlp(bad), "good": places.otlp(good)}
        for each in (bad, good):
            each.answer(503)
        with collecting(folder, destinations) as collector, loads(collector, "audit") as before:
            time.sleep(2)
        for each in (bad, good):
            each.answer(None)
        file = collector.home / "queue" / queues.file_name("otlphttp/bad.AUDIT", "logs")
        file.write_bytes(bytes(file.stat().st_size))
        said: list[str] = []
        queues.check(_folder(collector, destinations), said.append)
        assert any("the queue of bad/audit is damaged" in line for line in said), said
        collector.start()
        with loads(collector, "audit", first=10**6) as after:
            time.sleep(1)
        settled(collector)
        collector.stop()
        for name, standin in (("damaged", bad), ("beside it", good)):
            found = places.at_otlp(standin, "audit")
            yield balance("file damaged", before[0], name, found, promise="told" if standin is bad else "once")
            yield balance("file damaged", after[0], name, found, promise="once")


def renamed(folder: Path) -> Iterator[Balance]:
    """A destination gets another name while records wait for it; they are moved to its new queue."""
    with OtlpHttp({}) as endpoint:
        endpoint.answer(503)
        with collecting(folder, {"old": places.otlp(endpoint)}) as collector, loads(collector, "audit", "logs") as sent:
            time.sleep(2)
        endpoint.answer(None)
        held = _folder(collector, {"new": places.otlp(endpoint)})
        for kind in ("audit", "logs"):
            queues.move(held, queues.named(held.list(), f"old/{kind}"), f"new/{kind}")
        shutil.move(collector.home / "queue", folder / "new" / "home" / "queue")
        with collecting(folder / "new", {"new": places.otlp(endpoint)}) as collector:
            settled(collector)
        yield from balances("renamed, moved", sent, "otlp", lambda kind: places.at_otlp(endpoint, kind))


_PROGRAM = """
import logging, time
from theodore_otel.telemetry.audit import audit
log = logging.getLogger("app")
for number in range(400):
    log.warning("logs %d end", number)
    time.sleep(0.02)
"""


def late(folder: Path) -> Iterator[Balance]:
    """Theodore runs and the collector comes late: what its process had kept arrives."""
    with OtlpHttp({}) as endpoint:
        settings = {**places.SETTINGS, "destinations": {"it": places.otlp(endpoint)}}
        collector = Collector(folder, settings, ["acme"])
        environment = {
            **os.environ,
            "THEODORE_OTEL_HOME": str(folder / "theodore"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.ports['http']}",
            "THEODORE_OTEL_CREDENTIAL": f"acme.1:{collector.tokens['acme.1']}",
        }
        program = folder / "program.py"
        program.write_text(_PROGRAM)
        command = [Path(sys.executable).with_name("theodore-otel"), "run", "--", sys.executable, program]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
            time.sleep(4)
            collector.start()
            running.wait(60)
        subprocess.run([command[0], "spool", "flush"], env=environment, check=False, capture_output=True)
        settled(collector)
        collector.stop()
        load = Load(collector, "logs", 1, sent=400, acknowledged=set(range(400)))
        yield balance("collector late", load, "otlp", places.at_otlp(endpoint, "logs"), promise="once")


FAULTS: dict[str, Callable[[Path], Iterator[Balance]]] = {
    each.__name__: each for each in (down, hung, refusing, garbage, killed, stopped, full, disk, damaged, renamed, late)
}


def _search(folder: Path, search: Elasticsearch) -> dict[str, Any]:
    """Return the destination, with its templates put."""
    destination = {"type": "elasticsearch", "endpoints": [f"http://{search.at('http')}"]}
    file = folder / "apply.yaml"
    file.write_text(yaml.safe_dump({"destinations": {"search": destination}}))
    program = Path(sys.executable).with_name("theodore-otel")
    words = ["elasticsearch", "apply", "-c", file, "--allow-missing", "lifecycle"]
    subprocess.run([program, *words], check=False, capture_output=True)
    return destination


def _config(destinations: Mapping[str, Any], collector: Mapping[str, Any]) -> Config:
    return load_text(yaml.safe_dump({"destinations": destinations, "collector": collector}), "faults.yaml")


def _folder(collector: Collector, destinations: Mapping[str, Any]) -> queues.Folder:
    return queues.Folder(collector.home / "queue", queues.of(_config(destinations, {})).files)


def _left_out(collector: Collector, name: str, what: str) -> float:
    told = places.telemetry(collector.ports["telemetry"])
    return told.get(f'otelcol_exporter_sent_{what}{{exporter="file/full.{name}"}}', 0)


def _counted(collector: Collector, category: str) -> int:
    series = collector.prometheus()
    pattern = re.compile(rf'theodore_log_records_total\{{.*category="{category}"')
    return int(sum(value for name, value in series.items() if pattern.match(name)))

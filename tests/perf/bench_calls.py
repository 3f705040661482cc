"""What one log call costs: `python tests/perf/bench_calls.py [ROUNDS]`.

A call through TheodoreLogger - context, redaction, a JSON line and OTLP export - against structlog rendering JSON, the
stock OpenTelemetry LoggingHandler, and logfire.info, each in a process of its own that sends to a live loopback
receiver and writes its lines to /dev/null. Peers live in the environment of peers.txt. All variants are interleaved;
what is compared is the CPU of the calling thread, the median of all rounds. The CPU of the whole process, with encoding
and sending, stands beside it. Exits with the number of budgets that were missed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_start import OURS, PEERS, _make_peers
from support.receiver import environment, receiving

BUDGET_PEERS = 1.0
"""Times structlog and the stock handler summed."""
BUDGET_LOGFIRE = 0.5
"""Times logfire."""
BUDGET_DISABLED = 0.5
"""Microseconds of a call below the level."""

CALLS = 4000

MEASURE = """
import json, sys, time

def measure(call, calls={calls}, flush=lambda: None):
    for n in range(300):
        call(n)
    flush()
    process, thread = time.process_time(), time.thread_time()
    for n in range(calls):
        call(n)
    own = time.thread_time() - thread
    flush()
    print(json.dumps([own / calls * 1e6, (time.process_time() - process) / calls * 1e6]))
"""

STOCK = """
import logging
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

provider = LoggerProvider()
provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(), max_queue_size=100000))
log = logging.getLogger("theodore.scraper")
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(LoggingHandler(logger_provider=provider))
measure(
    lambda n: log.info("page read", extra={"url": f"https://acme.example/page/{n}", "pages": n, "company": "ACME"}),
    flush=provider.force_flush,
)
"""

STRUCTLOG = """
import structlog
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.JSONRenderer(),
    ],
    logger_factory=structlog.PrintLoggerFactory(sys.stderr),
)
structlog.contextvars.bind_contextvars(tenant="acme", correlation="c-1")
log = structlog.get_logger(component="scraper", category="data_processing")
measure(lambda n: log.info("page read", url=f"https://acme.example/page/{n}", pages=n, company="ACME"))
"""

LOGFIRE = """
import logfire
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor

sending = BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=100000)
logfire.configure(
    send_to_logfire=False, console=False, additional_span_processors=[sending]
)
measure(
    lambda n: logfire.info("page read", url=f"https://acme.example/page/{n}", pages=n, company="ACME"),
    flush=sending.force_flush,
)
"""

THEODORE = """
import theodore_otel
from opentelemetry import _logs
from theodore_otel import LogCategory, LoggerFactory

theodore_otel.configure()
log = LoggerFactory.get_logger("scraper", LogCategory.DATA_PROCESSING).with_context(tenant_id="acme")
measure(
    lambda n: log.METHOD("page read", url=f"https://acme.example/page/{n}", pages=n, company="ACME"),
    calls=CALLS,
    flush=_logs.get_logger_provider().force_flush,
)
"""

VARIANTS = {
    "TheodoreLogger.info": (OURS, THEODORE.replace("METHOD", "info").replace("CALLS", str(CALLS))),
    "structlog, JSON": (PEERS / "bin", STRUCTLOG),
    "stock LoggingHandler": (PEERS / "bin", STOCK),
    "logfire.info": (PEERS / "bin", LOGFIRE),
    "TheodoreLogger.debug, disabled": (OURS, THEODORE.replace("METHOD", "debug").replace("CALLS", str(CALLS * 20))),
}


def main(rounds: int) -> int:
    """Measure every variant `rounds` times and print the table; return how many budgets were missed."""
    _make_peers()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder, receiving() as receiver:
        for _ in range(rounds):
            for name, (programs, script) in VARIANTS.items():
                before = len(receiver.requests)
                times[name].append(_run(programs, script, Path(folder), receiver.url))
                if name not in ("structlog, JSON", "TheodoreLogger.debug, disabled"):
                    assert len(receiver.requests) > before, f"{name} sent nothing"
    return _print(times)


def _run(programs: Path, script: str, folder: Path, endpoint: str) -> tuple[float, float]:
    own = {"THEODORE_OTEL_HOME": str(folder), "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    done = subprocess.run(
        [programs / "python", "-c", MEASURE.format(calls=CALLS) + script],
        env=environment(endpoint, own),
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    call, whole = json.loads(done.stdout)
    return call, whole


def _print(times: dict[str, list[tuple[float, float]]]) -> int:
    calls = {name: statistics.median(pair[0] for pair in measured) for name, measured in times.items()}
    print(f"{'variant':31} the call    whole process")
    for name, measured in times.items():
        print(f"{name:31} {calls[name]:7.2f} us {statistics.median(pair[1] for pair in measured):9.2f} us")
    ours = calls["TheodoreLogger.info"]
    peers = ours / (calls["structlog, JSON"] + calls["stock LoggingHandler"])
    logfire = ours / calls["logfire.info"]
    disabled = calls["TheodoreLogger.debug, disabled"]
    print(f"budget: at most {BUDGET_PEERS} x structlog and the stock handler summed: {peers:.2f} x")
    print(f"budget: at most {BUDGET_LOGFIRE} x logfire.info: {logfire:.2f} x")
    print(f"budget: a call below the level under {BUDGET_DISABLED} us: {disabled:.2f} us")
    return sum((peers > BUDGET_PEERS, logfire > BUDGET_LOGFIRE, disabled >= BUDGET_DISABLED))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))

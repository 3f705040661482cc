"""What `TheodoreTracer` makes of operations: one span each, with its outcome, told once and without secrets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import traceback

import pytest
from opentelemetry.trace import SpanKind, StatusCode
from watching import Observed, attributes

from theodore_otel.conventions import names
from theodore_otel.telemetry.config import TracingConfig
from theodore_otel.telemetry.tracing import TheodoreTracer, TracingManager

KEY = "sk-or-v1-" + "0123456789abcdef" * 4


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
def manager(observed) -> TracingManager:
    return TracingManager(tracer_provider=observed.provider)


@pytest.fixture
def tracer(manager) -> TheodoreTracer:
    return TheodoreTracer(manager)


def timing_out():
    raise TimeoutError("slow")
    yield


def exceptions(observed: Observed) -> list[tuple[str, str]]:
    """Return where exceptions were recorded, and their messages."""
    return [
        (span.name, str((event.attributes or {})[names.EXCEPTION_MESSAGE]))
        for span in observed.spans
        for event in span.events
        if event.name == "exception"
    ]


KINDS = {
    "research company_research": (
        lambda tracer: tracer.trace_research_operation("ACME"),
        {names.OPERATION_TYPE: "research", names.COMPANY_NAME: "ACME", names.RESEARCH_TYPE: "company_research"},
    ),
    "chat some-model": (
        lambda tracer: tracer.trace_ai_operation("openrouter", "some-model", "chat", 500),
        {
            names.OPERATION_TYPE: "ai", names.GEN_AI_PROVIDER: "openrouter", names.GEN_AI_REQUEST_MODEL: "some-model",
            names.GEN_AI_OPERATION: "chat", names.AI_ESTIMATED_TOKENS: 500,
        },
    ),
    "scraping intelligent_scraper": (
        lambda tracer: tracer.trace_scraping_operation("https://u:p@acme.example/about?token=x#y"),
        {
            names.OPERATION_TYPE: "scraping", names.URL_FULL: "https://acme.example/about",
            names.SCRAPER_TYPE: "intelligent_scraper",
        },
    ),
    "storage upsert": (
        lambda tracer: tracer.trace_storage_operation("upsert"),
        {
            names.OPERATION_TYPE: "storage", names.STORAGE_OPERATION: "upsert", names.STORAGE_TYPE: "vector_storage",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_operation_has_its_own_attributes(observed, tracer, name):
    helper, wanted = KINDS[name]
    with helper(tracer):
        pass
    span = observed.only()
    assert (span.name, attributes(span)) == (name, {**wanted, names.SUCCESS: True})
    assert span.status.status_code is StatusCode.UNSET
    assert (span.kind is SpanKind.CLIENT) == name.startswith("chat")


def test_any_operation_can_be_traced_by_a_name_with_dots(observed, manager):
    with manager.trace_operation("report.build", pages=3, filters={"api_key": "x", "n": [1, "a"]}) as operation:
        operation.set_attributes({"list": ["a", "b"], "mixed": [1, "a"], "nothing": None})
        operation.add_event("half done", {"at": "ada@example.com"})
    span = observed.span("report.build")
    assert attributes(span) == {
        "pages": 3, "filters": '{"api_key": "[REDACTED]", "n": [1, "a"]}', "list": ("a", "b"), "mixed": '[1, "a"]',
        names.SUCCESS: True,
    }  # fmt: skip
    assert [(event.name, dict(event.attributes)) for event in span.events] == [("half done", {"at": "[REDACTED]"})]


def test_operations_inside_hang_under_those_around(observed, manager, tracer):
    async def work() -> None:
        async with tracer.trace_research_operation("ACME"), tracer.trace_storage_operation("query"):
            with manager.trace_operation("inner"):
                pass

    asyncio.run(work())
    inner, storage, research = observed.spans
    assert inner.parent.span_id == storage.context.span_id
    assert storage.parent.span_id == research.context.span_id
    assert research.parent is None


def test_functions_of_every_way_to_run_can_be_decorated(observed, tracer):
    class Store:
        @tracer.trace_storage_operation("method")
        def method(self, value):
            return value

        @classmethod
        @tracer.trace_storage_operation("class")
        def of_class(cls, value):
            return value

        @staticmethod
        @tracer.trace_storage_operation("static")
        def static(value):
            return value

        @tracer.trace_storage_operation("coroutine")
        async def coroutine(self, value):
            return value

        @tracer.trace_storage_operation("generator")
        def generator(self, value):
            yield value

        @tracer.trace_storage_operation("stream")
        async def stream(self, value):
            yield value

    async def collect() -> list[int]:
        return [await Store().coroutine(4)] + [item async for item in Store().stream(6)]

    found = [Store().method(1), Store.of_class(2), Store.static(3), *Store().generator(5), *asyncio.run(collect())]
    assert found == [1, 2, 3, 5, 4, 6]
    assert [span.name for span in observed.spans] == [
        f"storage {kind}" for kind in ("method", "class", "static", "generator", "coroutine", "stream")
    ]


def test_a_decorator_reads_arguments_of_each_call(observed, tracer):
    class Research:
        @tracer.trace_research_operation("arg.company", "market")
        def run(self, company, depth=1):
            return {"success": company != "Initech", "error": "nothing found"}

    for company in ("ACME", "Globex", "Initech"):
        Research().run(company)
    assert [attributes(span)[names.COMPANY_NAME] for span in observed.spans] == ["ACME", "Globex", "Initech"]
    assert [attributes(span)[names.SUCCESS] for span in observed.spans] == [True, True, False]
    assert observed.spans[2].status.description == "nothing found"


def test_an_exception_is_recorded_once_and_every_operation_it_leaves_failed(observed, manager, tracer):
    @tracer.trace_storage_operation("upsert")
    def upsert():
        raise ConnectionError(f"refused, api_key={KEY}")

    with (
        pytest.raises(ConnectionError),
        tracer.trace_research_operation("ACME"),
        manager.trace_operation("step"),
        manager.trace_operation("inner step"),
    ):
        upsert()
    assert exceptions(observed) == [("storage upsert", "refused, api_key=[REDACTED]")]
    assert {(span.name, span.status.status_code) for span in observed.spans} == {
        (name, StatusCode.ERROR) for name in ("storage upsert", "inner step", "step", "research company_research")
    }
    assert {attributes(span)[names.ERROR_TYPE] for span in observed.spans} == {"ConnectionError"}
    assert KEY not in str([span.to_json() for span in observed.spans])


def test_an_exception_that_is_caught_and_told_fails_the_operation_and_no_other(observed, tracer):
    with tracer.trace_research_operation("ACME"), tracer.trace_storage_operation("query") as query:
        try:
            next(timing_out())
        except TimeoutError as error:
            query.fail(error)
            query.fail("something else")
    assert exceptions(observed) == [("storage query", "slow")]
    assert observed.span("storage query").status.description == "TimeoutError: slow"
    assert attributes(observed.span("research company_research"))[names.SUCCESS] is True


def test_what_is_told_of_the_outcome_stays_whatever_comes_later(observed, tracer):
    with tracer.trace_storage_operation("a") as operation:
        operation.fail("no room", "full")
        operation.succeed()
    with tracer.trace_storage_operation("b") as operation:
        operation.span.set_status(StatusCode.ERROR, "set on the span")
    with pytest.raises(SystemExit), tracer.trace_storage_operation("c") as operation:
        operation.succeed()
        raise SystemExit(3)
    a, b, c = observed.spans
    assert [attributes(span)[names.SUCCESS] for span in (a, b, c)] == [False, False, True]
    assert (a.status.description, attributes(a)[names.ERROR_TYPE]) == ("no room", "full")
    assert (b.status.status_code, b.status.description) == (StatusCode.ERROR, "set on the span")
    assert c.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    "result", [{"success": False, "error": "no site"}, type("R", (), {"success": False, "error": "no site"})]
)
def test_a_result_that_says_failure_marks_the_operation(observed, tracer, result):
    with tracer.trace_research_operation("ACME") as research:
        research.set_result(result)
    assert attributes(observed.only())[names.SUCCESS] is False
    assert observed.only().status.description == "no site"


def test_a_failed_research_fails_the_command_around_it(observed, tracer):
    with observed.tracer.start_as_current_span("command"), tracer.trace_research_operation("ACME") as research:
        research.fail("no site")
    assert observed.span("command").status.description == "no site"


def test_a_model_call_inside_a_model_call_is_the_same_one(observed, tracer):
    with tracer.trace_research_operation("ACME"), tracer.trace_ai_operation("openrouter", "m", "chat"):
        with tracer.trace_ai_operation("openrouter", "m", "chat") as first:
            first.set_usage(100, 20, cost_usd=0.25)
        with tracer.trace_ai_operation("openrouter", "m", "chat") as second:
            second.set_usage(10, 5, cached_tokens=4, response_model="m-1", cost_usd=0.5)
    found = attributes(observed.span("chat m"))
    assert found[names.GEN_AI_INPUT_TOKENS] == 110
    assert found[names.GEN_AI_OUTPUT_TOKENS] == 25
    assert found[names.GEN_AI_CACHE_READ_TOKENS] == 4
    assert found[names.AI_COST] == 0.75
    assert found[names.GEN_AI_RESPONSE_MODEL] == "m-1"
    assert found[names.COMPANY_NAME] == "ACME"
    assert len(observed.spans) == 2


def test_the_cost_is_worked_out_from_the_tokens(observed, tracer):
    with tracer.trace_ai_operation("openai", "gpt-4o", "chat") as call:
        call.set_usage(1_000_000, 0)
    assert attributes(observed.only())[names.AI_COST] == pytest.approx(2.5)


def test_another_operation_of_the_same_kind_has_a_span_of_its_own(observed, tracer):
    with tracer.trace_storage_operation("upsert"):
        with tracer.trace_storage_operation("query"):
            pass
        with tracer.trace_storage_operation("upsert") as same:
            same.set_size(10)
    assert [span.name for span in observed.spans] == ["storage query", "storage upsert"]
    assert attributes(observed.span("storage upsert"))[names.STORAGE_SIZE] == 10


def test_an_exception_looks_as_it_would_without_the_decorator(tracer):
    def fail():
        raise ValueError("x")

    def trace_of(function) -> list[str]:
        try:
            function()
        except ValueError as error:
            return [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return []

    assert trace_of(tracer.trace_storage_operation("upsert")(fail)) == trace_of(fail)


def test_operations_of_tasks_and_threads_are_not_mixed(observed, tracer):
    async def one(number: int) -> None:
        async with tracer.trace_research_operation(f"company {number}"):
            await asyncio.sleep(0)
            async with tracer.trace_storage_operation(f"op {number}"):
                await asyncio.sleep(0)

    async def many(first: int) -> None:
        await asyncio.gather(*(one(first + number) for number in range(100)))

    threads = [threading.Thread(target=lambda first=first: asyncio.run(many(first))) for first in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parents = {span.context.span_id: attributes(span).get(names.COMPANY_NAME) for span in observed.spans}
    storage = [span for span in observed.spans if span.name.startswith("storage")]
    assert len(storage) == 300
    for span in storage:
        assert parents[span.parent.span_id] == f"company {span.name.rpartition(' ')[2]}"


@pytest.mark.parametrize("enabled", [True, False])
def test_one_helper_can_be_used_by_many_tasks_at_once(observed, enabled, caplog):
    shared = TheodoreTracer(TracingManager(TracingConfig(enabled=enabled), observed.provider)).trace_research_operation(
        "x"
    )

    async def one(number: int) -> None:
        async with shared as research:
            research.set_pages(number)
            research.set_attribute("first", number)
            for _ in range(number % 7):
                await asyncio.sleep(0)
            research.set_attribute("second", number)

    async def many() -> None:
        await asyncio.gather(*(one(number) for number in range(100)))

    asyncio.run(many())
    assert len(observed.spans) == (100 if enabled else 0)
    for span in observed.spans:
        found = attributes(span)
        assert found["first"] == found["second"] == found[names.RESEARCH_PAGES]
    assert caplog.records == []


def test_odd_values_do_not_raise(observed, tracer):
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with tracer.trace_ai_operation(None, ["m"], {"a": 1}, "many") as call:  # type: ignore[arg-type]
        call.set_usage("12", object(), cost_usd=True)  # type: ignore[arg-type]
        call.set_attribute("hostile", Hostile())
        call.set_attribute("bytes", b"\xff")
        call.set_pages(None)  # type: ignore[arg-type]
        call.fail(Hostile())  # type: ignore[arg-type]
    assert attributes(observed.only())[names.SUCCESS] is False


def test_nothing_happens_where_tracing_is_switched_off(observed):
    tracer = TheodoreTracer(TracingManager(TracingConfig(enabled=False), observed.provider))
    with tracer.trace_research_operation("ACME") as research:
        research.set_pages(3)
        research.fail("x")
    assert observed.spans == []


PROGRAM = """
import sys
from theodore_otel.telemetry.tracing import TheodoreTracer, TracingManager
from theodore_otel.telemetry.metrics import MetricsManager
from theodore_otel.telemetry.performance import PerformanceMonitor
TracingManager().initialize()
tracer, metrics = TheodoreTracer(), MetricsManager()
with tracer.trace_ai_operation("openai", "gpt-4o", "chat") as call:
    call.set_usage(1, 2)
metrics.record_ai_operation("openai", "gpt-4o", "chat", 3, 1.0, 0.1, True)
metrics.record_request("/x", "GET", 500, 0.1)
with metrics.track_operation("x"), PerformanceMonitor(metrics).monitor_storage_performance("upsert"):
    pass
heavy = {"pydantic", "yaml", "jinja2", "click", "rich", "opentelemetry.sdk", "genai_prices", "asyncio"}
print(sorted(heavy & set(sys.modules)))
"""


def test_without_an_sdk_nothing_is_made_and_nothing_heavy_is_imported():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.case("results_kept_alive")
def test_neither_arguments_nor_results_live_on_after_a_call() -> None:
    import gc
    import weakref

    class Big:
        pass

    tracer = TheodoreTracer()

    @tracer.trace_storage_operation("upsert")
    def upsert(given: Big) -> Big:
        return Big()

    kept = []
    for _ in range(5):
        given = Big()
        kept += [weakref.ref(given), weakref.ref(upsert(given))]
        del given
    gc.collect()
    assert [one() for one in kept] == [None] * 10

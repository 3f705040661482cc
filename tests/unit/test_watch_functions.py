"""Watched functions run as they would without us, and each call makes one span."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from watching import Observed, Settings, application, attributes, load

SOURCE = """
    import asyncio
    from opentelemetry import trace

    def current():
        return trace.get_current_span().get_span_context().span_id

    def plain(company, pages=3, *, secret=None):
        if company == "boom":
            raise ValueError("no such company")
        return {"success": company != "bad", "error": "it is bad", "pages": pages, "span": current()}

    async def later(company):
        await asyncio.sleep(0)
        if company == "boom":
            raise ValueError("no such company")
        return {"company": company, "span": current()}

    def numbers(count):
        for number in range(count):
            got = yield number, current()
            if got == "stop":
                return "stopped"
        return "done"

    async def numbers_later(count):
        for number in range(count):
            yield number, current()

    class Store:
        kind = "memory"

        def __init__(self, name):
            self.name = name

        def put(self, key, value=b""):
            return len(value)

        @classmethod
        def open(cls, name):
            return cls(name)

        @staticmethod
        def clean(name):
            return name.strip()

    class Child(Store):
        pass

    not_a_function = 3
"""


@pytest.fixture
def seen():
    return Observed()


@pytest.fixture
def app(tmp_path):
    with application(tmp_path, SOURCE) as name:
        yield name


def _watch(seen, app, kind, function, **entry):
    seen.install(Settings(watch={kind: [{"function": f"{app}:{function}", **entry}]}))
    return load(app)


def test_arguments_are_read_by_position_keyword_and_default(seen, app):
    module = _watch(seen, app, "research", "plain", company="arg.company", pages="arg.pages")
    module.plain("by position", 5)
    module.plain(pages=7, company="by keyword")
    module.plain("by default")
    found = [attributes(span) for span in seen.spans]
    assert [f["theodore.company.name"] for f in found] == ["by position", "by keyword", "by default"]
    assert [f["theodore.research.pages"] for f in found] == [5, 7, 3]


def test_a_result_is_read_and_given_back_unchanged(seen, app):
    module = _watch(seen, app, "research", "plain", company="arg.company", pages="result.pages")
    result = module.plain("ACME", 4)
    span = seen.only()
    assert result == {"success": True, "error": "it is bad", "pages": 4, "span": span.context.span_id}
    assert span.name == "research company_research"
    assert attributes(span) == {
        "theodore.operation.type": "research",
        "theodore.research.type": "company_research",
        "theodore.company.name": "ACME",
        "theodore.research.pages": 4,
        "theodore.success": True,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_the_very_exception_arrives_and_marks_the_span(seen, app):
    module = _watch(seen, app, "phase", "plain")
    with pytest.raises(ValueError, match="no such company") as caught:
        module.plain("boom")
    span = seen.only()
    assert type(caught.value) is ValueError
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "ValueError: no such company"
    assert attributes(span)["error.type"] == "ValueError"
    assert [event.name for event in span.events] == ["exception"]


def test_a_module_imported_before_is_wrapped_at_once(seen, app):
    module = load(app)
    _watch(seen, app, "phase", "plain")
    module.plain("ACME")
    assert seen.only().name == "phase plain"


def test_a_coroutine_function_stays_one_and_its_span_is_current_inside(seen, app):
    module = _watch(seen, app, "phase", "later", name="waiting")
    assert inspect.iscoroutinefunction(module.later)
    result = asyncio.run(module.later("ACME"))
    assert result["span"] == seen.only().context.span_id
    assert seen.only().name == "phase waiting"


def test_context_stays_right_over_gather(seen, app):
    module = _watch(seen, app, "research", "later", company="arg.company")
    variable = contextvars.ContextVar("variable", default="")

    async def one(name):
        variable.set(name)
        with seen.tracer.start_as_current_span(f"outer {name}") as outer:
            result = await module.later(name)
            assert trace.get_current_span() is outer
        return variable.get(), result["company"]

    async def everything():
        return await asyncio.gather(*(one(str(n)) for n in range(10)))

    assert asyncio.run(everything()) == [(str(n), str(n)) for n in range(10)]
    outer = {span.context.span_id: span.name for span in seen.spans if span.name.startswith("outer")}
    inner = [span for span in seen.spans if span.name.startswith("research")]
    assert len(inner) == 10
    for span in inner:
        assert outer[span.parent.span_id] == f"outer {attributes(span)['theodore.company.name']}"


def test_threads_do_not_mix_their_spans(seen, app):
    module = _watch(seen, app, "research", "plain", company="arg.company")
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        return [module.plain(str(number))["span"] for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        inside = [span for spans in pool.map(work, range(8)) for span in spans]
    assert sorted(inside) == sorted(span.context.span_id for span in seen.spans)
    assert all(span.parent is None for span in seen.spans)


def test_a_cancelled_call_is_a_failure_and_stays_cancelled(seen, app):
    module = _watch(seen, app, "phase", "later")

    async def cancel():
        task = asyncio.create_task(module.later("ACME"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert attributes(seen.only())["error.type"] == "CancelledError"


def test_a_generator_has_one_span_that_is_current_only_inside(seen, app):
    module = _watch(seen, app, "phase", "numbers")
    generator = module.numbers(3)
    assert inspect.isgenerator(generator)
    inside = []
    for _, span_id in generator:
        inside.append(span_id)
        assert trace.get_current_span() is trace.INVALID_SPAN
    assert inside == [seen.only().context.span_id] * 3


def test_what_is_sent_into_a_generator_and_what_it_returns_come_through(seen, app):
    module = _watch(seen, app, "phase", "numbers")
    generator = module.numbers(3)
    next(generator)
    with pytest.raises(StopIteration) as stopped:
        generator.send("stop")
    assert stopped.value.value == "stopped"
    assert attributes(seen.only())["theodore.success"] is True


def test_leaving_a_generator_early_is_no_failure(seen, app):
    module = _watch(seen, app, "phase", "numbers")
    generator = module.numbers(3)
    next(generator)
    generator.close()
    assert attributes(seen.only())["theodore.success"] is True


def test_an_exception_thrown_into_a_generator_comes_out_of_it(seen, app):
    module = _watch(seen, app, "phase", "numbers")
    generator = module.numbers(3)
    next(generator)
    with pytest.raises(KeyError):
        generator.throw(KeyError("k"))
    assert attributes(seen.only())["error.type"] == "KeyError"


def test_an_asynchronous_generator_has_one_span(seen, app):
    module = _watch(seen, app, "phase", "numbers_later")

    async def collect():
        return [item async for item in module.numbers_later(3)]

    items = asyncio.run(collect())
    assert items == [(number, seen.only().context.span_id) for number in range(3)]


def test_methods_of_every_sort_are_wrapped(seen, app):
    entries = [
        {"function": f"{app}:Store.put", "storage_type": "self.kind", "size": "result"},
        {"function": f"{app}:Store.open", "storage_type": "arg.name"},
        {"function": f"{app}:Store.clean", "storage_type": "arg.name"},
    ]
    seen.install(Settings(watch={"storage": entries}))
    store = load(app).Child.open("first")
    assert type(store).__name__ == "Child"
    assert store.put("key", b"12345") == 5
    assert load(app).Store.put(store, "key", value=b"1") == 1
    assert store.clean(" name ") == "name"
    opened, put, _, cleaned = (attributes(span) for span in seen.spans)
    assert opened["theodore.storage.type"] == "first"
    assert put["theodore.storage.type"] == "memory"
    assert put["theodore.storage.operation"] == "put"
    assert put["theodore.storage.size"] == 5
    assert cleaned["theodore.storage.type"] == " name "


def test_wrong_arguments_are_refused_when_the_function_is_called(seen, app):
    module = _watch(seen, app, "phase", "later")
    with pytest.raises(TypeError, match="nonsense"):
        module.later(nonsense=1)
    assert seen.spans == []


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("{app}:nowhere", "there is no nowhere in module {app}"),
        ("{app}:Store.nowhere", "there is no Store.nowhere in module {app}"),
        ("{app}:not_a_function", "not_a_function in module {app} is a int, not a function"),
    ],
)
def test_a_function_that_cannot_be_watched_is_told_in_one_line(seen, app, function, told):
    target = function.format(app=app)
    seen.install(Settings(watch={"phase": [{"function": target}, {"function": f"{app}:plain"}]}))
    load(app).plain("ACME")
    assert seen.reports == [f"cannot watch {target}: {told.format(app=app)}"]
    assert seen.only().name == "phase plain"


def test_a_module_missing_from_its_package_is_told_when_the_package_is_imported(seen, tmp_path):
    with application(tmp_path, "") as package:
        (tmp_path / f"{package}.py").unlink()
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / "there.py").write_text("def work(): pass")
        targets = [f"{package}.there:work", f"{package}.nowhere:work"]
        seen.install(Settings(watch={"phase": [{"function": target} for target in targets]}))
        assert seen.reports == []
        load(package)
        assert seen.reports == [f"cannot watch {package}.nowhere:work: there is no module {package}.nowhere"]


def test_a_package_that_does_not_exist_is_told_once_when_the_program_ends(seen, app):
    functions = [f"{app}:plain", "nowhere_at_all.research:execute", "nowhere_at_all:work", "json.decoder:py_scanstring"]
    entries = [{"function": function} for function in functions]
    tell = seen.install(Settings(watch={"phase": [*entries, {"function": "not_needed:work", "optional": True}]}))
    assert seen.reports == []
    tell()
    assert seen.reports == ["cannot watch 2 functions of nowhere_at_all: there is no such package"]


def test_an_entry_that_makes_no_sense_is_told_and_the_others_work(seen, app):
    settings = Settings(watch={"phase": [{"name": "x"}], "fase": [{"function": f"{app}:plain"}]})
    settings.watch["scraping"] = [{"function": f"{app}:plain"}]
    seen.install(settings)
    load(app).plain("ACME")
    assert seen.only().name == "scraping intelligent_scraper"
    assert len(seen.reports) == 2
    assert "there is no kind fase" in seen.reports[1]


def test_functions_that_are_no_list_are_told_in_one_line(seen, app):
    seen.install(Settings(watch={"phase": "nonsense", "storage": [{"function": f"{app}:plain"}]}))
    load(app).plain("ACME")
    assert seen.reports == ["cannot watch phase: expected a list of functions, got 'nonsense'"]
    assert seen.only().name == "storage plain"


def test_a_path_that_raises_does_not_reach_the_application(seen, app):
    module = _watch(seen, app, "research", "plain", company="arg.company.name", pages="result.pages")

    class Company:
        @property
        def name(self):
            raise RuntimeError("not yours to read")

    assert module.plain(Company())["success"] is True


def test_running_operations_are_counted_by_type(seen, app, monkeypatch):
    changes = []
    monkeypatch.setattr("theodore_otel.instrument.active.change", lambda kind, by: changes.append((kind, by)))
    module = _watch(seen, app, "research", "plain", company="arg.company")
    module.plain("ACME")
    with pytest.raises(ValueError, match="no such"):
        module.plain("boom")
    assert changes == [("research", 1), ("research", -1)] * 2


def test_a_url_loses_its_query_and_credentials(seen, app):
    module = _watch(seen, app, "scraping", "plain", url="arg.company")
    module.plain("https://user:pass@acme.example/page?token=abc#part")
    assert attributes(seen.only())["url.full"] == "https://acme.example/page"


def _trace_of(call):
    try:
        call()
    except Exception as error:
        return traceback.format_exception(error)
    raise AssertionError("nothing was raised")


def test_tracebacks_look_as_without_us(seen, app, tmp_path):
    def calls(module):
        async def collect():
            return [item async for item in module.numbers_later("wrong")]

        return [
            lambda: module.plain("boom"),
            lambda: module.plain(nonsense=1),
            lambda: asyncio.run(module.later("boom")),
            lambda: list(module.numbers("wrong")),
            lambda: asyncio.run(collect()),
        ]

    module = load(app)
    before = [_trace_of(call) for call in calls(module)]
    functions = [{"function": f"{app}:{name}"} for name in ("plain", "later", "numbers", "numbers_later")]
    seen.install(Settings(watch={"phase": functions}))
    after = [_trace_of(call) for call in calls(module)]
    assert after == before
    assert len(seen.spans) == 5


HIDDEN = """
    import functools

    def hiding(function):
        @functools.wraps(function)
        def call(*args):
            return function(*args)
        return call

    @hiding
    def numbers(count):
        yield from range(count)

    async def numbers_later(count):
        async def give():
            for number in range(count):
                yield number
        return give()
"""


def test_a_generator_that_a_function_returns_belongs_to_the_call(seen, tmp_path):
    with application(tmp_path, HIDDEN) as app:
        module = _watch(seen, app, "research", "numbers", pages="item")
        generator = module.numbers(3)
        assert seen.spans == []
        assert list(generator) == [0, 1, 2]
        assert attributes(seen.only())["theodore.research.pages"] == 2


def test_a_generator_that_is_returned_and_never_begun_leaves_a_span(seen, tmp_path):
    with application(tmp_path, HIDDEN) as app:
        module = _watch(seen, app, "phase", "numbers")
        module.numbers(3)
        gc.collect()
        assert attributes(seen.only())["theodore.success"] is True


def test_an_asynchronous_generator_that_is_awaited_belongs_to_the_call(seen, tmp_path):
    with application(tmp_path, HIDDEN) as app:
        module = _watch(seen, app, "research", "numbers_later", pages="item")

        async def collect():
            return [item async for item in await module.numbers_later(3)]

        assert asyncio.run(collect()) == [0, 1, 2]
        assert attributes(seen.only())["theodore.research.pages"] == 2

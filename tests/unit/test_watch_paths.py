"""Values are read from arguments, results and items by simple paths, and rules tell success."""

from __future__ import annotations

import asyncio

import pytest
from watching import Observed, Settings, application, attributes, load

SOURCE = """
    import asyncio, dataclasses, enum
    from pydantic import BaseModel

    class Company(BaseModel):
        name: str

    @dataclasses.dataclass
    class Report:
        pages: list
        error: str | None = None

        @property
        def broken(self):
            raise RuntimeError("not yours to read")

    class State(enum.Enum):
        DONE = "done"
        LOST = "lost"

    class NotFound(LookupError):
        pass

    def work(company, *rest, pages=None, **more):
        if isinstance(more.get("raises"), BaseException):
            raise more["raises"]
        return more.get("gives")

    def stream(count):
        for number in range(count):
            yield {"usage": {"prompt": number, "answer": 2}}

    async def stream_later(count):
        for number in range(count):
            await asyncio.sleep(0)
            yield {"usage": {"prompt": number, "answer": 2}}
"""


@pytest.fixture
def seen():
    return Observed()


@pytest.fixture
def app(tmp_path):
    with application(tmp_path, SOURCE) as name:
        yield name


def _watch(seen, app, kind, function="work", **entry):
    seen.install(Settings(watch={kind: [{"function": f"{app}:{function}", **entry}]}))
    return load(app)


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("arg.company.name", "ACME"),
        ("arg.0.name", "ACME"),
        ("arg.rest[0]", "first"),
        ("arg.rest.-1", "last"),
        ("arg.more.options.ids[1]", "2"),
        ('arg.more.headers["x.id"]', "dotted"),
        ("arg.options.ids.0", "1"),
        ("arg.more.numbered.7", "seven"),
        ("result.pages[-1].title", "end"),
        (["result.nowhere", "arg.company.name"], "ACME"),
        ("argument", "argument"),
        ("a + b", "a + b"),
        ("result.broken", None),
        ("result.pages[9]", None),
        ("arg.nothing.at.all", None),
    ],
)
def test_a_path_leads_to_a_value(seen, app, path, read):
    module = _watch(seen, app, "research", company=path)
    report = module.Report([{"title": "start"}, {"title": "end"}])
    module.work(
        module.Company(name="ACME"),
        "first",
        "last",
        options={"ids": [1, 2]},
        headers={"x.id": "dotted"},
        numbered={7: "seven"},
        gives=report,
    )
    assert attributes(seen.only()).get("theodore.company.name") == read
    assert attributes(seen.only())["theodore.success"] is True


def test_a_sum_adds_the_numbers_that_are_there(seen, app):
    module = _watch(seen, app, "research", pages="result.a + result.b + result.missing")
    module.work("ACME", gives={"a": 3, "b": "4"})
    assert attributes(seen.only())["theodore.research.pages"] == 7


@pytest.mark.parametrize(
    ("rule", "result", "good"),
    [
        ({"path": "result.state", "equals": "done"}, {"state": "done"}, True),
        ({"path": "result.state", "equals": "done"}, {"state": "lost"}, False),
        ({"path": "result.state", "equals": "done"}, {}, False),
        ({"path": "result.state", "equals": ["done", "partial"]}, {"state": "partial"}, True),
        ({"path": "result.code", "equals": 0}, {"code": 0}, True),
        ({"path": "result.code", "equals": 0}, {"code": False}, False),
        ({"path": "result.pages", "not_empty": True}, {"pages": [1]}, True),
        ({"path": "result.pages", "not_empty": True}, {"pages": []}, False),
        ({"path": "result.pages", "not_empty": True}, None, False),
        ({"not_empty": True}, "text", True),
        ({"not_empty": True}, "", False),
        ("result.pages", {"pages": 3}, True),
    ],
)
def test_a_rule_tells_success(seen, app, rule, result, good):
    module = _watch(seen, app, "research", outcome=rule)
    module.work("ACME", gives=result)
    assert attributes(seen.only())["theodore.success"] is good


def test_an_enumeration_equals_its_value_and_its_name(seen, app):
    module = _watch(seen, app, "research", outcome={"path": "result", "equals": ["done", "LOST"]})
    module.work("ACME", gives=module.State.DONE)
    module.work("ACME", gives=module.State.LOST)
    assert [attributes(span)["theodore.success"] for span in seen.spans] == [True, True]


@pytest.mark.parametrize("name", ["NotFound", "LookupError", "{app}.NotFound"])
def test_an_expected_exception_is_no_failure_and_is_raised_all_the_same(seen, app, name):
    module = _watch(seen, app, "phase", expected=[name.format(app=app)])
    with pytest.raises(module.NotFound):
        module.work("ACME", raises=module.NotFound("none"))
    assert attributes(seen.only())["theodore.success"] is True
    assert seen.only().events == ()


def test_any_other_exception_stays_a_failure(seen, app):
    module = _watch(seen, app, "phase", expected=["NotFound"])
    with pytest.raises(KeyError):
        module.work("ACME", raises=KeyError("k"))
    assert attributes(seen.only())["theodore.success"] is False


def test_only_calls_of_which_the_condition_holds_are_watched(seen, app):
    module = _watch(seen, app, "storage", when={"arg.company": ["ACME", "Globex"], "arg.pages": 3})
    module.work("ACME", pages=3)
    module.work("ACME", pages=4)
    module.work("Initech", pages=3)
    assert len(seen.spans) == 1


TOKENS = {
    "provider": "house",
    "model": "m",
    "input_tokens": "item.usage.prompt",
    "output_tokens": "item.usage.answer",
    "cached_tokens": "arg.count",
}


def test_the_last_item_of_a_generator_can_be_read(seen, app):
    module = _watch(seen, app, "ai", "stream", **TOKENS)
    list(module.stream(3))
    found = attributes(seen.only())
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (2, 2)
    assert found["gen_ai.usage.cache_read.input_tokens"] == 3


def test_the_last_item_of_one_left_early_can_be_read(seen, app):
    module = _watch(seen, app, "ai", "stream", **TOKENS)
    generator = module.stream(9)
    next(generator)
    next(generator)
    generator.close()
    assert attributes(seen.only())["gen_ai.usage.input_tokens"] == 1


def test_the_last_item_of_an_asynchronous_generator_can_be_read(seen, app):
    module = _watch(seen, app, "ai", "stream_later", **TOKENS)

    async def drain():
        async for _ in module.stream_later(4):
            pass

    asyncio.run(drain())
    assert attributes(seen.only())["gen_ai.usage.input_tokens"] == 3

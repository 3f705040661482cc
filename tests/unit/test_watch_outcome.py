"""The outcome is told by the result, and only a failed research fails the command around it."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode
from watching import Observed, Settings, application, attributes, load

SOURCE = """
    class Result:
        def __init__(self, success, error=None):
            self.success, self.error = success, error

    def research(result):
        if isinstance(result, BaseException):
            raise result
        return result

    def phase(result):
        return research_inside(result)

    def research_inside(result):
        return result

    def outer(*results):
        for result in results:
            research(result)
        return {"success": True}

    def whole(result):
        phase(result)
        return {"success": True}
"""


@pytest.fixture
def seen():
    return Observed()


@pytest.fixture
def app(tmp_path):
    with application(tmp_path, SOURCE) as name:
        yield name


@pytest.fixture
def command(seen):
    with seen.tracer.start_as_current_span("command") as span:
        yield span


def _watch(seen, app, **kinds):
    seen.install(
        Settings(
            watch={
                kind: [{"function": f"{app}:{function}", **more} for function, more in functions.items()]
                for kind, functions in kinds.items()
            }
        )
    )
    return load(app)


@pytest.mark.parametrize(
    ("result", "good"),
    [
        ({"success": True}, True),
        ({"success": False}, False),
        ({"success": None}, False),
        ({"success": "failed"}, False),
        ({"success": "ok"}, True),
        ({"other": 1}, True),
        (None, True),
        ([], True),
    ],
)
def test_success_is_read_from_the_result(seen, app, result, good):
    module = _watch(seen, app, research={"research": {"outcome": "result.success"}})
    assert module.research(result) is result
    assert attributes(seen.only())["theodore.success"] is good
    assert seen.only().status.status_code is (StatusCode.UNSET if good else StatusCode.ERROR)


def test_objects_tell_their_outcome_too(seen, app):
    module = _watch(seen, app, research={"research": {"outcome": "result.success", "error": "result.error"}})
    module.research(module.Result(False, TimeoutError("took too long")))
    assert attributes(seen.only())["error.type"] == "TimeoutError"
    assert seen.only().status.description == "TimeoutError: took too long"


def test_a_failed_result_gives_a_reason_of_few_values_and_a_description(seen, app):
    module = _watch(seen, app, research={"research": {}})
    module.research({"success": False, "error": "site answered 500"})
    assert attributes(seen.only())["error.type"] == "research_failed"
    assert seen.only().status.description == "site answered 500"


def test_a_failed_research_fails_the_command(seen, app, command):
    module = _watch(seen, app, research={"research": {}})
    module.research({"success": False, "error": "site answered 500"})
    assert command.status.status_code is StatusCode.ERROR
    assert command.status.description == "site answered 500"
    assert command.attributes["theodore.success"] is False


def test_a_research_that_raises_fails_the_command_even_when_the_exception_is_swallowed(seen, app, command):
    module = _watch(seen, app, research={"research": {}})
    with pytest.raises(KeyError):
        module.research(KeyError("k"))
    assert command.status.status_code is StatusCode.ERROR


def test_a_failed_phase_of_a_research_that_succeeds_does_not_fail_the_command(seen, app, command):
    module = _watch(seen, app, research={"whole": {}}, phase={"phase": {}})
    module.whole({"success": False})
    assert seen.span("phase phase").status.status_code is StatusCode.ERROR
    assert seen.span("research company_research").status.status_code is StatusCode.UNSET
    assert command.status.status_code is StatusCode.UNSET


def test_a_failed_attempt_inside_a_research_that_succeeds_does_not_fail_the_command(seen, app, command):
    module = _watch(seen, app, research={"outer": {"research_type": "outer"}, "research": {}})
    module.outer({"success": False}, {"success": True})
    assert command.status.status_code is StatusCode.UNSET


def test_leaving_with_exit_code_zero_is_a_success(seen, app, command):
    module = _watch(seen, app, research={"research": {}})
    with pytest.raises(SystemExit):
        module.research(SystemExit(0))
    assert attributes(seen.only())["theodore.success"] is True
    assert command.status.status_code is StatusCode.UNSET

"""The sample Theodore, from the command line and as a service: what the real servers know of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import genai_prices
import pytest
from e2e.stack.servers import Span
from support.collector import wait_for

from theodore_otel.conventions import names
from theodore_otel.conventions.registry import metrics

MODEL = "anthropic/claude-3.5-haiku"


@dataclass
class Research:
    """One research, its trace, and what its tenant is told in the servers."""

    tenant: str
    spans: list[Span]
    correlation: str | None = None

    def of(self, kind: str) -> list[Span]:
        return [span for span in self.spans if span.kind == kind]

    @property
    def trace(self) -> str:
        return self.spans[0].trace


@pytest.fixture(scope="session")
def good(stack) -> Research:
    done = stack.theodore("acme.1", "research", "ACME Rockets", "--tenant", "acme")
    assert (done.returncode, done.stderr.count("theodore-otel:")) == (0, 0), done.stderr
    return Research("acme", stack.servers.trace("ACME Rockets"))


@pytest.fixture(scope="session")
def failing(stack) -> Research:
    done = stack.theodore("globex.1", "research", "Failing Foundry", "--tenant", "globex")
    assert done.returncode == 0
    return Research("globex", stack.servers.trace("Failing Foundry"))


@pytest.fixture(scope="session")
def served(stack) -> dict[str, Research]:
    """Two tenants' researches by one service process."""
    result = {}
    for tenant, company in (("acme", "Blue Sky"), ("globex", "Green Fields")):
        assert stack.ask(company, tenant, f"c-{tenant}")["success"]
        result[tenant] = Research(tenant, stack.servers.trace(company), f"c-{tenant}")
    return result


def assert_whole(research: Research) -> None:
    """Require one trace without a span whose parent is missing, all of it its tenant's."""
    assert len({span.trace for span in research.spans}) == 1
    ids = {span.id for span in research.spans}
    assert [span.name for span in research.spans if span.parent and span.parent not in ids] == []
    assert {span.resource["tenant.id"] for span in research.spans} == {research.tenant}
    assert {span.resource["service.name"] for span in research.spans} == {"theodore-v2"}


def test_a_good_command_is_a_whole_trace_with_phases_pages_model_calls_and_storage(good):
    assert_whole(good)
    assert [span.name for span in good.spans if span.parent is None] == ["research"]
    assert {span.tags[names.PHASE_NAME] for span in good.of("phase")} >= {"find_links", "choose_pages", "distil"}
    assert (len(good.of("scraping")), len(good.of("ai"))) == (10, 2)
    assert good.of("storage")
    (research,) = good.of("research")
    assert research.tags[names.RESEARCH_PAGES] == 10
    assert research.tags[names.SUCCESS] is True
    assert not [span.name for span in good.spans if span.is_error]


def test_a_failing_command_is_an_error_in_its_trace_though_it_exits_0(failing):
    assert_whole(failing)
    for span in (*failing.of("research"), *failing.of("command")):
        assert span.is_error
        assert span.tags[names.SUCCESS] is False
    assert (len(failing.of("research")), len(failing.of("command"))) == (1, 1)


def test_a_service_reports_each_tenants_requests_with_the_id_they_came_with(served):
    for research in served.values():
        assert_whole(research)
        (entry,) = [span for span in research.spans if span.parent is None]
        assert entry.tags[names.HTTP_ROUTE] == "/research/{company}"
        assert {span.tags.get(names.CORRELATION_ID) for span in research.spans} == {research.correlation}


def test_a_model_call_says_what_it_cost(stack, good):
    for call in good.of("ai"):
        used = genai_prices.Usage(
            input_tokens=call.tags[names.GEN_AI_INPUT_TOKENS], output_tokens=call.tags[names.GEN_AI_OUTPUT_TOKENS]
        )
        price = genai_prices.calc_price(used, model_ref=MODEL, provider_id="openrouter")
        assert call.tags[names.AI_COST] == pytest.approx(float(price.total_price))


@pytest.mark.parametrize(("tenant", "stream"), [("acme", "acme_90d"), ("globex", "30d")])
def test_log_records_are_in_their_data_stream_with_trace_and_correlation_id(stack, served, tenant, stream):
    research = served[tenant]
    hits = wait_for(lambda: stack.servers.logs_of(research.trace), otherwise=lambda: research.trace)
    streams = {hit["_index"].rpartition("-")[0].rpartition("-")[0] for hit in hits}
    assert f".ds-logs-theodore.system.otel-{stream}" in streams
    assert {each.rpartition("-")[2] for each in streams} == {stream}
    assert {hit["_source"]["attributes"][names.CORRELATION_ID] for hit in hits} == {research.correlation}
    assert {hit["_source"]["resource"]["attributes"]["tenant.id"] for hit in hits} == {tenant}


def test_a_failure_is_logged_as_an_error_in_its_trace(stack, failing):
    def errors():
        return [hit for hit in stack.servers.logs_of(failing.trace) if hit["_source"].get("severity_text") == "ERROR"]

    wait_for(errors, otherwise=lambda: stack.servers.logs_of(failing.trace))
    ids = {span.tags[names.CORRELATION_ID] for span in failing.spans}
    assert len(ids) == 1
    assert {hit["_source"]["attributes"][names.CORRELATION_ID] for hit in errors()} == ids


def test_audit_records_have_a_stream_that_is_kept_longer(stack):
    program = "from theodore_otel.telemetry.audit import audit; audit('export', user_id='u-1', resource='company/e2e')"
    done = stack.run("globex.1", "python", "-c", program)
    assert done.returncode == 0, done.stderr
    query = {"term": {"attributes.audit.resource": "company/e2e"}}
    (hit,) = wait_for(lambda: stack.servers.search("logs-*", query), otherwise=lambda: done.stderr)
    assert hit["_index"].startswith(".ds-logs-theodore.audit.otel-400d-")


def of_twenty(name: str) -> str:
    """Return what a metric of the tenant that runs many commands adds up to; what is quiet has no value now."""
    return f'sum(last_over_time({name}{{tenant="twenty"}}[1h]))'


def test_twenty_short_commands_at_once_are_counted_exactly(stack, good):
    def counted(name: str) -> float:
        return sum(stack.servers.values(of_twenty(name)))

    def run(company: str) -> None:
        done = stack.theodore("twenty.1", "research", company, "--tenant", "twenty")
        assert (done.returncode, done.stderr.count("theodore-otel:")) == (0, 0), done.stderr

    before = len(stack.sites.usage)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(run, (f"Twenty {number}" for number in range(20))))
    used = stack.sites.usage[before:]
    assert len(used) == 40
    expected = {
        "theodore_requests_total": 20,
        "theodore_request_duration_seconds_count": 20,
        "theodore_companies_researched_total": 20,
        "theodore_scraping_pages_total": 200,
        "theodore_ai_operation_duration_seconds_count": 40,
        "theodore_ai_tokens_total": sum(call["total_tokens"] for call in used),
    }
    wait_for(
        lambda: all(counted(name) >= total for name, total in expected.items()),
        60,
        lambda: {n: counted(n) for n in expected},
    )
    assert {name: counted(name) for name in expected} == expected
    assert counted("theodore_ai_cost_total") == pytest.approx(sum(map(price, used)))


def price(call: dict[str, int]) -> float:
    usage = genai_prices.Usage(input_tokens=call["prompt_tokens"], output_tokens=call["completion_tokens"])
    return float(genai_prices.calc_price(usage, model_ref=MODEL, provider_id="openrouter").total_price)


# Of what the sample does; the other metrics come from rules, health checks and code that it does not have.
REPORTED = [metric for metric in metrics().values() if metric.source == "spans"]


@pytest.mark.parametrize("metric", REPORTED, ids=lambda metric: metric.prometheus)
def test_a_metric_has_the_name_and_the_labels_of_the_registry(stack, good, failing, served, metric):
    name = metric.prometheus + ("_count" if metric.type == "histogram" else "")
    series = wait_for(lambda: stack.servers.query(f"last_over_time({name}[1h])"), otherwise=lambda: name)
    labels = {"tenant", "service", *metric.labels}
    added_by_prometheus = {"job", "instance", "otel_scope_name", "otel_scope_version"}
    for each in series:
        assert set(each["metric"]) - added_by_prometheus - {"__name__"} == labels
    assert {each["metric"]["tenant"] for each in series} <= {"acme", "globex", "twenty"}
    assert {each["metric"]["service"] for each in series} == {"theodore-v2"}

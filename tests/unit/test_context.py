"""The public scopes: tenant, user and correlation id of what runs inside, and nothing of it outside."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest
from opentelemetry import baggage, context, propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from theodore_otel.instrument import context as process_context
from theodore_otel.instrument import service
from theodore_otel.instrument.propagators import CorrelationPropagator, build
from theodore_otel.instrument.settings import Settings
from theodore_otel.telemetry.context import (
    correlation,
    correlation_id,
    incoming,
    outgoing,
    tenant,
    use,
    user,
    with_tenant,
)


@pytest.fixture(autouse=True)
def clean():
    token = context.attach(Context())
    yield
    context.detach(token)


def now() -> tuple[str | None, str | None, str | None]:
    return tenant(), user(), correlation_id()


def test_outside_every_scope_there_is_nothing():
    assert now() == (None, None, None)


def test_a_scope_adds_what_it_is_given_and_ends():
    with use(tenant="acme", user="ann", correlation_id="c-1"):
        with with_tenant("globex"):
            assert now() == ("globex", "ann", "c-1")
        assert now() == ("acme", "ann", "c-1")
    assert now() == (None, None, None)


def test_a_scope_ends_when_its_block_fails():
    with pytest.raises(KeyError), use(tenant="acme"):
        raise KeyError
    assert tenant() is None


def test_every_message_has_a_correlation_id_of_its_own():
    seen = set()
    begun = correlation()
    for _ in range(3):
        with begun:
            seen.add(correlation_id())
            assert correlation_id() == correlation_id()
    assert len(seen) == 3 and None not in seen
    with correlation("c-2"):
        assert correlation_id() == "c-2"


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "x" * 129, "tenänt", None])
def test_what_cannot_be_an_id_is_left_out(bad):
    with use(tenant="acme", correlation_id="c-1"), use(tenant=bad, correlation_id=bad):
        assert now() == ("acme", None, "c-1")


def test_an_id_of_another_type_is_its_text():
    with use(tenant=7):
        assert tenant() == "7"


def test_functions_and_coroutine_functions_can_be_decorated():
    acme = use(tenant="acme")

    @acme
    def plainly(a, *, b):
        """Doc."""
        return tenant(), a, b

    @acme
    async def later():
        await asyncio.sleep(0)
        return tenant()

    assert plainly(1, b=2) == ("acme", 1, 2)
    assert (plainly.__name__, plainly.__doc__) == ("plainly", "Doc.")
    assert asyncio.iscoroutinefunction(later)
    assert asyncio.run(later()) == "acme"
    assert tenant() is None


def test_one_scope_entered_by_many_tasks_at_once_ends_in_each():
    shared = use(tenant="acme")

    async def work(wait: float) -> list[str | None]:
        async with shared:
            await asyncio.sleep(wait)
            async with use(tenant=str(wait)):
                await asyncio.sleep(0.001)
                inner = tenant()
            return [inner, tenant(), "after"]

    async def outer(wait: float) -> list[str | None]:
        found = await work(wait)
        return [*found, tenant()]

    async def main() -> list[list[str | None]]:
        return await asyncio.gather(*(outer(n % 7 / 1000) for n in range(200)))

    found = asyncio.run(main())
    assert found == [[str(n % 7 / 1000), "acme", "after", None] for n in range(200)]


def test_one_scope_entered_by_many_threads_at_once_ends_in_each():
    shared = use(tenant="acme")

    def work(_: int) -> tuple[str | None, str | None]:
        with shared:
            inner = tenant()
        return inner, tenant()

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(work, range(500))) == {("acme", None)}


def test_a_scope_that_another_task_leaves_disturbs_nobody():
    async def generate():
        with use(tenant="generated"):
            yield 1
            yield 2

    async def main() -> str | None:
        generator = generate()
        await asyncio.create_task(anext(generator))
        with use(tenant="acme"):
            await asyncio.create_task(generator.aclose())
            return tenant()

    assert asyncio.run(main()) == "acme"


def test_a_thread_that_inherited_nothing_works_under_what_the_process_began_with(monkeypatch):
    root = baggage.set_baggage("correlation.id", "of-the-process", Context())
    monkeypatch.setattr(process_context, "_root", root)
    assert correlation_id() == "of-the-process"
    with use(tenant="acme"):
        assert now() == ("acme", None, "of-the-process")


@pytest.fixture
def propagator(monkeypatch):
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators.composite import CompositePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parts = [TraceContextTextMapPropagator(), W3CBaggagePropagator(), CorrelationPropagator()]
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator(parts))
    yield
    propagate.set_global_textmap(before)


def test_a_message_carries_to_its_receiver_whose_work_it_is(propagator):
    with use(tenant="acme", user="ann", correlation_id="c-1"):
        headers = outgoing()
    assert headers["X-Correlation-ID"] == "c-1"
    with use(tenant="of the worker"), incoming({name: value.encode() for name, value in headers.items()}):
        assert now() == ("acme", "ann", "c-1")


@pytest.mark.parametrize("headers", [{}, {"baggage": "%%%"}, {b"x": 1}])
def test_a_message_that_says_nothing_is_one_of_its_own(headers, propagator):
    with use(tenant="of the worker", correlation_id="of the worker"), incoming(headers):
        assert tenant() is None
        assert correlation_id() not in (None, "of the worker")


ODD_IDS = ["", " ", "a%0d%0aX-Evil:%201", "%1b[2J", "x" * 129, "t%C3%A9nant", "%E2%80%AEa", "%00"]


@pytest.mark.case("odd_ids_in_baggage")
@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_odd_id_in_baggage_is_none(propagator, odd):
    told = {key: f"{key}={odd}" for key in ("correlation.id", "tenant.id", "user.id", "theodore.component")}
    for headers in ({"baggage": ",".join(told.values())}, {"Baggage": told["correlation.id"]}):
        with incoming(headers):
            made = correlation_id()
            assert made and re.fullmatch("[0-9a-f]{32}", made)
            assert (tenant(), user(), baggage.get_baggage("theodore.component")) == (None, None, None)
            assert odd not in outgoing().get("baggage", "") or not odd.strip()


@pytest.mark.case("odd_ids_in_baggage")
@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_odd_id_that_a_parent_process_hands_over_is_none(odd, monkeypatch):
    monkeypatch.setattr(process_context, "_root", Context())
    found = process_context.cleaned(Context())
    assert baggage.get_all(found) == {}
    handed = {"BAGGAGE": f"correlation.id={odd},tenant.id={odd},user.id=ann", "CORRELATION_ID": unquote(odd)}
    root = process_context.start(handed)
    assert re.fullmatch("[0-9a-f]{32}", str(baggage.get_baggage("correlation.id", root)))
    assert (baggage.get_baggage("tenant.id", root), baggage.get_baggage("user.id", root)) == (None, "ann")


@pytest.mark.case("odd_tenant_header")
@pytest.mark.parametrize("name", ["X-Tenant-ID", "x-tenant-id", "X-TENANT-ID"])
@pytest.mark.parametrize("odd", ["", " ", "acme\r\nX-Evil: 1", "\x1b[2J", "x" * 129, "ten\u00e4nt"])
def test_an_odd_tenant_header_never_gives_way_to_another_tenant(propagator, name, odd):
    with incoming({name: odd, "X-User-ID": "ann", "baggage": "tenant.id=globex,user.id=bob"}):
        assert (tenant(), user()) == (None, "ann")
    with incoming({name: "acme", "baggage": "tenant.id=globex"}):
        assert tenant() == "acme"
    with incoming({"baggage": "tenant.id=globex"}):
        assert tenant() == "globex"


@pytest.mark.case("odd_tenant_header")
def test_two_tenants_in_one_request_are_none_of_them(propagator):
    headers = [(b"x-tenant-id", b"acme"), (b"X-Tenant-ID", b"globex"), (b"baggage", b"tenant.id=initech")]
    for found in (
        propagate.extract(headers, Context(), Listed()),
        service._context_of({"headers": headers}, left_out=False),
    ):
        assert baggage.get_baggage("tenant.id", found) not in ("acme", "globex", "initech")
    with incoming({"X-Tenant-ID": "acme", "x-tenant-id": "globex"}):
        assert tenant() not in ("acme", "globex")
    with incoming({"X-Tenant-ID": "acme", "x-tenant-id": "acme"}):
        assert tenant() == "acme"


class Listed(Getter):
    """Reads headers as a list of pairs, as ASGI has them."""

    def get(self, carrier, key):
        return [value.decode() for name, value in carrier if name.decode().lower() == key.lower()] or None

    def keys(self, carrier):
        return [name.decode() for name, _ in carrier]


def test_a_correlation_id_that_would_break_a_request_is_not_written(propagator):
    carrier: dict[str, str] = {}
    propagate.inject(carrier, baggage.set_baggage("correlation.id", "a\nX-Evil: 1", Context()))
    assert "X-Correlation-ID" not in carrier


def test_the_scopes_need_no_sdk_and_nothing_heavy():
    code = (
        "import sys\nfrom theodore_otel.telemetry.context import use, tenant\n"
        "with use(tenant='a'): assert tenant() == 'a'\n"
        "print([m for m in ('opentelemetry.sdk', 'pydantic', 'yaml', 'jinja2', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.case("outgoing_within_incoming")
def test_a_message_sent_on_while_one_is_worked_on_continues_its_trace(monkeypatch):
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", build(Settings()))
    came = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "X-Correlation-ID": "c-1"}
    with incoming(came):
        sent = outgoing()
    assert sent["traceparent"].startswith("00-" + "1" * 32)
    assert sent["X-Correlation-ID"] == "c-1"

"""Tokens of an OpenID Connect provider: the verified claim says who sent it, and nothing else does."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import jwt
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from standins.oidc import AUDIENCE, Key, Oidc
from support.collector import Collector, fill, running, wait_for


@pytest.fixture(scope="module", params=["sub", "tenant"])
def claim(request):
    return request.param


@pytest.fixture(scope="module")
def provider():
    with Oidc() as started:
        yield started
        assert started.wrong == []


@pytest.fixture(scope="module")
def collector(tmp_path_factory, provider, claim):
    configuration = {
        "profile": "local",
        "tenants": {
            "identify_by": "oidc",
            "oidc": {"issuer_url": provider.url, "audience": AUDIENCE, "tenant_claim": claim},
            "services": {"api": {"may_report": ["acme", "globex"]}},
        },
    }
    with running(tmp_path_factory.mktemp("oidc"), configuration) as started:
        yield started


def request(name: str, **attributes: str) -> bytes:
    """Return a span with these attributes that forges globex and its credential on the resource."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    forged = [("tenant.id", "globex"), ("theodore.credential", "globex.1")] * 2
    fill(group.resource.attributes, [("service.name", "theodore-v2"), *forged])
    span = group.scope_spans.add().spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name=name)
    fill(span.attributes, [(key.replace("_", "."), value) for key, value in attributes.items()])
    return made.SerializeToString()


def send(collector: Collector, token: str, body: bytes, scheme: str = "Bearer") -> int:
    return collector.post("traces", body, None, [("Authorization", f"{scheme} {token}"), ("X-Tenant-ID", "globex")])


def tenants_of(collector: Collector, name: str) -> list[str]:
    return [resource["tenant.id"] for resource, span in collector.spans() if span["name"] == name]


@pytest.mark.parametrize("credential", ["acme.1", "acme.12", "acme"])
def test_a_token_for_a_tenant_stamps_it(collector, provider, claim, credential):
    name = f"of {credential}"
    # Other claims say somebody else.
    others = {"sub": "globex.1", "tenant": "globex", "name": "globex.1", "preferred_username": "globex.1"}
    assert send(collector, provider.token(**{**others, claim: credential}), request(name)) == 200
    assert wait_for(lambda: tenants_of(collector, name)) == ["acme"]


def test_a_token_over_grpc_is_taken_the_same_way(collector, provider, claim):
    metadata = [("authorization", f"Bearer {provider.token(**{claim: 'acme.1'})}"), ("tenant.id", "globex")]
    assert collector.call("traces", request("over grpc"), None, metadata) == grpc.StatusCode.OK
    assert wait_for(lambda: tenants_of(collector, "over grpc")) == ["acme"]
    assert collector.call("traces", request("over grpc"), None) == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("credential", ["svc-api.1", "svc-api"])
def test_a_token_for_a_service_reports_the_tenants_on_its_list_only(collector, provider, claim, credential):
    token = provider.token(**{claim: credential})
    for tenant in ("initech", "globex"):
        assert send(collector, token, request(f"{tenant} by {credential}", tenant_id=tenant)) == 200
    assert wait_for(lambda: tenants_of(collector, f"globex by {credential}")) == ["globex"]
    assert tenants_of(collector, f"initech by {credential}") == []


NAMELESS = [
    "auth0|5f7c",
    "ACME",
    "acme.x",
    "acme.1\n",
    "acme.1;globex.1",
    "_platform",
    "svc-other.1",
    "svc-api.1.1",
    "",
]


def test_a_verified_claim_that_names_neither_tenant_nor_service_reports_nothing(collector, provider, claim):
    def refused() -> float:
        series = collector.prometheus("telemetry")
        names = [f'otelcol_processor_filter_spans_filtered{{filter="filter/{n}"}}' for n in ("service", "tenant")]
        return sum(series.get(name, 0) for name in names)

    before = refused()
    for value in NAMELESS:
        assert send(collector, provider.token(**{claim: value}), request("nameless")) == 200
    assert send(collector, provider.token(**{claim: "acme"}), request("named")) == 200
    wait_for(lambda: tenants_of(collector, "named"))
    assert tenants_of(collector, "nameless") == []
    assert refused() == before + len(NAMELESS)


def test_what_is_no_good_token_is_refused(collector, provider, claim):
    good = {claim: "acme.1"}
    now = int(time.time())
    unsigned = jwt.encode(provider.claims(**good), None, algorithm="none")
    by_secret = jwt.encode(provider.claims(**good), "a secret that is long enough for it", algorithm="HS256")
    head, body, signature = provider.token(**good).split(".")
    other_body = provider.token(**{claim: "globex.1"}).split(".")[1]
    wrong = {
        "wrong audience": provider.token(**good, aud="somebody-else"),
        "no audience": provider.token(**good, aud=None),
        "expired": provider.token(**good, exp=now - 60),
        "never expires": provider.token(**good, exp=None),
        "not yet valid": provider.token(**good, nbf=now + 3600),
        "other issuer": provider.token(**good, iss="http://127.0.0.1:1"),
        "foreign key": provider.token(key=Key("foreign"), **good),
        "foreign key under a known name": provider.token(key=Key("first"), **good),
        "claims changed": f"{head}.{other_body}.{signature}",
        "no signature": f"{head}.{body}.",
        "unsigned": unsigned,
        "signed with a secret": by_secret,
        "claim missing": provider.token(**{**good, claim: None}),
        "claim a number": provider.token(tenant=7) if claim == "tenant" else "7",
        "claim a list": provider.token(tenant=["acme.1"]) if claim == "tenant" else "[]",
        "no token": "",
        "no JWT": "acme.1",
    }
    answers = {reason: send(collector, token, request("refused")) for reason, token in wrong.items()}
    assert answers == dict.fromkeys(wrong, 401)
    assert collector.post("traces", request("refused"), "acme.1") == 401
    assert send(collector, provider.token(**good), request("taken")) == 200
    wait_for(lambda: tenants_of(collector, "taken"))
    assert tenants_of(collector, "refused") == []


def test_the_provider_may_change_its_key(collector, provider, claim):
    old = provider.keys[-1]
    provider.keys = [Key(f"{claim} next")]
    assert send(collector, provider.token(**{claim: "acme.1"}), request("new key")) == 200
    assert wait_for(lambda: tenants_of(collector, "new key")) == ["acme"]
    assert send(collector, provider.token(key=old, **{claim: "acme.1"}), request("old key")) == 401


@pytest.mark.case("unknown_key_ids")
def test_unknown_key_ids_fetch_the_providers_keys_once_at_a_time(collector, provider, claim):
    def fetched() -> int:
        return sum(each.path == "/keys" for each in provider.accepted)

    forged = [provider.token(key=Key(f"unknown {n}"), **{claim: "acme.1"}) for n in range(8)]
    before = fetched()
    with ThreadPoolExecutor(len(forged)) as pool:
        with provider.slow():
            answers = [pool.submit(send, collector, token, request("forged")) for token in forged]
            time.sleep(1)  # two at least wait for the same fetch then
            waiting = fetched()
        assert {answer.result() for answer in answers} == {401}
    # The collector has no limit of how often; what bounds it is that one fetch waits for the other.
    assert waiting == before
    assert 1 <= fetched() - before < len(forged)
    assert tenants_of(collector, "forged") == []


def test_the_token_is_in_no_log_and_no_file(collector, provider, claim):
    token = provider.token(**{claim: "acme.1"})
    send(collector, token, request("secret"))
    send(collector, token[:-4] + "AAAA", request("secret"))
    wait_for(lambda: tenants_of(collector, "secret"))
    signature = token.rpartition(".")[2]
    for file in collector.folder.rglob("*"):
        assert not file.is_file() or signature[:20].encode() not in file.read_bytes(), file

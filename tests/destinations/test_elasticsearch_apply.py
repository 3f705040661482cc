"""`theodore-otel elasticsearch apply` against a real Elasticsearch of its own."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from backends.servers import Elasticsearch
from destinations.applied import ALLOWED, API_KEY, apply, command, environment
from standins.http import HttpStandIn
from standins.lifecycles import Lifecycles
from support.ports import free_ports

from theodore_otel.config.merge import merge

ALL = "27 of 27 unchanged"


@pytest.fixture(scope="module")
def server(elasticsearch, tmp_path_factory):
    """A server that nothing has been put into."""
    own = Elasticsearch(elasticsearch.home, tmp_path_factory.mktemp("own"))
    own.start()
    yield own
    own.kill()


def configuration(url: str, **more) -> dict:
    destination = {"type": "elasticsearch", "endpoints": [url], "signals": ["logs", "traces", "metrics"], **more}
    tenants = {"acme": {"isolation": "dedicated"}, "initech": {"retention": {"logs": "90d"}}}
    return {"tenants": {"list": tenants}, "destinations": {"es": destination}}


@pytest.fixture
def of_server(server):
    return configuration(f"http://{server.at('http')}")


@pytest.fixture
def complete(server):
    """The same server, with lifecycles."""
    with Lifecycles(server.at("http")) as stand_in:
        yield stand_in
        assert stand_in.wrong == []


def components(server) -> set[str]:
    return {each["name"] for each in server.send("GET", "_component_template")["component_templates"]}


def templates(server) -> dict[str, dict]:
    found = server.send("GET", "_index_template")["index_templates"]
    return {each["name"]: each["index_template"] for each in found}


def test_what_the_server_lacks_is_named_and_nothing_is_put(server, of_server, tmp_path):
    for words in ((), ("--dry-run",)):
        done = apply(tmp_path, of_server, words)
        assert done.returncode == 1
        assert "cannot run lifecycle policies" in done.stderr
        assert "--allow-missing lifecycle" in done.stderr
    assert (components(server), templates(server)) == (set(), {})


def test_a_dry_run_and_a_diff_put_nothing(server, of_server, tmp_path):
    told = apply(tmp_path, of_server, (*ALLOWED, "--dry-run"))
    assert told.returncode == 0
    assert "es: would create component template theodore-settings\n" in told.stdout
    assert told.stdout.endswith("es: 0 of 27 unchanged\n")
    shown = apply(tmp_path, of_server, (*ALLOWED, "--diff"))
    assert "+++ elasticsearch/index_templates/theodore-logs-theodore.audit.otel-400d.json" in shown.stdout
    assert (components(server), templates(server)) == (set(), {})


def test_a_second_run_changes_nothing_and_says_so(server, of_server, tmp_path):
    first = apply(tmp_path, of_server, ALLOWED)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("created") == 27
    assert "warning: es: this server cannot run lifecycle policies" in first.stderr
    assert not [name for name in components(server) if "lifecycle" in name]
    second = apply(tmp_path, of_server, ALLOWED)
    assert (second.returncode, second.stdout) == (0, f"es: {ALL}\n")
    assert apply(tmp_path, of_server, (*ALLOWED, "--diff")).stdout == ""


def test_what_somebody_changed_is_shown_and_put_back(server, of_server, tmp_path):
    apply(tmp_path, of_server, ALLOWED)
    name = "theodore-logs-theodore.audit.otel-400d"
    own = {**templates(server)[name], "priority": 7}
    server.send("PUT", f"_index_template/{name}", {k: v for k, v in own.items() if "date" not in k})
    assert '-  "priority": "7"' in apply(tmp_path, of_server, (*ALLOWED, "--diff")).stdout
    done = apply(tmp_path, of_server, ALLOWED)
    assert done.stdout == f"es: updated index template {name}\nes: 26 of 27 unchanged\n"
    assert templates(server)[name]["priority"] == 500


def test_policies_come_before_what_names_them_and_are_put_once(complete, tmp_path):
    own = configuration(complete.url)
    first = apply(tmp_path, own)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert set(complete.policies) == {"theodore-7d", "theodore-30d", "theodore-90d", "theodore-400d"}
    assert set(complete.components) == {name.replace("-", "-lifecycle-") for name in complete.policies}
    put = list(complete.order)
    second = apply(tmp_path, own)
    assert (second.returncode, second.stdout) == (0, "es: 35 of 35 unchanged\n")
    assert complete.order == put
    complete.policies["theodore-30d"]["phases"]["delete"]["min_age"] = "1d"
    assert "es: updated lifecycle policy theodore-30d\n" in apply(tmp_path, own).stdout
    assert complete.policies["theodore-30d"]["phases"]["delete"]["min_age"] == "30d"


def test_an_older_server_is_told_what_it_does_not_take(server, complete, tmp_path, monkeypatch):
    refusal = {"error": {"type": "mapper_parsing_exception", "reason": "No handler for type [passthrough]"}}
    monkeypatch.setattr(complete, "components", {})
    answer = complete.take
    monkeypatch.setattr(complete, "take", lambda r: (400, refusal) if r.path.endswith("lifecycle-7d") else answer(r))
    done = apply(tmp_path, configuration(complete.url))
    assert done.returncode == 1
    assert "does not take component template theodore-lifecycle-7d: No handler for type [passthrough]" in done.stderr


def test_the_api_key_and_the_authority_are_used(complete, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    complete.stop()
    complete.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(complete.tls)
    complete.start()
    own = configuration(complete.url, api_key={"env": "ES_API_KEY"})
    trusting = merge(own, {"destinations": {"es": {"tls": {"ca_file": str(tmp_path / "ca.pem")}}}})
    assert apply(tmp_path, trusting).returncode == 0
    assert {request.headers["authorization"] for request in complete.accepted} == {f"ApiKey {API_KEY}"}
    (tmp_path / "key").write_text(f"{API_KEY}\n")
    in_file = merge(trusting, {"destinations": {"es": {"api_key": {"env": None, "file": str(tmp_path / "key")}}}})
    assert apply(tmp_path, in_file).returncode == 0
    distrusting = apply(tmp_path, own)
    assert distrusting.returncode == 2
    assert "destinations.es.tls: the server's certificate is not trusted" in distrusting.stderr
    assert apply(tmp_path, merge(own, {"destinations": {"es": {"tls": {"insecure_skip_verify": True}}}})).stderr == ""
    missing = merge(own, {"destinations": {"es": {"tls": {"ca_file": str(tmp_path / "none.pem")}}}})
    assert "destinations.es.tls: expected files in PEM form" in apply(tmp_path, missing).stderr


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_named_and_not_shown(complete, tmp_path, status):
    complete.answer(status)
    done = apply(tmp_path, configuration(complete.url, api_key={"env": "ES_API_KEY"}))
    assert done.returncode == 2
    assert "destinations.es.api_key" in done.stderr
    assert str(status) in done.stderr


@pytest.mark.parametrize(
    ("more", "words", "said"),
    [
        ({"api_key": {"env": "NOT_SET_AT_ALL"}}, (), "destinations.es.api_key: environment variable NOT_SET_AT_ALL"),
        ({}, ("--destination", "es2"), "expected a destination of type elasticsearch (es), got 'es2'"),
    ],
    ids=["an unset key", "another destination"],
)
def test_bad_input_is_one_clear_message(server, tmp_path, more, words, said):
    done = apply(tmp_path, configuration(f"http://{server.at('http')}", **more), words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_destination_there_is_nothing_to_apply(tmp_path):
    done = apply(tmp_path, {"destinations": {"c": {"type": "console"}}})
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected one of type elasticsearch" in done.stderr


def test_a_server_that_is_down_is_one_clear_error(tmp_path):
    (port,) = free_ports(1)
    done = apply(tmp_path, configuration(f"http://127.0.0.1:{port}"), ("--wait", "1.5"))
    assert done.returncode == 3
    waiting, error = done.stderr.splitlines()
    assert waiting == f"es: waiting for http://127.0.0.1:{port}, at most 1.5 s"
    assert error.startswith(f"error: destinations.es: Elasticsearch at http://127.0.0.1:{port} does not answer: ")
    assert "refused" in error


def test_one_of_several_addresses_is_enough_and_warnings_are_not_repeated(server, complete, tmp_path):
    (port,) = free_ports(1)
    complete.headers = {**complete.headers, "Warning": '299 Elasticsearch-8 "security features are not enabled"'}
    own = configuration(f"http://127.0.0.1:{port}")
    own["destinations"]["es"]["endpoints"].append(complete.url)
    done = apply(tmp_path, own)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "waiting" not in line] == []


def test_another_program_is_not_taken_for_elasticsearch(tmp_path):
    class Other(HttpStandIn):
        def take(self, request):
            return 200, {"status": "green"}

    with Other() as other:
        done = apply(tmp_path, configuration(other.url))
    assert done.returncode == 1
    assert "is not Elasticsearch" in done.stderr


def test_a_server_that_starts_is_waited_for(server, of_server, tmp_path):
    server.kill()
    running = subprocess.Popen(
        command(tmp_path, of_server, ALLOWED), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert b"waiting for" in running.stderr.readline()
    server.start()
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    assert b"of 27 unchanged" in out


def write(server, stream: str) -> str:
    """Write a document and return the index that took it."""
    document = {"@timestamp": "2026-01-01T00:00:00Z", "body": {"text": "x"}}
    return server.send("POST", f"{stream}/_doc?op_type=create", document)["_index"]


def test_streams_that_are_there_take_templates_up_when_they_are_rolled_over(server, of_server, tmp_path):
    stream = "logs-theodore.integration.otel-30d"
    other = {"index_patterns": [stream], "data_stream": {}, "priority": 900}
    server.send("PUT", "_index_template/other", other)
    old = write(server, stream)
    server.send("PUT", "_index_template/other", {**other, "index_patterns": ["nothing-of-ours"]})
    told = apply(tmp_path, of_server, ALLOWED)
    assert f"\n  {stream}\n" in told.stderr
    assert "mappings and settings from its next rollover on; --rollover does that now" in told.stderr
    assert write(server, stream) == old
    assert f"\n  {stream}\n" in apply(tmp_path, of_server, (*ALLOWED, "--rollover", "--dry-run")).stderr
    assert write(server, stream) == old
    done = apply(tmp_path, of_server, (*ALLOWED, "--rollover"))
    new = write(server, stream)
    assert new != old
    assert done.stdout == f"es: {ALL}\nes: rolled over {stream}, which writes to {new} now\n"
    assert stream not in apply(tmp_path, of_server, (*ALLOWED, "--rollover")).stdout


def test_an_index_in_the_place_of_a_data_stream_is_told(server, of_server, tmp_path):
    index = "logs-theodore.business.otel-initech_30d"
    server.send("PUT", index)
    dedicated = merge(of_server, {"tenants": {"list": {"initech": {"isolation": "dedicated"}}}})
    own = merge(dedicated, {"tenants": {"list": {"initech": {"retention": {"logs": "30d"}}}}})
    done = apply(tmp_path, own, ALLOWED)
    assert done.returncode == 0, done.stderr
    assert f"warning: es: {index} is an index and no data stream" in done.stderr
    assert apply(tmp_path, of_server, ALLOWED).returncode == 0


def test_policies_are_what_elasticsearchs_own_reader_reads(elasticsearch, complete, tmp_path):
    """The class that reads policies is among the server's jars, although what runs them is not."""
    apply(tmp_path, configuration(complete.url))
    file = tmp_path / "policies.json"
    file.write_text(json.dumps(complete.policies))
    jars = [str(each) for each in elasticsearch.home.rglob("*.jar")]
    source = Path(__file__).with_name("ReadPolicies.java")
    done = subprocess.run(["java", "-cp", ":".join(jars), source, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == complete.policies

"""A command under the real `opentelemetry-instrument`: what it prints stays, what it did is reported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.receiver import attributes, both, environment, receiving, run

COMMAND = """
import logging, sys
import click

@click.group()
def cli():
    pass

@cli.command()
@click.option("--api-key")
@click.argument("company")
def research(api_key, company):
    logging.getLogger("theodore.research").info("looking for %s", company)
    logging.warning("slow site")
    click.echo("done")
    if company == "EXIT":
        sys.exit(3)
    if company == "CTX":
        click.get_current_context().exit(0)
    if company == "RAISE":
        raise click.ClickException("no such company")
    return 1

if __name__ == "__main__":
    cli()
"""


def test_a_command_becomes_one_root_span_with_its_logs(tmp_path: Path) -> None:
    """The span, the record the console shows and the one it does not carry one trace and one correlation id."""
    with receiving() as receiver:
        both(COMMAND, receiver, tmp_path, "research", "ACME")
        (span,) = receiver.spans()
        assert span.name == "research"
        assert not span.parent_span_id
        found = attributes(span)
        assert found["theodore.operation.type"] == "command"
        assert found["theodore.command"] == "research"
        assert found["theodore.success"] is True
        assert span.status.code == 0
        assert sorted(receiver.bodies()) == ["looking for ACME", "slow site"]
        for record in receiver.logs():
            assert record.trace_id == span.trace_id
            assert attributes(record)["correlation.id"] == found["correlation.id"]


def test_the_resource_names_the_service_and_the_distro(tmp_path: Path) -> None:
    with receiving() as receiver:
        both(COMMAND, receiver, tmp_path, "research", "ACME", extra={"OTEL_RESOURCE_ATTRIBUTES": "team=blue"})
        resource = receiver.resource()
    assert resource["service.name"] == "theodore-v2"
    assert resource["deployment.environment.name"] == "production"
    assert resource["telemetry.distro.name"] == "theodore-otel"
    assert resource["team"] == "blue"
    assert resource["service.instance.id"]


@pytest.mark.parametrize(("company", "success"), [("EXIT", False), ("CTX", True), ("RAISE", False), ("ACME", True)])
def test_the_exit_code_decides_whether_a_command_succeeded(tmp_path: Path, company: str, success: bool) -> None:
    with receiving() as receiver:
        ended = both(COMMAND, receiver, tmp_path, "research", company)
        (span,) = receiver.spans()
        assert attributes(span)["theodore.success"] is success
        assert (span.status.code == 2) is not success
        assert attributes(span)["process.exit.code"] == ended.code


@pytest.mark.parametrize("arguments", [["--help"], ["research"], ["nonsense"], []])
def test_help_and_usage_errors_emit_no_span(tmp_path: Path, arguments: list[str]) -> None:
    with receiving() as receiver:
        both(COMMAND, receiver, tmp_path, *arguments)
        assert receiver.spans() == []


def test_secrets_on_the_command_line_do_not_leave(tmp_path: Path) -> None:
    with receiving() as receiver:
        both(COMMAND, receiver, tmp_path, "research", "--api-key", "planted-secret", "ACME")
        both(COMMAND, receiver, tmp_path, "research", "--api-key=planted-secret", "ACME")
        assert b"planted-secret" not in b"".join(r.SerializeToString() for r in receiver.requests)
        assert "ACME" in attributes(receiver.spans()[0])["process.command_args"]


SECRETS = """
import click
@click.group()
@click.option("-p", "--password")
def cli(password): pass
@cli.command()
@click.option("-q", "question", hide_input=True)
@click.argument("api_token")
@click.argument("company")
def research(question, api_token, company): pass
cli()
"""


@pytest.mark.parametrize("option", [["-p", "planted-1"], ["-pplanted-1"], ["--password", "-planted-1"]])
def test_values_of_options_and_arguments_that_are_secret_by_name_do_not_leave(
    tmp_path: Path, option: list[str]
) -> None:
    with receiving() as receiver:
        both(SECRETS, receiver, tmp_path, *option, "research", "-q", "planted-2", "planted-3", "ACME")
        assert b"planted" not in b"".join(r.SerializeToString() for r in receiver.requests)
        (span,) = receiver.spans()
        assert attributes(span)["process.command_args"][-1] == "ACME"


def test_the_parents_trace_and_correlation_id_are_continued(tmp_path: Path) -> None:
    handed = {
        "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "CORRELATION_ID": "from-the-pipeline",
        "BAGGAGE": "tenant.id=acme,unrelated=1",
    }
    with receiving() as receiver:
        both(COMMAND, receiver, tmp_path, "research", "ACME", extra=handed)
        (span,) = receiver.spans()
    assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    found = attributes(span)
    assert (found["correlation.id"], found["tenant.id"]) == ("from-the-pipeline", "acme")
    assert "unrelated" not in found


def test_a_plain_script_reports_its_logs_and_has_no_root_span(tmp_path: Path) -> None:
    script = "import logging; logging.getLogger('a').error('broken'); print('out')"
    with receiving() as receiver:
        both(script, receiver, tmp_path)
        assert receiver.bodies() == ["broken"]
        assert receiver.spans() == []


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED"])
def test_switched_off_means_nothing_is_sent(tmp_path: Path, variable: str) -> None:
    with receiving() as receiver:
        both(COMMAND, receiver, tmp_path, "research", "ACME", extra={variable: "true"})
        assert receiver.requests == []


def test_the_credential_is_sent_as_basic_authentication(tmp_path: Path) -> None:
    with receiving() as receiver:
        both(COMMAND, receiver, tmp_path, "research", "ACME", extra={"THEODORE_OTEL_CREDENTIAL": "acme.1:token"})
        assert {h["authorization"] for h in receiver.headers} == {"Basic YWNtZS4xOnRva2Vu"}


@pytest.mark.parametrize("content", [None, "{", '{"schema": 7}', "[]"])
def test_a_broken_settings_file_is_one_line_and_defaults(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "instrument.json"
    if content is not None:
        file.write_text(content)
    (tmp_path / "program.py").write_text(COMMAND)
    with receiving() as receiver:
        env = environment(receiver.url, {"THEODORE_OTEL_CONFIG": str(file)})
        ended = run([sys.executable, "program.py", "research", "ACME"], env, tmp_path, instrumented=True)
        assert (ended.code, ended.out) == (0, b"done\n")
        lines = ended.err.decode().splitlines()
        assert [str(file) in line for line in lines if line.startswith("theodore-otel: ")] == [True]
        assert len(receiver.spans()) == 1

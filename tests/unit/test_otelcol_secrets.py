"""What a configuration takes from the environment and from files is checked before the collector starts."""

from pathlib import Path

import pytest

from theodore_otel.config.source import parse
from theodore_otel.errors import InputError
from theodore_otel.otelcol import secrets
from theodore_otel.otelcol.secrets import resolve, with_placeholders
from theodore_otel.render.references import Reference, references

FILE = parse("destinations:\n  es:\n    type: elasticsearch\n    api_key: {env: ES_KEY}\n", "theodore-otel.yaml")
RENDERED = 'exporters: {elasticsearch/es: {api_key: "${env:ES_KEY}"}}\n'


def refused(value: str | None) -> str:
    with pytest.raises(InputError) as caught:
        resolve(RENDERED, {} if value is None else {"ES_KEY": value}, FILE)
    return str(caught.value)


def test_references_are_found_in_values_and_not_in_comments() -> None:
    text = '# ${env:COMMENT}\na: "${env:A}"\nb: ["x ${B} y", "${file:/run/c}", "${env:D:-fallback}", "${env:A}"]\n'
    assert references(text) == [
        Reference("env", "A", False),
        Reference("env", "B", False),
        Reference("file", "/run/c", False),
        Reference("env", "D", True),
    ]


def test_an_escaped_dollar_is_no_reference() -> None:
    assert references('a: "$${env:A} ^x$ $1"\n') == []


def test_a_good_secret_passes_and_the_configuration_stays_as_it_is() -> None:
    assert resolve(RENDERED, {"ES_KEY": "s3cret"}, FILE) == (RENDERED, {})


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "is not set"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("planted\nsecret", "holds a newline"),
        ("planted${HOME}", "holds '${'"),
        ("planted$$", "holds '$$'"),
        ("planted: secret", "would be read as YAML"),
        ("null", "would be read as YAML"),
        ("[planted]", "would be read as YAML"),
    ],
)
def test_a_secret_that_would_not_arrive_is_refused_by_name_line_and_key(value: str | None, complaint: str) -> None:
    message = refused(value)
    assert message.startswith("theodore-otel.yaml:4: destinations.es.api_key: environment variable ES_KEY ")
    assert complaint in message
    assert "planted" not in message


@pytest.mark.parametrize("value", ["a$b", "*abc", "it's", '"quoted"', "abc #def", "[half", "@x", "%x", "0123"])
def test_a_secret_that_only_looks_odd_is_accepted(value: str) -> None:
    assert resolve(RENDERED, {"ES_KEY": value}, FILE) == (RENDERED, {})


def test_a_default_stands_in_for_an_unset_variable() -> None:
    text = 'a: "${env:UNSET:-x}"\n'
    assert resolve(text, {}, FILE) == (text, {})


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        resolve('a: "${env:ONE} ${env:TWO}"\n', {}, FILE)
    assert str(caught.value).splitlines() == [
        "theodore-otel.yaml: environment variable ONE is not set",
        "theodore-otel.yaml: environment variable TWO is not set",
    ]


def test_a_reference_in_raw_configuration_is_told_with_its_key() -> None:
    source = parse("collector:\n  extra:\n    exporters:\n      debug: {x: 'a ${env:RAW}'}\n", "f.yaml")
    with pytest.raises(InputError, match=r"^f.yaml:4: collector.extra.exporters.debug.x: environment variable RAW"):
        resolve("exporters: {debug: {x: 'a ${env:RAW}'}}\n", {}, source)


def test_a_file_is_trimmed_and_handed_over_as_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    text, more = resolve(f'a: "x ${{file:{file}}}"\nb: "${{file:{file}}}"\n', {}, FILE)
    (variable,) = more
    assert text == f'a: "x ${{env:{variable}}}"\nb: "${{env:{variable}}}"\n'
    assert more == {variable: "s3cret"}


def test_a_missing_file_is_told_with_its_key(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    source = parse(f"destinations:\n  dd:\n    api_key: {{file: {missing}}}\n", "f.yaml")
    expected = f"^f.yaml:3: destinations.dd.api_key: file {missing} cannot be read: No such file"
    with pytest.raises(InputError, match=expected):
        resolve(f'a: "${{file:{missing}}}"\n', {}, source)


def test_placeholders_stand_for_what_is_missing_only(tmp_path: Path) -> None:
    text = f'a: "${{env:SET}}"\nb: "${{env:UNSET}}"\nc: "${{file:{tmp_path / "none"}}}"\n'
    filled, more = with_placeholders(text, {"SET": "x"})
    assert more == {"UNSET": secrets.PLACEHOLDER, "THEODORE_OTEL_SECRET_1": secrets.PLACEHOLDER}
    assert 'c: "${env:THEODORE_OTEL_SECRET_1}"' in filled


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a$1b"])
def test_a_key_that_would_end_the_statement_it_stands_in_is_refused_unseen(value: str) -> None:
    text = """statements: ['set(cache["salt"], "${env:PEPPER}")']"""
    with pytest.raises(InputError, match="PEPPER holds a quote, a backslash or a dollar sign") as caught:
        resolve(text, {"PEPPER": value}, FILE)
    assert value not in str(caught.value)
    assert resolve(text, {"PEPPER": "a-b_c.d/e"}, FILE) == (text, {})
    assert resolve('key: "${env:PEPPER}"', {"PEPPER": value}, FILE) == ('key: "${env:PEPPER}"', {})

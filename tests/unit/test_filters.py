"""Texts of the configuration reach the collector as they are: quoted, and never expanded."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.collector import Span, running, wait_for

from theodore_otel.config import load_text
from theodore_otel.errors import InputError
from theodore_otel.render import render
from theodore_otel.render.filters import plain, quoted

pytestmark = pytest.mark.case("quoted_texts")

HOSTILE = [
    "a #b", "a: b", "a 'b' \"c\"", "${env:HOME}", "${file:/etc/hostname}", "$HOME $1 $$ ${x:-y}", "{a}", "[b", "- c",
    "yes", "0x10", "null", "~", "*a", "&b", "!c", "%d", "@e", "`f", "a\\nb", " blank ", "é\u2028\u2029\u0085\ufeff",
    "{{ g }}",
]  # fmt: skip
"""Texts that mean something to YAML, to the collector, to a shell or to a template."""
CONFIGURATION: dict[str, Any] = {
    "version": 1,
    "profile": "production",
    "service": {"name": "s"},
    "tenants": {"list": {"acme": {}, "big": {"isolation": "dedicated"}}},
    "destinations": {
        "files": {"type": "file", "directory": "DIRECTORY"},
        "jaeger": {
            "type": "jaeger",
            "endpoint": "127.0.0.1:1",
            "tls": {"ca_file": "CA", "cert_file": "CERT", "key_file": "KEY"},
        },
        "es": {"type": "elasticsearch", "endpoints": ["http://127.0.0.1:2"], "api_key": {"file": "SECRET"}},
        "kafka": {"type": "kafka", "brokers": ["127.0.0.1:3"]},
        "otlp": {"type": "otlp", "endpoint": "127.0.0.1:4", "headers": {"x-key": {"file": "HEADER"}}},
    },
    "collector": {"queue": {"directory": "QUEUE"}},
}
PLACES = ("DIRECTORY", "CA", "CERT", "KEY", "QUEUE")
SECRETS = ("SECRET", "HEADER")


def expanded(value: str) -> str:
    """Return what the collector makes of a text without references. Raises AssertionError where there is one."""
    assert not re.search(r"(?<!\$)(?:\$\$)*\$\{", value), value
    return value.replace("$$", "$")


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts(each)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def rendered(replaced: dict[str, str]) -> list[str]:
    text = yaml.safe_dump(CONFIGURATION)
    for word, spelling in replaced.items():
        text = re.sub(rf"\b{word}\b", lambda _, spelling=spelling: plain(spelling), text)
    (file,) = render(load_text(text, "t.yaml"), "t.yaml", ["collector"])
    return texts(yaml.safe_load(file.text))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_path_of_any_spelling_is_the_one_that_the_collector_uses(hostile):
    found = rendered({place: f"/{place}/{hostile}" for place in PLACES})
    for place in PLACES:
        mine = [text for text in found if f"/{place}/" in text]
        assert mine
        assert {expanded(text).partition(f"/{place}/")[2].split("/acme")[0].split("/big")[0] for text in mine} <= {
            hostile, *(f"{hostile}/{signal}.jsonl" for signal in ("traces", "logs", "metrics")), hostile + "/",
        }, mine  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_secrets_path_is_used_as_it_is_or_refused(hostile):
    try:
        found = rendered({secret: f"/{secret}/{hostile}" for secret in SECRETS})
    except InputError as error:
        assert re.search(r"[${}\u2028]", hostile), error
        assert "expected a path of printable characters" in str(error)
    else:
        for secret in SECRETS:
            assert any(f"${{file:/{secret}/{hostile}}}" in text for text in found)


@given(
    st.recursive(
        st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
@settings(max_examples=300, deadline=None)
def test_what_is_quoted_is_read_back_by_yaml(value):
    if any("\ud800" <= character <= "\udfff" for text in texts(value) for character in text):
        return
    assert yaml.safe_load(plain(value)) == value
    assert [expanded(text) for text in texts(yaml.safe_load(quoted(value)))] == texts(value)


def test_the_real_collector_writes_into_a_folder_of_an_odd_name(tmp_path):
    """Its YAML reader and its expansion are the judges."""
    folder = tmp_path / "a #b \"c\" 'd' ${env:HOME} $1 $$ {e} é\u2028\u0085: yes"
    configuration = {
        "profile": "local",
        "destinations": {"files": {"type": "file", "directory": str(folder)}},
        "collector": {"queue": {"directory": str(folder / "queue")}},
    }
    with running(tmp_path, configuration, ["acme"]) as collector:
        assert collector.send_spans([Span("arrives")], "acme.1") == 200
        wait_for(lambda: (folder / "traces.jsonl").is_file(), otherwise=collector.said)

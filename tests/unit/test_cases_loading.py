"""Case files: what is wrong with one is told by file, line and key path, before any collector starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.errors import InputError
from theodore_otel.otelcol.cases.loading import Loaded, check, load
from theodore_otel.otelcol.cases.model import CaseFile

DESTINATIONS = {"jaeger": frozenset({"traces"}), "store": frozenset({"traces", "logs", "metrics"})}
GOOD = """\
version: 1
cases:
  - name: first
    send:
      - credential: acme
        spans: [{name: chat, attributes: {api_key: sk-1234}}]
    expect:
      - signal: traces
        destination: jaeger
        name: chat
"""


def read(tmp_path: Path, text: str, name: str = "c.yaml") -> list[Loaded]:
    file = tmp_path / name
    file.write_text(text)
    return load([file])


def refusal(tmp_path: Path, text: str, identify_by: str = "basic") -> str:
    config = load_text(f"tenants: {{identify_by: {identify_by}}}", "theodore-otel.yaml")
    with pytest.raises(InputError) as caught:
        check(read(tmp_path, text), config, DESTINATIONS)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_a_good_file_is_read_and_checked(tmp_path):
    (loaded,) = read(tmp_path, GOOD)
    check([loaded], load_text("", "theodore-otel.yaml"), DESTINATIONS)
    assert loaded.case.expect[0].destination == ["jaeger"]
    assert str(loaded.case.expect[0].count) == "at least 1"
    assert loaded.where(("expect", 0, "name")) == f"{tmp_path}/c.yaml:10: cases.0.expect.0.name"


SPAN = "spans: [{name: chat, attributes: {api_key: sk-1234}}]"
EXPECT = "      - signal: traces\n        destination: jaeger\n        name: chat\n"
WRONG = {
    "a misspelt key of a case": ("    send:", "    sned:", "c.yaml:4: cases.0.sned: unknown key; did you mean 'send'?"),
    "a misspelt key of a request": (
        "credential: acme", "credentail: acme", "c.yaml:5: cases.0.send.0.credentail: unknown key; did you mean",
    ),
    "a misspelt key of a span": (
        "attributes:", "atributes:", "c.yaml:6: cases.0.send.0.spans.0.atributes: unknown key; did you mean",
    ),
    "a misspelt key of an expectation": (
        "destination: jaeger", "destnation: jaeger", "c.yaml:9: cases.0.expect.0.destnation: unknown key; did you mean",
    ),
    "an unknown destination": (
        "destination: jaeger", "destination: jeager",
        "c.yaml:9: cases.0.expect.0.destination: expected a destination (jaeger, store), got 'jeager'; did you mean",
    ),
    "a destination that does not take the signal": (
        "signal: traces", "signal: logs",
        "c.yaml:9: cases.0.expect.0.destination: expected a destination that takes logs, but jaeger takes traces",
    ),
    "a wrong signal": ("signal: traces", "signal: trace", "c.yaml:8: cases.0.expect.0.signal: expected"),
    "no signal": ("signal: traces", "tenant: acme", "cases.0.expect.0.signal: this key is required and missing"),
    "a field that no span has": (
        "name: chat\n", "equal: {atributes.x: 1}\n",
        "c.yaml:8: cases.0.expect.0: equal: expected a field of traces (name, kind,",
    ),
    "a field in another notation": (
        "name: chat\n", "absent: ['attributes[\"x\"]']\n", "got 'attributes[\"x\"]'; did you mean 'attributes'?",
    ),
    "a resource attribute in another notation": (
        "name: chat\n", "absent: resource.attributes.x\n", "expected resource.KEY, got 'resource.attributes.x'; did",
    ),
    "attributes without a key": ("name: chat\n", "absent: attributes\n", "expected a key behind 'attributes'"),
    "a bad expression": ("name: chat\n", "matches: {name: '('}\n", "expected a regular expression, but"),
    "a bad count": ("name: chat\n", "count: lots\n", "cases.0.expect.0.count: expected a number, or a range such as"),
    "a bad range": ("name: chat\n", "count: {mim: 2}\n", "expect.0.count.mim: unknown key; did you mean 'min'?"),
    "fields of what must not be there": (
        "name: chat\n", "count: 0\n        present: name\n", "cases.0.expect.0: count: expected more than 0",
    ),
    "a bad duration": (SPAN, "spans: [{name: x, duration: 3}]", "spans.0.duration: expected a duration such as 500ms"),
    "a bad credential": ("credential: acme", "credential: A-B", "send.0.credential: expected text such as acme"),
    "a wrong token of nobody": ("credential: acme", "wrong_token: true", "wrong_token: expected a credential"),
    "nothing to send": (SPAN, "repeat: 2", "cases.0.send.0: expected at least one of spans, logs, metrics and otlp"),
    "a metric of two kinds": (SPAN, "metrics: [{name: x, gauge: 1, sum: 2}]", "one of gauge, sum and histogram"),
    "an unknown severity": (SPAN, "logs: [{severity: WARNING}]", "send.0.logs.0.severity: expected one of TRACE"),
    "a date in an attribute": (SPAN, "spans: [{name: x, attributes: {day: 2026-01-31}}]", "the date 2026-01-31; quote"),
    "a status that is no refusal": (SPAN, f"{SPAN}\n        refused: 200", "cases.0.send.0.refused: expected"),
    "raw OTLP of no signal": (SPAN, "otlp: {spans: []}", "otlp: expected one of resourceSpans"),
    "nothing to prove": (f"    expect:\n{EXPECT}", "", "expected at least one of expect, nowhere and golden"),
    "a golden of another name": (
        f"    expect:\n{EXPECT}", "    golden: x.yaml\n", "c.yaml:7: cases.0.golden: expected text of the form",
    ),
    "a text that is never sent": (
        f"    expect:\n{EXPECT}", "    nowhere: [sk-9999]\n",
        "c.yaml:7: cases.0.nowhere.0: expected a text that the case sends, got 'sk-9999'",
    ),
    "an empty thing that is nowhere": (
        f"    expect:\n{EXPECT}", "    nowhere: [{}]\n", "cases.0.nowhere.0: expected a text, or something",
    ),
    "no case": (GOOD.partition("cases:")[2], " []\n", "c.yaml:2: cases: expected"),
    "a name that stands twice": (
        GOOD.partition("cases:\n")[2], 2 * GOOD.partition("cases:\n")[2],
        "c.yaml:11: cases.1.name: 'first' stands twice, first on line 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_by_its_key(tmp_path, before, after, expected):
    text = GOOD.replace(before, after)
    assert text != GOOD
    assert expected in refusal(tmp_path, text)


def test_a_credential_has_no_meaning_where_nobody_is_identified(tmp_path):
    expected = "c.yaml:5: cases.0.send.0.credential: expected no credential, because tenants.identify_by is none"
    assert expected in refusal(tmp_path, GOOD, identify_by="none")


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path):
    text = GOOD.replace("credential:", "credentail:").replace("destination:", "destnation:")
    assert [line.split(": ")[1] for line in refusal(tmp_path, text).splitlines()] == [
        "cases.0.send.0.credentail",
        "cases.0.expect.0.destnation",
    ]


def test_two_cases_cannot_have_the_same_golden_file(tmp_path):
    case = "  - {name: NAME, send: [{spans: [{name: x}]}], golden: x.golden.yaml}\n"
    text = "cases:\n" + case.replace("NAME", "one") + case.replace("NAME", "two")
    assert refusal(tmp_path, text) == "c.yaml:3: cases.1.golden: expected a file of its own, but 'one' has it"


def test_a_folder_stands_for_its_case_files_and_goldens_are_none(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.yaml", "a.yml", "b/c.yaml"):
        (tmp_path / name).write_text(GOOD)
    (tmp_path / "a.golden.yaml").write_text("traces: {}")
    (tmp_path / "notes.md").write_text("no cases")
    names = [Path(loaded.source.name).relative_to(tmp_path).as_posix() for loaded in load([tmp_path])]
    assert names == ["a.yml", "b/c.yaml", "z.yaml"]


def test_a_folder_without_cases_and_a_file_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected case files"):
        load([tmp_path])
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        load([tmp_path / "none.yaml"])


def test_a_text_in_bytes_or_with_quotes_counts_as_sent(tmp_path):
    spans = "spans: [{name: 'say \"sk-1\"', attributes: {raw: !!binary c2stMjIyMg==, n: 4111}}]"
    text = GOOD.replace(SPAN, spans).replace(
        f"    expect:\n{EXPECT}", "    nowhere: [sk-2222, 'say \"sk-1\"', '4111']\n"
    )
    check(read(tmp_path, text), load_text("", "theodore-otel.yaml"), DESTINATIONS)


def test_the_schema_is_json_names_every_key_and_describes_it():
    schema = json.loads(json.dumps(CaseFile.model_json_schema()))
    assert schema["additionalProperties"] is False
    for name in ("Case", "Request", "Span", "LogRecord", "Metric", "Expectation", "Nowhere"):
        properties = schema["$defs"][name]["properties"]
        assert [key for key, value in properties.items() if not value.get("description")] == []
    assert schema["$defs"]["Expectation"]["properties"]["count"]["anyOf"][0] == {"type": "integer", "minimum": 0}


def test_the_guide_names_every_key_of_the_form():
    guide = (Path(__file__).parents[2] / "docs/testing.md").read_text(encoding="utf-8")
    schema = CaseFile.model_json_schema()
    keys = {key for part in schema["$defs"].values() for key in part.get("properties", {})} | set(schema["properties"])
    assert [key for key in sorted(keys) if f"`{key}`" not in guide] == []


def test_the_guides_example_is_a_case_file(tmp_path):
    guide = (Path(__file__).parents[2] / "docs/testing.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in guide.split("```yaml\n")[1:]]
    files = [block for block in blocks if "cases" in yaml.safe_load(block)]
    assert files
    for text in files:
        read(tmp_path, text)

"""Results as lines, JSON and JUnit XML; golden files are stable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from theodore_otel.errors import InputError
from theodore_otel.otelcol.cases import golden, report
from theodore_otel.otelcol.cases.capture import Record
from theodore_otel.otelcol.cases.judging import Failure
from theodore_otel.otelcol.cases.loading import load
from theodore_otel.otelcol.cases.running import Outcome
from theodore_otel.otelcol.cases.suite import Result
from theodore_otel.render.exporters import Exporter

CASES = """\
cases:
  - name: good one
    send: [{spans: [{name: x}], refused: 401}]
  - name: bad \u0001 <one>
    send: [{spans: [{name: x}]}]
    expect: [{signal: traces, equal: {name: y}}]
"""


@pytest.fixture
def results(tmp_path) -> list[Result]:
    file = tmp_path / "c.yaml"
    file.write_text(CASES.replace("\u0001", "\\x01").replace("bad", '"bad').replace("<one>", '<one>"'))
    failure = Failure(("expect", 0, "equal", "name"), "expected another name", ("- name: y", "+ name: x\x02"))
    bad = Outcome([failure], [], ["warn: otlp: something"])
    return [Result(loaded, outcome, 1.25) for loaded, outcome in zip(load([file]), [Outcome(), bad], strict=True)]


def plain(lines: Any) -> str:
    import click

    return click.unstyle("\n".join(lines))


def test_a_case_has_one_line_and_a_failure_its_file_line_and_key(results):
    assert plain([report.line(results[0]), *report.failures(results[0])]) == "ok      good one (1.2 s)"
    text = plain([report.line(results[1]), *report.failures(results[1])])
    assert text.startswith("FAILED  bad")
    assert "c.yaml:6: cases.1.expect.0.equal.name: expected another name\n    - name: y\n    + name: x" in text
    assert text.endswith("the collector says: warn: otlp: something")


def test_the_summary_counts(results):
    assert report.summary(results, 2.0) == "2 cases in 2.0 s: 1 failed"
    assert report.summary(results[:1], 2.0) == "1 case in 2.0 s: all good"


def test_json_tells_every_failure(results):
    told = json.loads(json.dumps(report.as_json(results)))
    assert (told["good"], told["failed"]) == (1, 1)
    (failure,) = told["cases"][1]["failures"]
    assert (failure["key"], failure["line"]) == ("cases.1.expect.0.equal.name", 6)
    assert told["cases"][0]["failures"] == []


def test_junit_is_xml_whatever_stands_in_names_and_values(results):
    root = ElementTree.fromstring(report.as_junit(results))
    (suite,) = root
    assert (root.tag, suite.attrib["tests"], suite.attrib["failures"]) == ("testsuites", "2", "1")
    good, bad = suite
    assert good.attrib["name"] == "good one"
    assert list(good) == []
    assert bad.attrib["name"] == "bad \ufffd <one>"
    assert "- name: y" in (bad[0].text or "")


STORE = Exporter("otlp/store", "store", ("traces",), None)
OWN = Exporter("otlp/store.acme", "store", ("traces",), "acme")
FAR = Exporter("otlp/far", "far", ("traces",), None)


def record(exporter: Exporter, name: str, **attributes: Any) -> Record:
    return Record(exporter, "traces", {"name": name, "attributes": attributes})


def test_a_golden_file_does_not_depend_on_the_order_of_arrival():
    records = [record(STORE, "b", y=1, x=2), record(STORE, "a"), record(OWN, "c")]
    other = [record(OWN, "c"), record(STORE, "a"), record(STORE, "b", x=2, y=1)]
    assert golden.text(records) == golden.text(other)
    assert yaml.safe_load(golden.text(records)) == {
        "traces": {
            "store": [{"name": "a", "attributes": {}}, {"name": "b", "attributes": {"x": 2, "y": 1}}],
            "store (acme alone)": [{"name": "c", "attributes": {}}],
        }
    }


def test_destinations_at_which_the_same_arrived_stand_together():
    records = [record(STORE, "a"), record(FAR, "a")]
    assert list(yaml.safe_load(golden.text(records))["traces"]) == ["far, store"]


def test_a_golden_file_is_written_compared_and_told_when_it_differs(tmp_path):
    file = tmp_path / "x.golden.yaml"
    (missing,) = golden.compare(file, [])
    assert missing.message == f"{file} does not exist; --update writes it"
    assert golden.update(file, [record(STORE, "a")]) is True
    assert golden.update(file, [record(STORE, "a")]) is False
    assert golden.compare(file, [record(STORE, "a")]) == []
    (differs,) = golden.compare(file, [record(STORE, "b")])
    assert differs.path == ("golden",)
    assert {"-  - name: a", "+  - name: b"} <= set(differs.detail)


def test_a_long_difference_is_cut(tmp_path):
    file = tmp_path / "x.golden.yaml"
    golden.update(file, [])
    (differs,) = golden.compare(file, [record(STORE, f"span {number}") for number in range(200)])
    assert len(differs.detail) == 61
    assert differs.detail[-1].endswith("more lines")


def test_a_golden_file_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "x.golden.yaml").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        golden.update(Path(tmp_path / "x.golden.yaml"), [])

"""What the documentation says about destinations is what the model and guarantees.yaml say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.config.guarantees import QUEUES, guarantee, guarantees
from theodore_otel.render import docs, render

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/destinations.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(destinations:.*?)```", TEXT, re.DOTALL)


def configured(destination: str):
    return load_text(f"destinations: {{it: {destination}}}", "t.yaml").destinations["it"]


@pytest.fixture(scope="module")
def everything():
    """Return a configuration with every example's destination, and the exporters of each as rendered."""
    merged = {name: value for each in EXAMPLES for name, value in yaml.safe_load(each)["destinations"].items()}
    config = load_text(yaml.safe_dump({"destinations": merged}), "t.yaml")
    (file,) = render(config, "t.yaml", ["collector"])
    found: dict[str, list[dict]] = {}
    for id_, exporter in yaml.safe_load(file.text)["exporters"].items():
        found.setdefault(id_.partition("/")[2].partition(".")[0], []).append(exporter)
    assert set(found) >= set(config.destinations)
    return config, found


def test_every_type_has_a_row_for_each_signal_it_takes():
    assert set(guarantees()) == set(docs.types())
    for kind, model in docs.types().items():
        rows = guarantees()[kind]
        assert {signal for row in rows for signal in row.signals} == set(model.takes), kind
        assert not rows[-1].when, f"{kind}: the last row has to hold for whatever is left"
        for row in rows:
            assert row.queue in QUEUES
            assert set(row.when) <= set(model.model_fields)
            assert (row.audit is not None) == ("logs" in row.signals), f"{kind}: audit records are logs"


@pytest.mark.parametrize(
    ("destination", "signal", "queue", "audit"),
    [
        ("{type: prometheus}", "metrics", "none", None),
        ("{type: prometheus, endpoint: 'http://p:9090'}", "metrics", "disk", None),
        ("{type: siem, endpoint: 's:514', network: udp}", "logs", "disk", "weak"),
        ("{type: kafka, brokers: ['k:9092']}", "logs", "disk", "strong"),
        ("{type: datadog, api_key: {env: A}}", "logs", "passed", "weak"),
    ],
)
def test_a_guarantee_is_found_by_type_signal_and_keys(destination, signal, queue, audit):
    found = guarantee(configured(destination), signal)
    assert (found.queue, found.audit) == (queue, audit)


def test_what_has_a_queue_on_disk_is_rendered_with_one_that_loses_nothing(everything):
    config, exporters = everything
    for name, destination in config.destinations.items():
        queues = [exporter.get("sending_queue") for exporter in exporters[name]]
        for signal in destination.signals:
            kept = guarantee(destination, signal).queue
            assert all((queue is not None) == (kept != "none") for queue in queues), (name, signal)
        assert all(q["storage"] == "file_storage/queue" for q in queues if q), name
        # Only what is promised to arrive makes senders wait.
        waiting = [q["block_on_overflow"] for q in queues if q]
        assert waiting.count(True) == ("logs" in destination.signals and guarantee(destination, "logs").queue == "disk")


def test_no_timeout_ends_the_retries_of_an_exporter_that_retries_by_itself(everything):
    config, exporters = everything
    names = [name for name, destination in config.destinations.items() if destination.type in ("elasticsearch", "s3")]
    assert len(names) >= 2
    for exporter in (each for name in names for each in exporters[name]):
        assert exporter["timeout"] == "0s"
        assert "retry_on_failure" not in exporter


def test_the_generated_parts_are_current_and_every_type_has_one():
    assert docs.generate(TEXT) == TEXT
    assert set(re.findall(r"<!-- generated: ([a-z0-9]+) -->", TEXT)) == {"overview", "pipelines", *docs.types()}


def test_a_stale_part_is_written_again():
    stale = TEXT.replace("**strong**: ", "**weak**: ").replace("`site`", "`sight`")
    assert stale != TEXT
    assert docs.generate(stale) == TEXT


def test_the_examples_are_valid():
    assert len(EXAMPLES) == 1 + len(docs.types())
    for name in ("destinations", "tenants", "sampling", "kubernetes"):
        examples = re.findall(r"```yaml\n(.*?)```", (ROOT / f"docs/{name}.md").read_text(), re.DOTALL)
        assert examples, name
        for example in examples:
            load_text(example, f"docs/{name}.md")

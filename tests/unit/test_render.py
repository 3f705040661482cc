"""Rendering: the same bytes every time, whole files or none, and no way around what protects tenants and secrets."""

from __future__ import annotations

import json
import os
import re

import jinja2
import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.errors import InputError
from theodore_otel.render import TARGETS, RenderedFile, files, render
from theodore_otel.render.defaults import main as write_defaults
from theodore_otel.render.exporters import Exporter, exporters
from theodore_otel.render.filters import names_below
from theodore_otel.render.templates import environment

FULL = """
tenants: {services: {api: {may_report: [acme, globex]}}}
destinations:
  jaeger: {type: jaeger, endpoint: "jaeger:4317"}
  elastic: {type: elasticsearch, endpoints: ["https://es:9200"], api_key: {env: ES_API_KEY}}
  dd: {type: datadog, api_key: {file: /run/secrets/dd}}
"""

MANY = (
    FULL
    + """
logging: {deduplicate: {enabled: true}}
tenants:
  list:
    acme: {isolation: dedicated, sampling: {traces: 0.5}}
    globex: {destinations: {jaeger: {}, elastic: {categories: [audit, business]}}}
"""
).replace("tenants: {services: {api: {may_report: [acme, globex]}}}\n", "")


def collector(text: str) -> dict:
    (file,) = render(load_text(text, "t.yaml"), "t.yaml", ["collector"])
    return yaml.safe_load(file.text)


def test_rendering_twice_gives_the_same_bytes():
    assert render(load_text(FULL, "t.yaml"), "t.yaml") == render(load_text(FULL, "t.yaml"), "t.yaml")


def test_what_every_machine_needs_is_rendered_when_nothing_is_named():
    assert [file.path for file in render(load_text("", "t.yaml"), "t.yaml")] == ["collector.yaml", "instrument.json"]
    assert [name for name, target in TARGETS.items() if target.default] == ["collector", "instrument"]


def test_an_unknown_target_is_told_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown render target 'heml'.*collector, instrument"):
        render(load_text("", "t.yaml"), "t.yaml", ["heml"])


def test_the_header_names_source_and_command():
    (file,) = render(load_text("", "t.yaml"), "t.yaml", ["collector"])
    assert file.text.startswith("# Rendered from t.yaml by `theodore-otel render collector`")


def test_a_secret_is_written_as_a_reference():
    exporters = collector(FULL)["exporters"]
    assert exporters["elasticsearch/elastic"]["api_key"] == "${env:ES_API_KEY}"
    assert exporters["datadog/dd"]["api"]["key"] == "${file:/run/secrets/dd}"


def test_a_dollar_in_a_value_is_not_expanded_by_the_collector():
    config = collector('destinations: {o: {type: otlp, protocol: http, endpoint: "http://a/${env:SECRET}"}}')
    assert config["exporters"]["otlphttp/o"]["endpoint"] == "http://a/$${env:SECRET}"


def test_every_exporter_that_can_has_a_queue_on_disk_and_only_one_for_audit_makes_senders_wait():
    for name, exporter in collector(FULL)["exporters"].items():
        if name.startswith("file/full."):
            continue
        assert exporter["sending_queue"]["storage"] == "file_storage/queue", name
        assert exporter["sending_queue"]["block_on_overflow"] is name.endswith(".AUDIT"), name
        assert exporter["sending_queue"]["sizer"] == "bytes"


def test_what_a_full_queue_does_not_take_is_left_out_at_its_destination_and_audit_records_nowhere():
    config = collector(MANY)
    pipelines = config["service"]["pipelines"]
    asked = {name: each for name, each in config["connectors"].items() if name.startswith("failover/")}
    queued = {name for name, each in config["exporters"].items() if "sending_queue" in each}
    found = set()
    for name, each in asked.items():
        (first,), (second,) = each["priority_levels"]
        # Its own queue would be in memory: whoever was answered would lose what is in it when the collector is killed.
        assert each["sending_queue"] == {"enabled": False}
        assert pipelines[first]["receivers"] == pipelines[second]["receivers"] == [name]
        # Nothing but the queue decides: what stands before it fails for everybody, as it does for a poisoned record.
        assert "processors" not in pipelines[first]
        found.update(pipelines[first]["exporters"])
        assert pipelines[second]["exporters"][0].startswith("file/full.")
    assert found == {name for name in queued if not name.endswith(".AUDIT")}
    ordinary = {name for name, each in pipelines.items() if set(each["exporters"]) & queued} - set(asked)
    assert {name.partition(".")[0] for name in ordinary} <= {
        "traces/queue", "logs/queue", "metrics/queue", "logs/audit", "logs/audit-lane", "metrics/stats",
    }  # fmt: skip


@pytest.mark.case("request_beyond_queue")
@pytest.mark.parametrize("size", ["8MiB", "512KiB", "1B", "67108863B"])
def test_a_queue_that_cannot_hold_the_largest_request_is_refused(size):
    message = rf"t\.yaml:1: collector\.queue\.size: expected 64MiB or more, .* got the string '{size}'"
    with pytest.raises(InputError, match=message):
        collector(f"collector: {{queue: {{size: {size}}}}}")
    collector("collector: {queue: {size: 64MiB}}")


def test_every_pipeline_from_outside_limits_memory_first_and_checks_the_tenant():
    pipelines = collector(FULL)["service"]["pipelines"]
    outside = [pipeline for pipeline in pipelines.values() if pipeline["receivers"] == ["otlp"]]
    assert len(outside) == 3
    for pipeline in outside:
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"] == [
            "memory_limiter", "transform/limit_resource", "resource/tenant", "transform/tenant",
        ]  # fmt: skip
    for signal in ("traces", "logs", "metrics"):
        assert pipelines[f"{signal}/in"]["exporters"] == [f"routing/{signal}.tenant"]
        assert pipelines[f"{signal}/service"]["processors"] == [
            "transform/service", "filter/service", "groupbyattrs/tenant",
        ]  # fmt: skip
        assert pipelines[f"{signal}/known"]["processors"][0] == "filter/tenant"


def ways(config: dict) -> list[list[str]]:
    """Return every way from a receiver to an exporter as pipelines."""
    pipelines = config["service"]["pipelines"]
    starts = [name for name, pipeline in pipelines.items() if set(pipeline["receivers"]) & set(config["receivers"])]
    found, open_ways = [], [[name] for name in starts]
    while open_ways:
        way = open_ways.pop()
        for target in pipelines[way[-1]]["exporters"]:
            if target in config["exporters"]:
                found.append([*way, target])
            else:
                open_ways += [[*way, n] for n, pipeline in pipelines.items() if target in pipeline["receivers"]]
    return found


CHECKED = ["memory_limiter", "resource/tenant", "transform/tenant", "filter/tenant"]


@pytest.mark.parametrize("text", [FULL, MANY], ids=["shared", "lanes"])
def test_every_way_to_an_exporter_checks_the_tenant_strips_and_redacts(text):
    config = collector(text)
    pipelines = config["service"]["pipelines"]
    assert {way[-1] for way in ways(config)} == set(config["exporters"])
    for way in ways(config):
        steps = [step for name in way[:-1] for step in pipelines[name].get("processors", [])]
        # What the collector asks for itself has no sender.
        needed = ["transform/health"] if way[0] == "metrics/health" else CHECKED
        if way[0] != "metrics/health" and not way[0].startswith("logs"):
            needed = [*needed, "transform/limit"]
        needed = [*needed, "transform/strip", "groupbyattrs/rebuild", "transform/redact_resource", "transform/redact"]
        needed = [*needed, "transform/strip_again"]
        # What is counted of a span goes through the limits twice: as an attribute of the span and as a label.
        assert list(dict.fromkeys(step for step in steps if step in needed)) == needed, way
        if way[0].startswith("logs") and "metrics/derived" not in way:
            (limit,) = {"transform/limit", "transform/limit_audit"}.intersection(steps)
            assert steps.index(limit) < steps.index("transform/strip"), way


def test_names_below_match_what_they_say_and_nothing_else():
    names = ["data_stream.", "elastic.", "elasticsearch.", "(?i)ddtags", "tenant", "tenant.id"]
    pattern = re.compile(names_below(names))
    meant = ["data_stream.x", "elastic.", "elasticsearch.a\nb", "ddtags", "DdTAGS", "tenant.id"]
    others = ["data_stream", "data_streams.x", "my.elastic.x", "ddtag", "tenant.idx", "tenant."]
    assert [name for name in meant + others if pattern.search(name)] == meant


def test_nothing_after_redaction_waits_or_stores_before_the_exporters_queue():
    pipelines = collector(MANY)["service"]["pipelines"]
    waiting = [
        name
        for name, pipeline in pipelines.items()
        if any(step.startswith(("batch", "tail_sampling", "logdedup")) for step in pipeline.get("processors", []))
    ]
    assert waiting == ["traces/sample", "traces/sample.acme", "traces/always", "logs/rest", "metrics/derived"]


def test_a_dedicated_tenant_has_its_own_sampler_and_exporters_and_shared_ones_keep_theirs():
    config = collector(MANY)
    table = {row["condition"]: row["pipelines"] for row in config["connectors"]["routing/traces"]["table"]}
    assert table == {'attributes["tenant.id"] == "acme"': ["traces/decide.acme", "traces/stats.dd.acme"],
                     'attributes["tenant.id"] == "globex"': ["traces/decide"]}  # fmt: skip
    assert config["service"]["pipelines"]["traces/lane.acme"]["exporters"] == [
        "forward/traces.jaeger.acme", "forward/traces.elastic.acme", "forward/traces.dd.acme",
    ]  # fmt: skip
    assert set(config["exporters"]) >= {"otlp/jaeger", "otlp/jaeger.acme", "elasticsearch/elastic.acme"}


def test_a_tenant_with_a_choice_of_destinations_reaches_those_only():
    config = collector(MANY)
    reached = {way[-1] for way in ways(config) if any(name.endswith("lane.group-1") for name in way)}
    kept = {"otlp/jaeger", "elasticsearch/elastic", "elasticsearch/elastic.AUDIT", "file/nowhere"}
    assert reached == kept | {"file/full.jaeger", "file/full.elastic"}
    categories = config["processors"]["filter/categories.logs.elastic.group-1"]["logs"]["log_record"]
    assert categories == ['not IsMatch(attributes["theodore.category"], "^(business)$$")']
    assert "filter/categories.audit.elastic.group-1" in config["processors"]


def test_a_tenant_cannot_drop_what_it_is_known_by():
    text = "tenants: {list: {acme: {drop_attributes: [customer.name, tenant.id]}}}"
    with pytest.raises(InputError, match=r"tenants\.list\.acme\.drop_attributes: expected .* got 'tenant\.id'"):
        collector(text)


def test_a_thousand_shared_tenants_add_no_pipeline_no_exporter_and_no_processor():
    many = yaml.safe_load(FULL)
    many["tenants"]["list"] = {f"tenant{number}": {"budget_usd_per_hour": number + 1} for number in range(1000)}
    assert collector(yaml.safe_dump(many, sort_keys=False)) == collector(FULL)


def test_categories_of_a_destination_are_filtered_behind_redaction():
    config = collector('destinations: {s: {type: siem, endpoint: "siem:6514"}, f: {type: file, directory: /x}}')
    pipelines = config["service"]["pipelines"]
    assert pipelines["logs/out"]["exporters"] == ["file/f.logs"]
    assert pipelines["logs/audit"]["exporters"] == ["forward/audit.s", "file/f.logs"]
    assert pipelines["logs/audit.s"] == {
        "receivers": ["forward/audit.s"],
        "processors": ["transform/siem"],
        "exporters": ["syslog/s.AUDIT"],
    }


def test_the_exporters_are_told_by_destination_signals_and_tenant():
    told = exporters(load_text(MANY, "t.yaml"))
    assert set(collector(MANY)["exporters"]) >= {exporter.id for exporter in told}
    assert next(e for e in told if e.tenant == "acme") == Exporter("otlp/jaeger.acme", "jaeger", ("traces",), "acme")


def test_every_processor_that_protects_fails_closed():
    for name, processor in collector(FULL)["processors"].items():
        if name.startswith(("transform", "filter")):
            assert processor["error_mode"] == "propagate", name


def test_the_collectors_own_log_is_not_at_debug():
    assert collector(FULL)["service"]["telemetry"]["logs"]["level"] == "info"


def test_nothing_listens_beyond_loopback_unless_told():
    (file,) = render(load_text("destinations: {p: {type: prometheus}}", "t.yaml"), "t.yaml", ["collector"])
    assert "0.0.0.0" not in file.text
    listening = re.findall(r"^ +(?:endpoint|host): ?\"?127\.0\.0\.1", file.text, re.MULTILINE)
    listening += re.findall(r"^ +health_check: \{endpoint: \"127\.0\.0\.1", file.text, re.MULTILINE)
    # Besides, the collector asks itself how it is: an address, and the name that the answer gets.
    assert len(listening) == 5
    assert file.text.count("127.0.0.1") == 7


def test_extra_adds_components_and_pipelines():
    config = collector("""
collector:
  extra:
    receivers: {hostmetrics: {scrapers: {cpu: {}}}}
    exporters: {debug/extra: {}}
    extensions: {zpages: {}}
    service:
      extensions: [zpages]
      pipelines: {metrics/host: {receivers: [hostmetrics], exporters: [debug/extra]}}
""")
    assert config["receivers"]["hostmetrics"] == {"scrapers": {"cpu": {}}}
    assert config["service"]["extensions"][-1] == "zpages"
    assert config["service"]["pipelines"]["metrics/host"]["receivers"] == ["hostmetrics"]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("{processors: {resource/tenant: {attributes: []}}}", "collector.extra.processors.resource/tenant"),
        ("{processors: {filter/tenant: null}}", "collector.extra.processors.filter/tenant"),
        ("{service: {pipelines: {traces/out: {exporters: [debug]}}}}", "collector.extra.service.pipelines.traces/out"),
        ("{service: {telemetry: {logs: {level: debug}}}}", "collector.extra.service.telemetry.logs.level"),
        ("{service: {pipelines: {traces/raw: {receivers: [otlp], exporters: [x]}}}}", "traces/raw.receivers"),
        ("{service: {pipelines: {traces/raw: {receivers: [forward/sampled]}}}}", "forward/sampled"),
        ("{service: {pipelines: {logs/raw: {receivers: [x], exporters: [forward/logs]}}}}", "logs/raw.exporters"),
        ("{service: {pipelines: {logs/raw: {receivers: [x], exporters: [otlp/jaeger]}}}}", "otlp/jaeger"),
        ("{receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:1}}}}}", "collector.extra.receivers.otlp"),
    ],
)
def test_extra_cannot_change_or_bypass_what_is_rendered(extra, expected):
    with pytest.raises(InputError, match=expected.replace(".", r"\.")):
        collector(f"{FULL}\ncollector: {{extra: {extra}}}")


def test_a_name_that_a_template_is_not_given_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ nonsense }}").render()


def test_the_process_settings_hold_no_secret_and_what_the_contract_names():
    (file,) = render(load_text(FULL, "t.yaml"), "t.yaml", ["instrument"])
    settings = json.loads(file.text)
    assert settings["endpoint"] == "http://127.0.0.1:4318"
    assert settings["exit_budget"] == 1.0
    assert "ES_API_KEY" not in file.text
    assert settings["redaction"]["mask"] == "[REDACTED]"


def test_the_built_in_process_settings_are_current():
    assert write_defaults(check=True) == 0


def test_files_are_written_whole_and_only_when_they_differ(tmp_path):
    wanted = [RenderedFile("a/x.yaml", "x\n"), RenderedFile("y.json", "y\n")]
    assert files.write(wanted, tmp_path) == wanted
    before = (tmp_path / "y.json").stat().st_mtime_ns
    assert files.write([wanted[1]], tmp_path) == []
    assert (tmp_path / "y.json").stat().st_mtime_ns == before
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["x.yaml", "y.json"]


def test_when_one_file_cannot_be_written_none_is(tmp_path):
    (tmp_path / "y.json").mkdir()
    with pytest.raises(InputError, match=r"y\.json: cannot be written"):
        files.write([RenderedFile("x.yaml", "x\n"), RenderedFile("y.json", "y\n")], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["y.json"]
    assert os.listdir(tmp_path / "y.json") == []


def test_the_diff_shows_what_would_change(tmp_path):
    (tmp_path / "x").write_text("old\n")
    shown = files.diff([RenderedFile("x", "new\n")], tmp_path)
    assert "-old" in shown
    assert "+new" in shown
    assert files.diff([RenderedFile("x", "old\n")], tmp_path) == ""


@pytest.mark.case("extra_taps_unredacted_data")
@pytest.mark.parametrize(
    "receivers",
    [
        "['otlp ']",
        "[' otlp']",
        '["otlp\\t"]',
        "['${env:X}']",
        "['$X']",
        "'${env:X}'",
        "['forward / sampled']",
        "[{a: 1}]",
    ],
)
def test_raw_configuration_cannot_tap_data_by_another_spelling(receivers):
    text = f"""collector:
  extra:
    exporters: {{debug: {{}}}}
    service: {{pipelines: {{traces/x: {{receivers: {receivers}, exporters: [debug]}}}}}}
"""
    with pytest.raises(InputError, match=r"extra\.service\.pipelines\.traces/x\.receivers: expected"):
        collector(text)


@pytest.mark.case("extra_taps_unredacted_data")
@pytest.mark.parametrize(
    "extra",
    [
        '{"service::pipelines::traces/leak": {receivers: [otlp], exporters: [debug/leak]}}',
        'service: {"pipelines::traces/leak": {receivers: [otlp], exporters: [debug/leak]}}',
        'service: {pipelines: {"traces/leak::receivers": [otlp]}}',
        '{"processors::transform/strip": {trace_statements: []}}',
        'processors: {"transform/strip::trace_statements": []}',
        'processors: {transform/mine: {"trace_statements::x": 1}}',
        'processors: {"transform/strip ": {}}',
        'processors: {" transform / strip": {}}',
        'service: {pipelines: {"traces/out ": {receivers: [], exporters: []}}}',
        'service: {pipelines: {traces/x: {receivers: [], exporters: [{"a::b": 1}]}}}',
        'exporters: {"${env:X}": {}}',
        'connectors: {"failover/traces.local ": {}}',
        'exporters: {"file/mine.x ": {}}',
    ],
)
def test_raw_configuration_has_no_key_that_the_collector_reads_as_another(extra):
    given = yaml.safe_load(extra)
    with pytest.raises(InputError, match=r"collector\.extra"):
        collector(yaml.safe_dump({"collector": {"extra": given}}))


@pytest.mark.parametrize(
    "added",
    [
        "exporters: {file/local.traces: {append: true}}",
        "connectors: {routing/always: {x: 1}}",
        "exporters: {otlp/far.big: {timeout: 1s}}",
    ],
)
def test_a_rendered_component_with_a_dot_in_its_name_is_not_changed_in_part(added):
    text = f"""profile: production
tenants: {{list: {{big: {{isolation: dedicated}}}}}}
destinations: {{local: {{type: local}}, far: {{type: otlp, endpoint: "far:4317"}}}}
collector:
  extra:
    {added}
"""
    with pytest.raises(InputError, match="this is rendered already"):
        collector(text)

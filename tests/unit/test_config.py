"""What the configuration accepts, how layers merge, and what it says of mistakes."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from theodore_otel.config import Config, load, load_text, sample
from theodore_otel.config.errors import fields_of
from theodore_otel.config.explain import explain_key
from theodore_otel.config.loader import load_for_collector, load_layers
from theodore_otel.config.merge import merge
from theodore_otel.config.source import parse
from theodore_otel.config.units import format_duration, format_size, parse_duration, parse_size
from theodore_otel.errors import InputError
from theodore_otel.render import render


def refused(text: str, path: Path) -> str:
    file = path / "theodore-otel.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load(file)
    return str(caught.value).replace(str(file), "FILE")


def test_an_item_of_a_list_is_named_as_the_file_has_it(tmp_path):
    text = "instrument:\n  model_apis:\n  - {name: a, url: x, provider: p}\n  - {name: b, url: '(', provider: p}\n"
    assert refused(text, tmp_path).startswith("FILE:4: instrument.model_apis.1.url: expected a regular expression")
    text = "instrument:\n  presets: [openai-http]\n" + text.removeprefix("instrument:\n")
    assert refused(text, tmp_path).startswith("FILE:5: instrument.model_apis.1.url: expected a regular expression")


@pytest.mark.case("file_without_profile")
@pytest.mark.parametrize(
    ("text", "profile", "destinations"),
    [
        ("", "local", ["local"]),
        ("service: {name: x}", "local", ["local"]),
        ("destinations: {}", "local", ["local"]),
        ('destinations: {j: {type: jaeger, endpoint: "j:4317"}}', "production", ["j"]),
        ("profile: dev", "dev", []),
    ],
)
def test_a_file_that_names_neither_profile_nor_destination_stores_on_this_machine(text, profile, destinations):
    config = load_text(text, "t.yaml")
    assert config.profile == profile
    assert list(config.destinations) == destinations
    assert config.service.environment == {"local": "local", "dev": "development"}.get(profile, "production")


@pytest.mark.case("file_without_profile")
def test_the_reason_for_a_profile_nobody_named_is_a_layer(tmp_path):
    source = parse("", "t.yaml")
    shown = explain_key(load_layers(source), source, "profile")
    assert shown.value == "local"
    assert shown.layers[-1] == ("profile local, as neither profile nor destination is set", '"local"')


@pytest.mark.case("file_without_profile")
def test_a_configuration_that_would_throw_everything_away_is_refused(tmp_path):
    source = parse("service: {}\nprofile: production", "t.yaml")
    with pytest.raises(InputError, match=r"t\.yaml:2: destinations: expected one at least, got none"):
        load_for_collector(source)


def test_the_sample_is_valid_and_names_every_section(tmp_path):
    config = load_text(sample(), "sample.yaml")
    assert config.profile == "local"
    for section in ("service", "tenants", "logging", "tracing", "redaction", "destinations", "collector", "instrument"):
        assert f"{section}:" in sample()


def test_the_samples_commented_lines_are_valid_too():
    uncommented = re.sub(r"^( *)# (?= *(?:[a-z_]+:(?: |$)|- ))", r"\1", sample(), flags=re.MULTILINE)
    config = load_text(uncommented, "sample.yaml")
    assert config.tenants.services["api"].may_report == ["acme", "globex"]
    assert config.destinations["jaeger"].type == "jaeger"
    assert config.instrument.watch.research[0].company == "arg.company_name"


def test_the_file_wins_over_its_profile_and_the_profile_over_the_defaults():
    config = load_text("profile: local\ntracing: {sampling: {rate: 0.5}}", "t.yaml")
    assert config.tracing.sampling.rate == 0.5
    assert config.tracing.sampling.decision_wait == timedelta(seconds=1)
    assert config.service.environment == "local"


def test_a_profile_named_on_the_command_line_wins_over_the_files(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text("profile: production")
    assert load(file, "local").tracing.sampling.rate == 1.0


def test_maps_merge_and_lists_replace_unless_they_are_said_to_add():
    below = {"a": {"x": 1, "list": [1, 2]}, "b": 1}
    above = {"a": {"y": 2, "list": [2, 3]}, "b": 2}
    assert merge(below, above) == {"a": {"x": 1, "y": 2, "list": [2, 3]}, "b": 2}
    adding = merge(below, above, lambda path: path == ("a", "list"))
    assert adding == {"a": {"x": 1, "y": 2, "list": [1, 2, 3]}, "b": 2}
    assert below == {"a": {"x": 1, "list": [1, 2]}, "b": 1}


def _lists(model, path=()):
    """Yield path and an item that can be given for every list of which something is built in."""
    for name, field in fields_of(model).items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, list) and default:
            yield (*path, name), default
        elif isinstance(default, BaseModel):
            yield from _lists(type(default), (*path, name))


@pytest.mark.case("narrowed_lists")
@pytest.mark.parametrize(("path", "default"), [pytest.param(*each, id=".".join(each[0])) for each in _lists(Config)])
@pytest.mark.parametrize("share", [0, 1])
def test_a_list_of_the_file_narrows_what_is_built_in(path, default, share):
    own = TypeAdapter(list[Any]).dump_python(default[:share], mode="json", by_alias=True)
    given: Any = own
    for key in reversed(path):
        given = {key: given}
    source = parse(json.dumps(given), "t.yaml")
    shown = explain_key(load_layers(source), source, ".".join(path))
    assert shown.value == own
    assert shown.lists == "replace"


@pytest.mark.case("narrowed_lists")
def test_traces_that_are_no_longer_always_kept_are_not():
    (rendered,) = render(
        load_text("tracing: {sampling: {always: [errors]}}", "t.yaml", "production"), "t", ["collector"]
    )
    assert "latency" not in json.dumps(yaml.safe_load(rendered.text)["processors"]["tail_sampling"])


@pytest.mark.case("narrowed_lists")
def test_what_a_preset_brings_stands_beside_what_the_file_lists():
    text = """
    instrument:
      presets: [openai-http, pinecone]
      model_apis: [{name: own, url: "https://models.example/v1", provider: own}]
      watch: {storage: [{function: "a.b:C.save"}]}
    """
    config = load_text(text, "t.yaml").instrument
    names = [api.name for api in config.model_apis]
    assert names[0] == "own"
    assert "groq" in names
    assert names.count("openrouter") == 1  # built in and replaced, but brought by the preset
    assert [api.name for api in load_text(text.replace("openai-http, ", ""), "t").instrument.model_apis] == ["own"]
    assert config.watch.storage[0].function == "a.b:C.save"
    assert len(config.watch.storage) > 1


def test_the_lists_of_redaction_and_presets_add_and_are_said_to():
    source = parse("redaction: {extra_keys: [a]}\ninstrument: {presets: [click]}", "t.yaml")
    loaded = load_layers(source)
    for key in ("redaction.extra_keys", "redaction.except_keys", "redaction.disable_presets", "instrument.presets"):
        assert explain_key(loaded, source, key).lists == "add"
    assert explain_key(loaded, source, "service.name").lists == ""


@pytest.mark.case("keys_that_cannot_be_explained")
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("instrument.watch.storage.size", "Path to the number of bytes."),
        ("instrument.watch.ai.0.cache_write_tokens", "cache"),
        ("destinations.x.type", "elasticsearch"),
        ("destinations.x.endpoint", "type jaeger: host:port"),
        ("destinations.x", "keys below it: api_key"),
        ("tenants.list.acme.drop_attributes", "Names of attributes removed"),
        ("alerting.channels.team.url", "type slack: Address"),
        ("tenants.oidc.issuer_url", "Issuer"),
    ],
)
def test_a_key_that_nobody_set_is_explained(key, said):
    source = parse("", "t.yaml")
    shown = explain_key(load_layers(source), source, key)
    assert said in shown.description
    assert shown.layers == ()


@pytest.mark.case("bad_input_is_no_bug")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alerting: {rules: {mine: {expr: up, summary: 'disk ${mount}'}}}", "alerting.rules.mine.summary: expected no"),
        ("alerting: {rules: {mine: {expr: up, description: '${mount}'}}}", "is written {{ $labels.mount }}"),
        ("alerting: {rules: {mine: {expr: up, summary: '${threshold}'}}}", "expected `threshold`, because `summary`"),
        ("alerting: {rules: {cost_budget_exceeded: {threshold: .inf}}}", "finite number"),
        ("tracing: {sampling: {rate: .nan}}", "tracing.sampling.rate: expected"),
        ("tenants: {defaults: {budget_usd_per_hour: .inf}}", "expected a finite number"),
        ("instrument: {watch: {ai: [{function: 'a:b', when: {arg.x: .inf}}]}}", "expected a text, a number"),
        ("local: {keep: 9999999999999999d}", "local.keep: expected a duration of 36500d at most"),
        (f"local: {{keep: {'9' * 400}d}}", "local.keep: expected a duration of 36500d at most"),
        (f"local: {{size: {'9' * 400}GiB}}", "local.size: expected a size of"),
        ("collector: {queue: {size: -1}}", "collector.queue.size: expected a size such as"),
        ("instrument: {spool: {size: -5}}", "instrument.spool.size: expected a size such as"),
        ('service: {name: "a\\0b"}', "FILE:1: expected text without the character U+0000"),
        ("service: {name: a\0b}", "this is not valid YAML"),
        ("\n\nservice: {version: 2024-01-01}", "FILE:3: expected a text, a number, true or false, got the date"),
        ("service: {name: !!binary aGk=}", "got the tag !!binary"),
        ("collector: {extra: !!set {a}}", "got the tag !!set"),
        ("service: &a {b: {c: *a}}", "an alias (*name) stands inside what it refers to"),
        (f"collector: {{extra: {{a: {'[' * 80}{']' * 80}}}}}", "nested too deep: expected 64 levels"),
        (f"a: {'[' * 100_000}", "nest"),
        (
            "service:\n  name: x\n version: '1'",
            "FILE:3: this is not valid YAML: did not find expected key: the line is not",
        ),
        ("service:\n\tname: x", "FILE:2: this is not valid YAML: found character that cannot start any token: a tab"),
        ("tracing: {rate: 0.5}", "tracing.rate: unknown key; did you mean 'tracing.sampling.rate'?"),
        ("profile: prod", "did you mean 'production'?"),
        (
            "alerting: {rules: {high_error_rate: {channels: [team]}}}",
            "define it, such as alerting.channels.team: {type",
        ),
    ],
)
def test_what_nobody_can_use_is_told_as_a_mistake(tmp_path, text, expected):
    assert expected in refused(text, tmp_path)


@pytest.mark.case("alias_bomb")
@pytest.mark.parametrize(
    "bomb",
    [
        ["&{0} [{1}]", "x", ", "],
        ["&{0} {{<<: [{1}]}}", "{k: v}", ", "],
    ],
    ids=["lists", "merged maps"],
)
def test_few_lines_that_stand_for_billions_of_values_are_refused(tmp_path, bomb):
    form, leaf, comma = bomb
    lines = [f"a0: &a0 {leaf}" if leaf != "x" else f"a0: &a0 [{comma.join(['x'] * 10)}]"]
    lines += [f"a{n}: {form.format(f'a{n}', comma.join([f'*a{n - 1}'] * 10))}" for n in range(1, 30)]
    assert "values at most, with every alias (*name) written out" in refused("\n".join(lines), tmp_path)


@pytest.mark.case("alias_bomb")
def test_a_file_without_end_is_refused():
    with pytest.raises(InputError, match="/dev/zero: expected a file of 1 MiB at most"):
        load(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("service: {nam: x}", "FILE:1: service.nam: unknown key; did you mean 'name'?"),
        ("\n\nprofil: local", "FILE:3: profil: unknown key; did you mean 'profile'?"),
        ("service: {version: 2.0}", "FILE:1: service.version: expected a string, got the number 2.0; put it in quotes"),
        ("tracing: {sampling: {rate: 2}}", "FILE:1: tracing.sampling.rate: expected less than or equal to 1, got"),
        ("tracing: {sampling: {rate: lots}}", "expected a number, got the string 'lots'"),
        ("tracing: {sampling: {slow: {ai: 30}}}", "expected a duration such as 500ms, 30s"),
        ("collector: {memory: much}", "expected a size such as 512MiB"),
        ("collector: {memory: 1MiB}", "expected greater than or equal to 67108864"),
        ("profile: loca", "expected 'local', 'dev' or 'production', got the string 'loca'; did you mean 'local'?"),
        ("destinations: {j: {type: jager}}", "destinations.j: type: expected one of otlp, jaeger,"),
        ("destinations: {j: {endpoint: x}}", "destinations.j: type: this key is required and missing"),
        ("destinations: {j: {type: jaeger, endpoit: x}}", "unknown key; did you mean 'endpoint'?"),
        ("tenants: {list: {Bad-Id: {}}}", "tenants.list.Bad-Id: expected text of the form"),
        ("tenants: {identify_by: oidc}", "expected tenants.oidc with issuer_url"),
        ("tenants: {list: {acme: {destinations: [nowhere]}}}", "tenants.list.acme.destinations: expected names of"),
        ("service: [a]", "service: expected a mapping, got a list"),
        ("version: 2", "version: expected 1, got the number 2"),
        ("a: 1\na: 2", "FILE:2: a: this key stands twice, first on line 1"),
        ("a: [", "FILE:1: this is not valid YAML"),
        ("- a", "expected a mapping of keys"),
        ("instrument: {watch: {research: [{function: nope}]}}", "instrument.watch.research.0.function: expected text"),
    ],
)
def test_a_mistake_is_told_with_place_expectation_and_what_came(tmp_path, text, expected):
    assert expected in refused(text, tmp_path)


def test_a_missing_file_is_told_with_the_command_that_writes_one(tmp_path):
    with pytest.raises(InputError, match="no such file; `theodore-otel init`"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("value", ["sk-abc123", "{env: X, file: Y}", "{}", "{value: sk-abc123}"])
def test_a_secret_given_in_clear_is_refused_without_repeating_it(tmp_path, value):
    message = refused(f"destinations: {{d: {{type: datadog, api_key: {value}}}}}", tmp_path)
    assert "destinations.d.api_key" in message
    assert "sk-abc123" not in message


def test_every_mistake_is_told_at_once_in_the_files_order(tmp_path):
    lines = refused("servce: {}\nlogging: {level: LOUD}\ncollector: {memory: 1}", tmp_path).splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("7d", 604800), ("2w", 1209600)]
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["7d", "90s", "1500ms", "12h", "0ms"])
def test_durations_are_written_as_they_were_read(text):
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(("text", "count"), [("1KiB", 1024), ("100MB", 10**8), ("2GiB", 2 * 2**30), ("12B", 12)])
def test_sizes_are_read(text, count):
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["512MiB", "2GiB", "1KiB", "100B"])
def test_sizes_are_written_as_they_were_read(text):
    assert format_size(parse_size(text)) == text


ADDRESSES = {
    "destinations.d.endpoint": [
        {"type": "otlp", "protocol": "http", "endpoint": "https://{}h:4318"},
        {"type": "otlp", "endpoint": "{}h:4317"},
        {"type": "jaeger", "endpoint": "{}h:4317"},
        {"type": "zipkin", "endpoint": "http://{}h:9411/api/v2/spans"},
        {"type": "prometheus", "endpoint": "http://{}h:9090"},
        {"type": "datadog", "api_key": {"env": "X"}, "endpoint": "https://{}h"},
        {"type": "newrelic", "license_key": {"env": "X"}, "endpoint": "https://{}h"},
        {"type": "splunk", "token": {"env": "X"}, "endpoint": "https://{}h:8088/services/collector"},
        {"type": "siem", "endpoint": "{}h:6514"},
        {"type": "s3", "bucket": "abc", "region": "r", "endpoint": "https://{}h:9000"},
    ],
    "destinations.d.endpoints.0": [{"type": "elasticsearch", "endpoints": ["https://{}h:9200"]}],
    "destinations.d.brokers.0": [{"type": "kafka", "brokers": ["{}h:9092"]}],
    "alerting.channels.d.url": [{"type": "pagerduty", "key": {"env": "X"}, "url": "https://{}h/v2"}],
    "alerting.channels.d.api_url": [
        {"type": "sms", "to": ["+4915112345678"], "region": "r", "api_url": "https://{}h/"},
    ],
    "alerting.channels.d.smtp": [
        {"type": "email", "smtp": "{}h:25", "from": "a@example.com", "to": ["b@example.com"]},
    ],
    "alerting.runbooks": ["https://{}h/wiki"],
    "health.targets.0.url": ["http://{}h/up"],
    "query.prometheus": ["http://{}h:9090"],
    "tenants.oidc.issuer_url": ["https://{}h/realm"],
    "instrument.endpoint": ["http://{}h:4318"],
    "collector.listen.http": ["{}h:4318"],
}


def configured(key: str, value: Any) -> dict[str, Any]:
    """Return a configuration in which what holds an address stands where the key says."""
    if key.startswith(("destinations", "alerting.channels")):
        section = {"d": value}
        return {"destinations": section} if key[0] == "d" else {"alerting": {"channels": section}}
    if key.startswith("health"):
        return {"health": {"targets": [{"name": "t", "url": value}]}}
    if key.startswith("tenants"):
        return {"tenants": {"identify_by": "oidc", "oidc": {"issuer_url": value, "audience": "a"}}}
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.mark.case("password_in_an_address")
@pytest.mark.parametrize(
    "user", ["ada:kept-back@", "kept-back@", "ada:kept/back@", "ada:kept-back%20@", "ada:p@kept-back@"]
)
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in ADDRESSES.items() for value in values])
def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path, key, value, user):
    def filled(text: str) -> str:
        return json.dumps(configured(key, value)).replace("{}h", f"{text}h")

    message = refused(filled(user), tmp_path)
    assert f"{key}: expected an address without user and password or a key in it" in message
    assert "kept" not in message
    (tmp_path / "good.yaml").write_text(filled(""))
    load(tmp_path / "good.yaml")


@pytest.mark.case("password_in_an_address")
@pytest.mark.parametrize("query", ["?api_key=kept-back", "?x=1&token=kept-back", "#access_token=kept-back"])
def test_a_key_in_an_addresss_query_is_refused_and_an_ordinary_query_is_not(tmp_path, query):
    assert "kept-back" not in refused(f"query: {{prometheus: 'http://h:9090/{query}'}}", tmp_path)
    (tmp_path / "good.yaml").write_text("query: {prometheus: 'http://h:9090/?local=true&id=7'}")
    load(tmp_path / "good.yaml")


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        ("{rate: 0.1, decision_wait: 5s}", "5 s is shorter than slow.research (120 s)"),
        ("{rate: 0.1, decision_wait: 9s, slow: {research: 90s, ai: 110s}}", "shorter than slow.ai (110 s)"),
        ("{rate: 0.1, decision_wait: 3s, slow: {research: 3s, ai: 3s, scraping: 2s, storage: 1s}}", None),
        ("{rate: 0.1}", None),
        ("{rate: 0.1, decision_wait: 5s, always: [errors]}", None),
        ("{rate: 1.0, decision_wait: 5s}", None),
        ("{rate: 1.0, decision_wait: 5s, max_spans_per_second: 10}", "5 s is shorter"),
    ],
)
def test_a_wait_that_is_shorter_than_what_counts_as_slow_is_told(sampling, told):
    warning = load_text(f"profile: production\ntracing: {{sampling: {sampling}}}", "t.yaml").tracing.sampling.warning()
    assert (told in warning) if told else warning is None

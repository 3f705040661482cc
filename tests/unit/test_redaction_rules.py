"""What the process masks, and how presets become rules for the collector."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.canaries import INNOCENT

from theodore_otel.config import load_text
from theodore_otel.errors import InputError
from theodore_otel.redaction import record
from theodore_otel.redaction.matcher import MASK, Matcher
from theodore_otel.redaction.presets import all_presets, load
from theodore_otel.render import render
from theodore_otel.render.rules import redaction_rules

NEEDED = {
    "email", "credit_card", "phone", "ssn", "iban", "jwt", "bearer", "url_credentials", "query_strings", "private_keys",
    "aws", "gcp", "azure", "github", "slack", "openai", "anthropic", "openrouter", "pinecone",
}  # fmt: skip


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(load().settings())


def configured(text: str) -> Matcher:
    return Matcher(redaction_rules(load_text(text, "test.yaml")).settings())


def test_every_kind_of_secret_has_a_preset():
    assert {preset.name for preset in all_presets()} >= NEEDED


@pytest.mark.parametrize("preset", all_presets(), ids=lambda preset: preset.name)
def test_a_preset_masks_its_examples_and_keeps_the_others(matcher, preset):
    for text in preset.masked:
        assert MASK in matcher.text(text), text
        assert preset.name in [hit.name for hit in matcher.find(text)], text
    for text in preset.kept:
        assert matcher.text(text) is text


@pytest.mark.parametrize(
    "key",
    ["password", "db.password", "apiKey", "api-key", "API_KEY", "x.secret", "userToken", "auth", "SESSION_ID",
     "sessionId", "http.request.header.cookie", "passwords", "mcp-session-id", "PGPASSWORD", "dbpassword", "authtoken",
     "clientsecret", "CLIENTSECRET", "accessTokens", "api_keys", "apikeys", "private_key_id", "user_pass", "JSESSIONID",
     "authheader", "connectionString", "SENTRY_DSN", "key_1", "KEY", "credentials", "x-amz-security-token", "otp"],
)  # fmt: skip
@pytest.mark.case("secret_keys")
def test_a_value_under_a_secret_word_is_masked(matcher, key):
    for value in ("x", 5, 1.5, True, ["x"], {"a": "b"}, b"x"):
        assert matcher.value(key, value) == MASK
    assert matcher.value("nested", {key: ["x"], "a": 1}) == {key: MASK, "a": 1}
    assert matcher.value(key, None) is None


@pytest.mark.parametrize(
    "key",
    ["input_tokens", "tokens", "author", "authority", "keyword", "monkey", "broken", "secretary", "gen_ai.token.type",
     "payload.gen_ai.token.type", "aws.s3.key", "tokenizer", "total_token_count", "candidatesTokenCount", "TOKEN_LIMIT",
     "llm.token_count.prompt_details.cache_read", "token_usage", "session.id", "mcp.session.id", "key_people",
     "keyProducts", "primary_key", "primaryKey", "PARTITION_KEY", "idempotency-key", "next_page_token", "auth.type",
     "auth_method", "secret_name", "password_reset", "cookie_consent", "db.redis.key", "sacred", "bypass",
     "pass_rate", "turkey"],
)  # fmt: skip
@pytest.mark.case("innocent_keys")
def test_a_word_within_another_is_none(matcher, key):
    assert not matcher.key(key)


def spellings(word: str) -> list[str]:
    """Return every key that a word of keys.yaml stands for, in every way it is written."""
    parts = [part.replace("(s)", "").strip("()").split("|") for part in word.strip("*$").split("_")]
    keys = ["_".join(chosen) for chosen in itertools.product(*parts)]
    keys += [f"{key}s" for key in keys if word.endswith("(s)")]
    ways = [[key, key.upper(), key.title(), key.title().replace("_", "")] for key in keys]
    return [f"{before}{way}" for way in itertools.chain(*ways) for before in ("", "my.", "my-")]


@pytest.mark.parametrize("key", load().keys, ids=lambda key: key.word)
def test_a_word_is_found_however_it_is_written_and_so_are_its_gates(matcher, key):
    for name in spellings(key.word):
        assert matcher.key(name)
        text = f"\x1f{name}\x1evalue\x1f"
        found = [rule for rule in key.records if re.search(rule.pattern, text)]
        assert found, name
        assert all(any(re.search(gate, text) for gate in rule.gates) for rule in found), name


def test_innocent_values_come_back_as_they_are(matcher):
    assert {key: matcher.value(key, value) for key, value in INNOCENT.items()} == INNOCENT


def test_a_number_is_masked_when_it_passes_the_check_of_cards(matcher):
    assert matcher.value("n", 4111111111111111) == MASK
    assert matcher.value("n", 4111111111111112) == 4111111111111112
    assert matcher.text("4111111111111112") == "4111111111111112"
    assert matcher.text("paid with 4111111111111112") == f"paid with {MASK}"


def test_bytes_with_a_secret_are_masked_as_a_whole(matcher):
    assert matcher.value("b", b"mail ada@example.com") == MASK
    assert matcher.value("b", b"\xff\xfe") == b"\xff\xfe"


def test_a_url_loses_user_query_and_fragment(matcher):
    url = "https://ada:pw@example.com/a/ada@example.com?token=x#y"
    assert matcher.url(url) == f"https://example.com/a/{MASK}"


def test_a_configuration_adds_and_takes_away():
    own = configured(
        "redaction: {extra_keys: [internalRef], except_keys: [cache.key], extra_values: {ticket: 'INC-[0-9]+'},"
        " disable_presets: [email]}"
    )
    assert own.value("my.internal_ref", "x") == MASK
    assert own.value("cache.key", "x") == "x"
    assert own.text("see INC-42, ada@example.com") == f"see {MASK}, ada@example.com"


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("disable_presets: [emial]", "disable_presets", "did you mean 'email'"),
        ("extra_keys: ['a b!']", "extra_keys[0]", "words of letters and digits"),
        ("extra_values: {x: '('}", "extra_values.x", "expected a regular expression"),
        ("extra_values: {x: 'a*'}", "extra_values.x", "matches the empty text"),
        ("extra_values: {x: 'a(?=b)'}", "extra_values.x", "lookahead"),
        (r"extra_values: {x: '(a)\1'}", "extra_values.x", "reference back"),
        ("extra_values: {x: 'a++'}", "extra_values.x", "possessive"),
        ("extra_values: {x: 'a|^b'}", "extra_values.x", "`^` elsewhere"),
        ("extra_values: {x: '^a|b'}", "extra_values.x", "around the alternatives"),
        (r"extra_values: {x: 'a[\S,]'}", "extra_values.x", "within brackets"),
        ("extra_values: {x: '(?m)ab'}", "extra_values.x", "flags"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_key(section, key, words):
    for where, text in (
        ("redaction", f"redaction: {{{section}}}"),
        ("tenants.list.acme.redaction", f"tenants: {{list: {{acme: {{redaction: {{{section}}}}}}}}}"),
    ):
        if where != "redaction" and "disable" in section:
            continue
        with pytest.raises(InputError) as caught:
            redaction_rules(load_text(text, "test.yaml"))
        assert f"{where}.{key}" in str(caught.value)
        assert words in str(caught.value)


def test_hashing_needs_a_key_by_reference():
    for text in ("redaction: {mode: hash}", "redaction: {mode: hash, hash_key: in-clear}"):
        with pytest.raises(InputError, match="hash_key"):
            load_text(text, "test.yaml")


def test_a_secret_is_hashed_with_the_key_in_front(monkeypatch, tmp_path):
    digest = "[HASH:{}]".format(hashlib.sha256(b"pepperada@example.com").hexdigest())
    hashing = "redaction: {mode: hash, hash_key: {env: PEPPER}}"
    monkeypatch.setenv("PEPPER", "pepper")
    own = configured(hashing)
    assert own.text("to ada@example.com") == f"to {digest}"
    assert own.text(f"to {digest} and token={digest}") == f"to {digest} and token={digest}"
    assert own.value("token", "ada@example.com") == digest
    assert own.value("token", digest) == digest
    assert own.value("token", MASK) == MASK
    assert own.value("token", True) == MASK
    assert own.value("token", 7) == "[HASH:{}]".format(hashlib.sha256(b"pepper7").hexdigest())
    assert own.text("https://u:ada@example.com@h/") != own.text("https://u:bob@example.com@h/")
    monkeypatch.delenv("PEPPER")
    assert configured(hashing).text("to ada@example.com") == f"to {MASK}"
    (tmp_path / "key").write_text("pepper\n")
    filed = configured(f"redaction: {{mode: hash, hash_key: {{file: {tmp_path / 'key'}}}}}")
    assert filed.text("to ada@example.com") == f"to {digest}"


def test_the_key_is_in_no_rendered_file(monkeypatch):
    monkeypatch.setenv("PEPPER", "in-clear-1234")
    config = load_text("redaction: {mode: hash, hash_key: {env: PEPPER}}", "test.yaml")
    for file in render(config, "test.yaml"):
        assert "in-clear-1234" not in file.text
        assert "PEPPER" in file.text


def test_every_rule_begins_with_a_literal_or_has_gates_that_do():
    """What begins with anything else is tried at every character of every record."""
    rules = load()
    for value in rules.values:
        begins = [_literal(pattern) for pattern in value.record.gates or (value.record.pattern,)]
        assert all(begins), (value.name, value.record)
    assert all(map(_literal, rules.key_gates))


def _literal(pattern: str) -> str:
    found = re.match(r"\(?((?:[^\\.+*?()|\[\]{}^$]|\\[^A-Za-z0-9])+)", pattern)
    return re.sub(r".(?=[?*{])", "", found[1]) if found else ""


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("^INC-[0-9]+$", r"([\x1e\x1f])(INC-[0-9]+)([\x1e\x1f])"),
        ("a.b", rf"(a[^\n{record._CONTROLS}]b)"),
        ("(?s)a.b", rf"((?s)a[^{record._CONTROLS}]b)"),
        (r"a\S+(b|c)(?P<d>e)", rf"(a[^\s{record._CONTROLS}]+(?:b|c)(?:e))"),
        (r"[^ ]a\.[.]", rf"([^ {record._CONTROLS}]a\.[.])"),
    ],
)
def test_a_pattern_of_the_configuration_stays_within_a_value(pattern, found):
    assert record.value_rule(pattern, groups=False).pattern == found


def test_rules_are_written_once_for_all_signals_resources():
    text = render(load_text("", "test.yaml"), "test.yaml", ["collector"])[0].text
    processors = yaml.safe_load(text)["processors"]
    resource = processors["transform/redact_resource"]
    assert resource["trace_statements"] == resource["log_statements"] == resource["metric_statements"]
    assert all(processors[name]["error_mode"] == "propagate" for name in processors if "redact" in name)


def test_only_allowed_attributes_and_the_registrys_are_rendered():
    (file,) = render(load_text("redaction: {allow_attributes: [my.own]}", "test.yaml"), "test.yaml", ["collector"])
    kept = re.findall(r"keep_keys\((\S+), \[(.*)\]\)", file.text.partition("transform/redact_resource:")[2])
    assert {path for path, _ in kept} == {
        f"{c}.attributes" for c in ("resource", "scope", "span", "spanevent", "log", "datapoint")
    }
    assert all('"my.own"' in names and '"service.name"' in names and '"provider"' in names for _, names in kept)


def test_the_matcher_imports_nothing_heavy():
    code = (
        "import sys, theodore_otel.redaction.matcher; print(sorted({'yaml', 'pydantic', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def explain(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("theodore-otel"), "redact", "explain", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True)


def test_explain_says_which_preset_hits_what_and_what_is_left(tmp_path):
    done = explain("mail ada@example.com, token=abcdef")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"mail {MASK}, token={MASK}"
    assert re.search(r'^email +"ada@example.com" +everywhere', done.stdout, re.M)
    assert re.search(r'^query_strings +"abcdef" +everywhere', done.stdout, re.M)
    assert explain("nothing here").stdout == "nothing here\n"
    assert explain("-", text="078-05-1120\n").stdout.startswith(f"{MASK}\n")


def test_explain_tells_what_the_collector_alone_masks():
    found = yaml.safe_load(explain("4111111111111112", "--format", "json").stdout)
    assert found["left"] == MASK
    assert [(hit["preset"], hit["where"]) for hit in found["hits"]] == [("credit_card", "collector")]


def test_explain_knows_keys_and_the_configuration(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text(
        "redaction: {disable_presets: [email]}\n"
        "tenants: {list: {acme: {redaction: {extra_keys: [ref], extra_values: {ticket: 'INC-[0-9]+'}}}}}\n"
    )
    assert explain("x", "--key", "db.password").stdout.startswith(MASK)
    assert explain("ada@example.com INC-1", "-c", str(file)).stdout == "ada@example.com INC-1\n"
    assert explain("INC-1", "-c", str(file), "--tenant", "acme").stdout.startswith(MASK)
    assert explain("x", "-c", str(file), "--tenant", "acme", "--key", "my.ref").stdout.startswith(MASK)
    for wrong in (["-c", "nosuch.yaml"], ["--tenant", "acme"], ["-c", str(file), "--tenant", "globex"]):
        done = explain("x", *wrong)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1


def test_all_levels_of_a_record_get_the_same_rules():
    text = render(load_text("", "test.yaml"), "test.yaml", ["collector"])[0].text
    processors = yaml.safe_load(text)["processors"]
    groups = [
        group
        for name in ("transform/redact_resource", "transform/redact")
        for signal in ("trace_statements", "log_statements", "metric_statements")
        for group in processors[name][signal]
    ]
    rules: dict[str, list[str]] = {}
    for statement in (statement for group in groups for statement in group["statements"]):
        found = re.match(r'replace_pattern\((\w+)\.(?:attributes|metadata)\["\\u0002"\], (.*)', statement)
        if found:
            rules.setdefault(found[1], []).append(re.sub(r"\b(\w+)\.(attributes|metadata|cache)", "", found[2]))
    assert set(rules) == {"resource", "scope", "span", "spanevent", "log", "metric", "datapoint"}
    assert all(found == rules["span"] for level, found in rules.items() if level not in ("resource", "scope"))
    assert rules["scope"] == rules["resource"] == rules["span"] * 3

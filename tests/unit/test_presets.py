"""Presets are pieces of the configuration that are switched on by name."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from theodore_otel.config import load_text
from theodore_otel.config.loader import load_layers
from theodore_otel.config.presets import preset, preset_names
from theodore_otel.config.source import parse
from theodore_otel.errors import InputError
from theodore_otel.render.instrument import render_instrument


def rendered(**instrument):
    return json.loads(render_instrument(load_text(yaml.safe_dump({"instrument": instrument}), "t")))


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_valid_piece_of_the_configuration_that_changes_something(name):
    assert preset(name).description
    assert rendered(presets=[name]) != rendered()


@pytest.mark.parametrize("name", preset_names())
def test_what_a_preset_watches_may_be_missing(name):
    watched = preset(name).instrument.get("watch", {})
    assert all(entry.get("optional") for entries in watched.values() for entry in entries)


def test_a_preset_adds_to_what_the_file_says_and_the_file_wins():
    own = {"function": "theodore.llm:ask", "provider": "house"}
    found = rendered(presets=["bedrock", "click"], watch={"ai": [own]}, analytics={"commands": False, "requests": True})
    assert own in found["watch"]["ai"]
    assert "botocore.client:BaseClient._make_api_call" in [entry["function"] for entry in found["watch"]["ai"]]
    assert found["analytics"] == {"commands": False, "requests": True, "features": {}}


def test_the_standard_model_apis_stay():
    before = [api["name"] for api in rendered()["model_apis"]]
    after = [api["name"] for api in rendered(presets=["gemini-http"])["model_apis"]]
    assert after == [*before, "gemini", "vertex"]


def test_a_preset_is_a_layer_that_can_be_explained():
    layers = load_layers(parse("instrument: {presets: [click]}", "t"), "local").layers
    assert [name for name, _ in layers] == ["defaults", "profile local", "preset click", "t"]


def test_an_unknown_preset_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"t:1: instrument\.presets.*unknown preset 'bedrok'; did you mean 'bedrock'"):
        load_text("instrument: {presets: [bedrok]}", "t")


@pytest.mark.parametrize("wrong", ["click", "{a: 1}", "[3]", "[[click]]"])
def test_what_is_no_list_of_names_is_refused(wrong):
    with pytest.raises(InputError, match=r"instrument\.presets"):
        load_text(f"instrument: {{presets: {wrong}}}", "t")


@pytest.mark.case("hosts_of_model_apis")
@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.anthropic.com/v1/messages", "anthropic"),
        ("https://api.anthropic.com/v1/messages?beta=true", "anthropic"),
        ("https://api.anthropic.com/v1/messages/count_tokens", None),
        ("https://eu.api.openai.com/v1/responses", "openai"),
        ("https://api.openai.com/v1/responses/resp_1", None),
        ("https://api.openai.com/v1/chat/completions/chatcmpl_1", None),
        ("https://acme.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=1", "azure.ai.openai"),
        ("https://acme.cognitiveservices.azure.com/openai/deployments/gpt/chat/completions?a=1", "azure.ai.openai"),
        ("https://acme.services.ai.azure.com/openai/v1/responses", "azure.ai.openai"),
        ("https://eastus.api.cognitive.microsoft.com/openai/v1/chat/completions?api-version=1", "azure.ai.openai"),
        ("https://acme.openai.azure.us/openai/v1/responses/resp_1", None),
        ("https://openai.azure.com.evil.example/openai/v1/responses", None),
    ],
)
def test_model_apis_are_known_by_every_host_and_not_by_what_is_no_call(url, provider):
    apis = load_text("instrument: {presets: [openai-http]}", "t.yaml").instrument.model_apis
    found = [api.provider for api in apis if re.match(api.url, url)]
    assert found[:1] == ([] if provider is None else [provider])

"""Load the configuration: defaults < profile < presets < file, then one validation of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from theodore_otel.config.errors import explain
from theodore_otel.config.merge import lists_add, merge, with_lists
from theodore_otel.config.model import Config
from theodore_otel.config.presets import preset, preset_names
from theodore_otel.config.source import Source, parse, read
from theodore_otel.errors import InputError

PROFILES: tuple[str, ...] = get_args(Config.model_fields["profile"].annotation)


@dataclass(frozen=True)
class Layers:
    """The layers a configuration is made of, the lowest first, and the validated whole."""

    config: Config
    layers: tuple[tuple[str, dict[str, Any]], ...]


def load(path: Path, profile: str | None = None) -> Config:
    """Load a configuration file; `profile` wins over the file's own.

    Raises:
        InputError: naming file, line and key path of everything that is wrong.
    """
    return load_layers(read(path), profile).config


def load_text(text: str, name: str, profile: str | None = None) -> Config:
    """Load a configuration from text, for instance an empty one for the defaults of a profile."""
    return load_layers(parse(text, name), profile).config


def load_layers(source: Source, profile: str | None = None) -> Layers:
    """Merge and validate; the result also tells what each layer said."""
    own = merge(source.data, {"profile": profile}) if profile else source.data
    below: list[tuple[str, dict[str, Any]]] = [("defaults", Config().model_dump(mode="json", by_alias=True))]
    below += _profile(own)
    presets = _presets([*(data for _, data in below), own])
    merged: dict[str, Any] = {}
    for _, data in below:
        merged = merge(merged, data, lists_add)
    for _, data in presets:
        merged = merge(merged, data, lambda _: True)
    merged = merge(merged, own, lists_add)
    # A list of the file takes the place of the built-in one, not of what a preset brings: it was switched on by name.
    for _, data in presets:
        merged = with_lists(merged, data)
    layers = (*below, *presets, (source.name, own))
    try:
        return Layers(Config.model_validate(merged), layers)
    except ValidationError as error:
        raise explain(error, Config, source, merged) from None


def _profile(own: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the profile's layer. Without profile and destination it is `local`: production would throw all away."""
    if "profile" not in own and not own.get("destinations"):
        return [
            (
                "profile local, as neither profile nor destination is set",
                {"profile": "local", **profile_data("local")},
            )
        ]
    named = own.get("profile", Config.model_fields["profile"].default)
    return [(f"profile {named}", profile_data(named))] if named in PROFILES else []


def load_for_collector(source: Source, profile: str | None = None) -> Config:
    """Return the configuration of a collector.

    Raises InputError as `load` does, and where everything that is received would be thrown away.
    """
    config = load_layers(source, profile).config
    if not config.destinations:
        line = source.line(("destinations",)) or source.line(("profile",))
        raise InputError(
            f"{source.name}{f':{line}' if line else ''}: destinations: expected one at least, got none: everything "
            "that is received would be thrown away; name one, or write `profile: local`, which stores on this machine"
        )
    return config


def _presets(layers: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the layers of the presets that are switched on; what is no name of one is refused with the whole."""
    sections = [layer.get("instrument") for layer in layers]
    named = [section.get("presets") for section in sections if isinstance(section, dict)]
    wanted = dict.fromkeys(
        name for names in named if isinstance(names, list) for name in names if isinstance(name, str)
    )
    return [(f"preset {name}", {"instrument": preset(name).instrument}) for name in wanted if name in preset_names()]


def profile_data(name: str) -> dict[str, Any]:
    """Return what a profile says, as written."""
    text = Path(__file__).with_name("profiles").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def sample() -> str:
    """Return the commented sample that `theodore-otel init` writes."""
    return Path(__file__).with_name("sample.yaml").read_text(encoding="utf-8")

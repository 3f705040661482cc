"""Turn the model and the templates into files. Rendering the same configuration twice gives the same bytes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from theodore_otel.errors import InputError
from theodore_otel.render.files import RenderedFile

if TYPE_CHECKING:
    from theodore_otel.config.model import Config

__all__ = ["TARGETS", "RenderedFile", "Target", "render"]


@dataclass(frozen=True)
class Target:
    """Something that can be rendered, by `render(config, header) -> [RenderedFile]` in the module `render.NAME`."""

    description: str
    default: bool = False
    """Whether it is rendered when none is named."""
    includes: tuple[str, ...] = ()
    """Targets that are rendered with it."""


TARGETS = {
    "collector": Target("The collector's configuration.", default=True),
    "instrument": Target("What Theodore's process reads.", default=True),
    "prometheus": Target("Prometheus' rules, and their tests for promtool."),
    "alertmanager": Target("Alertmanager's routes and receivers."),
    "elasticsearch": Target("Elasticsearch's templates and lifecycle policies."),
    "grafana": Target("Grafana's data sources and dashboards."),
    "compose": Target(
        "The development stack, with all that its containers read.",
        includes=("collector", "instrument", "prometheus", "alertmanager", "elasticsearch", "grafana"),
    ),
    "helm": Target("Kubernetes: values of the collector's chart, and manifests for Theodore's pods."),
}


def render(config: Config, source: str, targets: Sequence[str] = ()) -> list[RenderedFile]:
    """Render the targets, the usual ones when none is named; `source` is the file name their header tells.

    Raises:
        InputError: when a target is unknown, or the configuration cannot be rendered.
    """
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        raise InputError(f"unknown render target {unknown[0]!r}: expected one of {', '.join(TARGETS)}")
    wanted = set(targets or (name for name, target in TARGETS.items() if target.default))
    for name in tuple(wanted):
        wanted.update(TARGETS[name].includes)
    return [file for name in TARGETS if name in wanted for file in render_one(config, source, name)]


def render_one(config: Config, source: str, name: str) -> list[RenderedFile]:
    """Render one target without those that it includes."""
    renderer: Callable[[Config, str], list[RenderedFile]] = importlib.import_module(f"{__name__}.{name}").render
    return renderer(config, _header(source, name))


def _header(source: str, name: str) -> str:
    return f"# Rendered from {source} by `theodore-otel render {name}`: change that file and render again."

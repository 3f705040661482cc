"""Turn the model and the templates into files. Rendering the same configuration twice gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from theodore_otel.errors import InputError
from theodore_otel.render.files import RenderedFile

if TYPE_CHECKING:
    from theodore_otel.config.model import Config

__all__ = ["TARGETS", "RenderedFile", "render"]

TARGETS = {
    "collector": "The collector's configuration.",
    "instrument": "What Theodore's process reads.",
}


def render(config: Config, source: str, targets: Sequence[str] = ()) -> list[RenderedFile]:
    """Render the targets, all of them when none is named; `source` is the file name their header tells.

    Raises:
        InputError: when a target is unknown, or the configuration cannot be rendered.
    """
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        raise InputError(f"unknown render target {unknown[0]!r}: expected one of {', '.join(TARGETS)}")
    return [_render(config, source, target) for target in TARGETS if target in targets or not targets]


def _render(config: Config, source: str, target: str) -> RenderedFile:
    if target == "instrument":
        from theodore_otel.render.instrument import render_instrument

        return RenderedFile("instrument.json", render_instrument(config))
    from theodore_otel.render.collector import render_collector

    header = f"# Rendered from {source} by `theodore-otel render {target}`: change that file and render again."
    return RenderedFile("collector.yaml", render_collector(config, header))

"""An image is there, or it is pulled, or it is made here."""

from __future__ import annotations

from pathlib import Path

from images import make
from images.engine import Engine
from images.recipes import Image, cache
from theodore_otel.otelcol import places


def obtain(image: Image, engine: Engine, note: places.Note) -> str:
    """See to it that the engine has the image, one at a time on a machine; return how: there, pulled, or made.

    Raises DownError saying what is missing here or which step failed.
    """
    with places.locked(cache() / "lock", lambda: note("waiting for another build")):
        if engine.has(image):
            return "there"
        if image.own and engine.build(image, note):
            return "built"
        if not image.own and engine.can_pull(image.name):
            engine.pull(image.name)
            return "pulled"
        note(f"{image.name}: making it, for it cannot be pulled")
        with make.scratch() as file:
            path = Path(file.name)
            # Before the files are read: what changes meanwhile outdates the image.
            settings = list(make.settings(image))
            make.layer(image, path, note)
            engine.load(image, path, settings)
        return "made"

"""`theodore-otel elasticsearch apply` as a command, for tests that need what it puts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ALLOWED = ("--allow-missing", "lifecycle")
"""The server of these tests has no lifecycles."""
API_KEY = "VnVhQ2ZHY0JDZGJrUW0tZTVhT3g6dWkybHAyYXhUTm1zeWFrdzl0dk5udw=="


def command(folder: Path, configuration: Mapping[str, Any], words: tuple[str, ...] = ()) -> list[str]:
    """Return the command, with its configuration in a folder."""
    file = folder / "theodore-otel.yaml"
    file.write_text(json.dumps(configuration))
    program = Path(sys.executable).with_name("theodore-otel")
    return [str(program), "elasticsearch", "apply", "-c", str(file), *words]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "ES_API_KEY": API_KEY, **more}


def apply(
    folder: Path, configuration: Mapping[str, Any], words: tuple[str, ...] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    """Run it; what it says never holds the API key."""
    done = subprocess.run(
        command(folder, configuration, words), capture_output=True, text=True, env=environment(**more), timeout=120
    )
    assert API_KEY not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done

"""Write `names.py` from the two YAML registries: `python -m theodore_otel.conventions.generate [--check]`.

The in-process rooms read names from Python, because parsing YAML would cost every command start-up time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

_ROOM = Path(__file__).parent
_TARGET = _ROOM / "names.py"
_HEAD = '''"""Names of attributes and metrics as constants.

Generated from attributes.yaml and metrics.yaml by `python -m theodore_otel.conventions.generate`.
"""

'''


def generate() -> str:
    """Return the text of names.py."""
    attributes = _read("attributes.yaml")
    metrics = _read("metrics.yaml")
    lines = [f'{a["constant"]} = "{a["name"]}"' for a in attributes]
    lines += [f'{_metric_constant(m["name"])} = "{m["name"]}"' for m in metrics]
    return _HEAD + "\n".join(lines) + "\n"


def _metric_constant(name: str) -> str:
    return "METRIC_" + name.removeprefix("theodore.").replace(".", "_").upper()


def _read(name: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = yaml.safe_load((_ROOM / name).read_text(encoding="utf-8"))
    return entries


def main(check: bool) -> int:
    """Write names.py, or with `check` only say whether it is current. Returns the exit code."""
    wanted = generate()
    if check:
        if _TARGET.read_text(encoding="utf-8") == wanted:
            return 0
        sys.stderr.write("names.py is stale; run: python -m theodore_otel.conventions.generate\n")
        return 1
    _TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

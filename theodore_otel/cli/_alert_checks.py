"""What `theodore-otel validate` says of alert rules and routes."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from theodore_otel.config.alerting import Alerting
from theodore_otel.config.model import Config
from theodore_otel.config.source import Source
from theodore_otel.errors import InputError
from theodore_otel.render import files, render
from theodore_otel.render.alerts import OWN_GROUP, alerts, unanswered

_CHECKS = {
    "promtool": ("check", "rules", "prometheus/rules.yaml"),
    "amtool": ("check-config", "alertmanager/alertmanager.yml"),
}
_RULE = re.compile(r'rule \d+, "(?P<alert>\w+)": (?P<said>.*)$', re.MULTILINE)


def check(config: Config, source: Source, note: Callable[[str], None]) -> None:
    """Name the rules nobody is told of, and have promtool and amtool check what is rendered, where they are installed.

    Raises:
        InputError: when one of them refuses it, naming the own rule that is wrong.
    """
    if config.alerting == Alerting():
        return
    for line in unanswered(config):
        note(f"{source.name}: {line}")
    with tempfile.TemporaryDirectory(prefix="theodore-otel-") as folder:
        files.write(render(config, source.name, ["prometheus", "alertmanager"]), Path(folder))
        for program, arguments in _CHECKS.items():
            if found := shutil.which(program):
                _run(found, arguments, folder, config, source)
            elif program == "promtool" and any(alert.group == OWN_GROUP for alert in alerts(config)):
                note(f"{source.name}: promtool is not on PATH: expressions of own alert rules are not checked")


def _run(program: str, arguments: tuple[str, ...], folder: str, config: Config, source: Source) -> None:
    answer = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        said = answer.stdout + answer.stderr
        problems = list(_of_rules(said, config, source))
        raise InputError("\n".join(problems) or f"{source.name}: {Path(program).name} refuses: {said.strip()}")


def _of_rules(said: str, config: Config, source: Source) -> Iterator[str]:
    rules = {alert.name: alert.rule for alert in alerts(config)}
    for match in _RULE.finditer(said):
        key = ("alerting", "rules", rules.get(match["alert"], ""))
        line = source.line(key)
        if line:
            yield f"{source.name}:{line}: {'.'.join(key)}: promtool refuses this: {match['said']}"

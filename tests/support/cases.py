"""The table of `make cases`: each case that once failed, how many tests hold it, and whether they pass."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Note with the test's report which cases it holds."""
    if call.when == "setup":
        item.user_properties += [("case", name) for mark in item.iter_markers("case") for name in mark.args]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table where only the tests of cases ran."""
    if config.getoption("markexpr") != "case":
        return
    outcomes: dict[str, list[str]] = defaultdict(list)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, name in report.user_properties:
                if key == "case":
                    outcomes[name].append(outcome)
    width = max(map(len, outcomes), default=0)
    terminalreporter.section("cases")
    for name, found in sorted(outcomes.items()):
        counts = ", ".join(f"{found.count(outcome)} {outcome}" for outcome in dict.fromkeys(found))
        terminalreporter.write_line(f"{name:<{width}}  {counts}")

"""Results of cases as text for people, as JSON, and as JUnit XML for build servers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any
from xml.etree import ElementTree

import click

from theodore_otel.otelcol.cases.judging import Failure
from theodore_otel.otelcol.cases.suite import Result

_COLOURS = {"-": "red", "+": "green", "@": "cyan"}
# What XML 1.0 cannot hold, even escaped.
_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def line(result: Result) -> str:
    """Return the line that says how a case went."""
    mark = click.style("FAILED", fg="red", bold=True) if result.failures else click.style("ok", fg="green") + "    "
    updated = ", golden updated" if result.updated else ""
    return f"{mark}  {result.loaded.case.name} ({result.seconds:.1f} s{updated})"


def failures(result: Result, *, colour: bool = True) -> Iterator[str]:
    """Return the lines that say what is not as expected."""
    for failure in result.failures:
        yield f"  {_at(result, failure)}: {failure.message}"
        for each in failure.detail:
            yield "    " + (click.style(each, fg=_COLOURS.get(each[:1])) if colour and each[:1] in _COLOURS else each)
    for complaint in result.outcome.complaints if result.failures else ():
        yield f"  the collector says: {complaint[:500]}"


def summary(results: Sequence[Result], seconds: float) -> str:
    """Return the last line."""
    failed = sum(bool(result.failures) for result in results)
    cases = f"{len(results)} case{'s' if len(results) != 1 else ''}"
    return f"{cases} in {seconds:.1f} s: " + (f"{failed} failed" if failed else "all good")


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return the results as JSON can hold them."""
    return {
        "good": sum(not result.failures for result in results),
        "failed": sum(bool(result.failures) for result in results),
        "cases": [
            {
                "name": result.loaded.case.name,
                "file": result.loaded.source.name,
                "line": result.loaded.source.line(result.loaded.path),
                "good": not result.failures,
                "seconds": round(result.seconds, 3),
                "failures": [
                    {
                        "key": ".".join(map(str, (*result.loaded.path, *failure.path))),
                        "line": result.loaded.source.line((*result.loaded.path, *failure.path)),
                        "message": failure.message,
                        "detail": list(failure.detail),
                    }
                    for failure in result.failures
                ],
            }
            for result in results
        ],
    }


def as_junit(results: Sequence[Result]) -> str:
    """Return the results as JUnit XML, a suite for each file."""
    root = ElementTree.Element("testsuites", {"name": "theodore-otel test", **_counts(results)})
    for name, group in groupby(results, lambda result: result.loaded.source.name):
        of_file = list(group)
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(name), **_counts(of_file)})
        for result in of_file:
            seconds = f"{result.seconds:.3f}"
            case = ElementTree.SubElement(
                suite, "testcase", classname=_xml(name), name=_xml(result.loaded.case.name), time=seconds
            )
            if result.failures:
                failure = ElementTree.SubElement(case, "failure", message=_xml(result.failures[0].message))
                failure.text = _xml("\n".join(failures(result, colour=False)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(results: Sequence[Result]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(bool(result.failures) for result in results)),
        "errors": "0",
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _at(result: Result, failure: Failure) -> str:
    return result.loaded.where(failure.path)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)

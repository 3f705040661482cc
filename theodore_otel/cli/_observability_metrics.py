"""`observability metrics`: what Theodore did in numbers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theodore_otel.cli import _observability_common as common
from theodore_otel.cli._io import format_option, note
from theodore_otel.conventions import names, registry
from theodore_otel.errors import InputError

if TYPE_CHECKING:
    from theodore_otel.query import MetricQuery, MetricValue, Source

_RANGES = ("1h", "6h", "24h", "7d")
_LIVE_SECONDS = 2.0
# Shown only when asked for by name: they say something about the program, not about Theodore's work.
_PREFIX = "theodore."


@dataclass(frozen=True)
class _Wanted:
    """What was asked for, besides the time."""

    names: tuple[str, ...]
    tenant: str | None
    component: str | None
    by: tuple[str, ...] | None
    everything: bool


@click.command()
@common.config_option
@click.option(
    "--metric-name",
    "metric_names",
    multiple=True,
    metavar="NAME",
    help="Only this metric (repeatable), by either of its names: theodore_ai_cost_total or theodore.ai.cost.",
)
@click.option("--time-range", type=click.Choice(_RANGES), default="1h", show_default=True, help="How far back.")
@click.option("--component", help="Only metrics of this part: ai, storage, scraping, companies ...")
@click.option("--tenant", help="Only this tenant's.")
@click.option(
    "--by", metavar="LABEL[,LABEL]", help="Tell apart by these labels, for instance tenant,model.  [default: tenant]"
)
@click.option("--live", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option(
    "--export", "export_path", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH", help="Write to a file."
)
@format_option("table", "json", "prometheus")
def command(
    config_file: Path | None,
    metric_names: tuple[str, ...],
    time_range: str,
    component: str | None,
    tenant: str | None,
    by: str | None,
    live: bool,
    export_path: Path | None,
    output_format: str,
) -> None:
    """Show what was counted in the time asked for: requests, tokens, cost, researches ... per tenant.

    Counters show their increase, histograms count, mean and 95th percentile, gauges where they stand.
    """
    if live and export_path:
        raise InputError("--live and --export exclude each other: an export has an end")
    source = common.store(config_file)
    labels = tuple(label.strip() for label in by.split(",") if label.strip()) if by else ("tenant",)
    all_labels = by is None and output_format != "table"
    wanted = _Wanted(_named(metric_names), tenant, component, None if all_labels else labels, bool(metric_names))
    while True:
        values = _values(source, wanted, time_range)
        text = "".join(line + "\n" for line in _FORMATS[output_format](values, wanted, time_range))
        if export_path:
            common.export(export_path, click.unstyle(text), f"{len(values)} values")
            return
        if live:
            click.clear()
        click.echo(text, nl=False)
        if not values and not live:
            note("No metric matches." if wanted.names or component or tenant else common.EMPTY)
        if not live:
            return
        time.sleep(_LIVE_SECONDS)


def _named(given: Sequence[str]) -> tuple[str, ...]:
    """Return instrument names for names of either kind.

    Raises:
        InputError: for a name of Theodore's that is not in the registry.
    """
    by_prometheus = {metric.prometheus: metric.name for metric in registry.metrics().values()}
    found = tuple(by_prometheus.get(name, name) for name in given)
    for name in found:
        if name not in registry.metrics() and name.startswith(("theodore.", "theodore_")):
            import difflib

            near = difflib.get_close_matches(name, [*by_prometheus, *registry.metrics()], n=1)
            hint = f"did you mean {near[0]}?" if near else "`observability metrics` shows those there are"
            raise InputError(f"--metric-name: there is no metric {name!r}; {hint}")
    return found


def _values(source: Source, wanted: _Wanted, time_range: str) -> list[MetricValue]:
    from theodore_otel.query import MetricQuery

    now = time.time_ns()
    begin = common.since(time_range, "--time-range") or 0
    asked = list(wanted.names)
    rate_wanted = not asked or names.METRIC_RESEARCH_SUCCESS_RATE in asked
    asked = [name for name in asked if name != names.METRIC_RESEARCH_SUCCESS_RATE]
    query = MetricQuery(begin, now, asked, wanted.tenant, wanted.component, wanted.by)
    values = source.metrics(query) if asked or not wanted.names else []
    if not wanted.everything:
        values = [value for value in values if value.name.startswith(_PREFIX)]
    values = [value for value in values if value.value or value.kind in ("gauge", "updowncounter")]
    if rate_wanted:
        values += _success_rates(source, query)
    order = {name: index for index, name in enumerate(registry.metrics())}
    return sorted(values, key=lambda value: (order.get(value.name, len(order)), value.name, [*value.labels.values()]))


def _success_rates(source: Source, query: MetricQuery) -> Iterator[MetricValue]:
    """Yield the share of researches that succeeded: the same as the recording rule, over the time asked for."""
    from theodore_otel.query import MetricValue

    by = query.by if query.by is not None else ("tenant", "service", "research_type")
    groups: dict[tuple[tuple[str, str], ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    counted = replace(query, names=[names.METRIC_COMPANIES_RESEARCHED], by=[*by, "success"])
    for value in source.metrics(counted):
        labels = tuple((key, value.labels[key]) for key in by if key != "success")
        groups[labels][value.labels["success"]] += value.value
    for labels, counts in groups.items():
        total = sum(counts.values())
        if total:
            rate = counts["true"] / total
            yield MetricValue(names.METRIC_RESEARCH_SUCCESS_RATE, "gauge", "", dict(labels), rate)


def _table(values: list[MetricValue], wanted: _Wanted, time_range: str) -> Iterator[str]:
    if not values:
        return
    labels = list(wanted.by or ())
    yield click.style(f"Theodore in the last {time_range}", bold=True)
    rows = [
        [_shown_name(value.name), *(_label(value, label) for label in labels), _number(value), _detail(value)]
        for value in values
    ]
    header = ["METRIC", *(label.upper() for label in labels), "VALUE", ""]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    yield click.style(_line(header, widths), bold=True)
    previous = None
    for row in rows:
        # One name a block: the eye finds tenants below it.
        yield _line(["" if row[0] == previous else row[0], *row[1:]], widths)
        previous = row[0]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    value = len(cells) - 2
    padded = [c.rjust(w) if i == value else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(padded).rstrip()


def _label(value: MetricValue, label: str) -> str:
    return common.clean(value.labels.get(label) or "-")


def _shown_name(name: str) -> str:
    known = registry.metrics().get(name)
    return known.prometheus if known else common.clean(name)


def _number(value: MetricValue) -> str:
    if value.name == names.METRIC_AI_COST:
        return common.dollars(value.value)
    if value.name == names.METRIC_RESEARCH_SUCCESS_RATE:
        return f"{value.value:.1%}"
    if value.name == names.METRIC_COMMAND_LAST_SUCCESS:
        return common.moment(int(value.value * common.SECOND))
    return f"{value.value:,.0f}" if float(value.value).is_integer() else f"{value.value:,.3f}"


def _detail(value: MetricValue) -> str:
    if value.kind != "histogram" or not value.value:
        return "tokens" if value.unit == "{token}" else ""
    mean, high = (value.sum or 0) / value.value, value.quantile(0.95)
    if value.unit == "s":
        return f"mean {common.duration(mean * 1e9)}" + (f", 95 % within {common.duration(high * 1e9)}" if high else "")
    return f"mean {mean:,.3g}" + (f", 95 % within {high:,.3g}" if high else "")


def _json(values: list[MetricValue], wanted: _Wanted, time_range: str) -> Iterator[str]:  # noqa: ARG001
    import json

    yield json.dumps(
        {"time_range": time_range, "metrics": [_described(v) for v in values]}, indent=2, ensure_ascii=False
    )


def _described(value: MetricValue) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": value.name,
        "prometheus": _shown_name(value.name),
        "kind": value.kind,
        "unit": value.unit,
        "labels": dict(value.labels),
        "value": value.value,
    }
    if value.kind == "histogram":
        shown |= {
            "sum": value.sum,
            "mean": (value.sum or 0) / value.value if value.value else None,
            "p50": value.quantile(0.5),
            "p95": value.quantile(0.95),
        }
    return shown


def _prometheus(values: list[MetricValue], wanted: _Wanted, time_range: str) -> Iterator[str]:  # noqa: ARG001
    previous = None
    for value in values:
        name = _prometheus_name(value.name)
        if name != previous:
            known = registry.metrics().get(value.name)
            yield f"# HELP {name} {known.description if known else value.name} Over the last {time_range}."
            yield f"# TYPE {name} {'gauge' if value.kind == 'updowncounter' else value.kind}"
        previous = name
        if value.kind == "histogram":
            for bound, below in value.buckets:
                yield _sample(
                    f"{name}_bucket", {**value.labels, "le": "+Inf" if bound == float("inf") else f"{bound:g}"}, below
                )
            yield _sample(f"{name}_sum", value.labels, value.sum or 0)
            yield _sample(f"{name}_count", value.labels, value.value)
        else:
            yield _sample(name, value.labels, value.value)


def _prometheus_name(name: str) -> str:
    return _identifier(_shown_name(name))


def _sample(name: str, labels: Any, value: float) -> str:
    written = ",".join(f'{_identifier(key)}="{_escaped(text)}"' for key, text in labels.items() if text)
    return f"{name}{{{written}}} {value!r}" if written else f"{name} {value!r}"


def _identifier(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)


def _escaped(text: Iterable[str]) -> str:
    return "".join({"\\": "\\\\", '"': '\\"', "\n": "\\n"}.get(c, c) for c in text)


_FORMATS = {"table": _table, "json": _json, "prometheus": _prometheus}

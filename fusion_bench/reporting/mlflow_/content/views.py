"""Named views of the runs of a study, with columns and charts, in the tags where MLflow's page looks for them.

The format is that of the internal state of the page and is not documented. MLflow 3.17 lists a view under *Views* if
its tag holds ``{"name", "createdAt", "updatedAt", "state"}``, the state as text; pages of earlier versions read the
state alone from the tag, and open it by its link only. A page that knows neither uses its own columns. No other code
may depend on these views.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fusion_bench.reporting.mlflow_.content.run_names import (
    LATENCY,
    MULTIPLY_ADDS,
    PARAMETERS,
    factor_names,
    factor_params,
    factors_of,
    metric_name,
)
from fusion_bench.results.results import StudyResults
from fusion_bench.storage import canonical

TABLE: Final = "fusion-bench-table"
ARM_TABLE: Final = "fusion-bench-arms"
CHARTS: Final = "fusion-bench-charts"
TRIALS: Final = "fusion-bench-trials"
_LISTED_FROM: Final = (3, 17)
_SECTION: Final = "fusion-bench-overview"
_BY_ARM: Final = {
    "aggregateFunction": "average",
    "groupByKeys": [{"mode": "param", "groupByData": "arm"}],
}


@dataclass(frozen=True)
class ShownColumns:
    """The metrics and parameters of a study that its views show, by the names under which they are logged.

    Attributes:
        primary: the metric of every verdict, by which tables are sorted.
        select: the same metric on the selection split.
        rises: whether a larger value is better.
        factors: the settings in which arms differ; ``common``: those that every arm has.
        curves: the learning curves, the most useful first.
    """

    primary: str
    select: str
    rises: bool
    factors: tuple[str, ...]
    common: tuple[str, ...]
    curves: tuple[str, ...]

    @classmethod
    def of(cls, results: StudyResults) -> ShownColumns:
        """Return the columns of a report."""
        names = factor_names(results)
        own = [factor_params(factors_of(arm)) for arm in results.arms]
        logged = set(results.curves["quantity"])
        wanted = (f"select/{results.primary}", "train/loss")
        return cls(
            metric_name(results.primary_split, results.primary),
            metric_name(results.select_split, results.primary),
            results.primary not in results.lower_is_better,
            names,
            tuple(name for name in names if all(name in params for params in own)),
            tuple(f"curve/{metric_name(quantity)}" for quantity in wanted if quantity in logged),
        )


def view_tag(key: str) -> str:
    """Return the name of the experiment tag that contains the view ``key``."""
    return f"mlflow.sharedViewState.{key}"


def saved_views(columns: ShownColumns, version: str, created: int) -> dict[str, str]:
    """Return the views of a study as experiment tags: its cells, its arms, and charts of means over seeds.

    Args:
        columns: what they show.
        version: of the MLflow that serves the page.
        created: when the experiment was made, in milliseconds since 1970.
    """
    cells = {**_page(columns, "cell"), **_overview(_per_cell(columns)), "groupBy": None}
    arms = {**_page(columns, "arm"), **_overview(_per_arm(columns)), "groupBy": None}
    charts = {**_page(columns, "cell"), **_overview(_per_arm(columns)), "groupBy": _BY_ARM}
    views = {TABLE: ("cells, best first", cells), ARM_TABLE: ("arms, best first", arms)}
    views[CHARTS] = ("means over seeds", charts)
    # The page lists the newest view first.
    return {
        view_tag(key): _tag(name, state, version, created - place)
        for place, (key, (name, state)) in enumerate(views.items())
    }


def search_view(
    metric: str, params: Sequence[str], rises: bool, version: str, created: int
) -> dict[str, str]:
    """Return the view of the trials of a search as an experiment tag: their values over time and by setting."""
    state = {
        "searchFilter": "tags.kind = 'trial'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": not rises,
        "selectedColumns": [
            f"metrics.`{metric}`",
            *(f"params.`{name}`" for name in ("arm", "trial", *params)[:8]),
            "tags.`state`",
        ],
        "runsHiddenMode": "SHOW_ALL",
        **_overview(
            [
                _chart("history", "SCATTER", xaxis=_axis("trial"), yaxis=_axis(metric)),
                _chart(
                    "settings",
                    "PARALLEL",
                    selectedParams=["arm", *params],
                    selectedMetrics=[metric],
                    showAllRuns=True,
                ),
            ]
        ),
        "groupBy": None,
    }
    return {view_tag(TRIALS): _tag("trials, best first", state, version, created)}


def _tag(name: str, state: dict[str, Any], version: str, created: int) -> str:
    text = canonical(state)
    if _numbers(version) < _LISTED_FROM:
        return text
    return json.dumps({"name": name, "createdAt": created, "updatedAt": created, "state": text})


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _page(columns: ShownColumns, kind: str) -> dict[str, Any]:
    """Return the state for runs of one kind, best first, in about ten columns: three more are always there."""
    metrics = [columns.primary, columns.select, PARAMETERS, MULTIPLY_ADDS, LATENCY]
    if kind == "arm":
        metrics[1:2] = [f"{columns.primary}_low", f"{columns.primary}_high", "seeds_done"]
    params = ["arm", "seed"] if kind == "cell" else ["arm", *columns.factors[:2]]
    named = [f"params.`{name}`" for name in params] + [f"metrics.`{name}`" for name in dict.fromkeys(metrics)]
    selected = [*named, "tags.`state`"]
    order = [*named, "duration", "tags.`state`"]
    return {
        "searchFilter": f"tags.kind = '{kind}'",
        "orderByKey": f"metrics.`{columns.primary}`",
        "orderByAsc": not columns.rises,
        "selectedColumns": selected,
        "columnOrder": order,
        "columnWidths": {column: _width(column) for column in order},
        "runsHiddenMode": "SHOW_ALL",  # the default shows ten runs only
    }


def _width(column: str) -> int:
    """Return the pixels of a column that shows its heading whole."""
    name = column.partition(".")[2].strip("`")
    return 130 if name == "arm" else max(70, 24 + 8 * len(name))


def _overview(charts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the state of one section of charts, above the sections that the page makes for other metrics."""
    section = {
        "uuid": _SECTION,
        "name": "overview",
        "display": True,
        "isReordered": True,
        "isGenerated": False,
    }
    return {"compareRunCharts": charts, "compareRunSections": [section], "isAccordionReordered": True}


def _per_arm(columns: ShownColumns) -> list[dict[str, Any]]:
    """Return the charts per arm: the primary metric as bars and against cost, and the learning curves."""
    return [
        _chart("bars", "BAR", metricKey=columns.primary),
        _chart(
            "cost",
            "SCATTER",
            xaxis=_axis(MULTIPLY_ADDS),
            yaxis=_axis(columns.primary),
            runsCountToCompare=100,
        ),
        *(_curve(name) for name in columns.curves),
    ]


def _per_cell(columns: ShownColumns) -> list[dict[str, Any]]:
    """Return the charts of `_per_arm` with one mark per cell, and parallel coordinates, which need single runs."""
    parallel = _chart(
        "factors",
        "PARALLEL",
        selectedParams=[
            "arm",
            *columns.common,
        ],  # the page hides the chart if an arm lacks one of the factors
        selectedMetrics=[MULTIPLY_ADDS, columns.primary],
        showAllRuns=True,
    )
    return [parallel, *_per_arm(columns)]


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def _curve(metric: str) -> dict[str, Any]:
    return _chart(
        metric,
        "LINE",
        metricKey=metric,
        lineSmoothness=0,
        scaleType="linear",
        xAxisKey="step",
        xAxisScaleType="linear",
        yAxisKey="metric",
        useGlobalXaxisKey=True,
    )


def _chart(name: str, kind: str, **settings: Any) -> dict[str, Any]:
    place = {"uuid": f"fusion-bench-{name}", "type": kind, "metricSectionId": _SECTION}
    return {**place, "isGenerated": False, "deleted": False, **settings}

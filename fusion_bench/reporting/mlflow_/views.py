"""Saved views of the runs of a study, with columns and charts, in the tags where MLflow looks for shared views.

The format is that of the internal state of the page and is not documented. A page that does not know it uses its own
columns. No other code may depend on these views.
"""

from __future__ import annotations

from typing import Any, Final

from fusion_bench.reporting.mlflow_.run_names import arm_params, factor_names, metric_name, primary_metric
from fusion_bench.results.results import StudyResults
from fusion_bench.storage import canonical

TABLE: Final = "fusion-bench-table"
CHARTS: Final = "fusion-bench-charts"
_MOST_METRICS: Final = 6
_MOST_PARAMS: Final = 8
_SECTION: Final = "fusion-bench-overview"
_COST: Final = "fusion_multiply_adds"
_BY_ARM: Final = {
    "aggregateFunction": "average",
    "groupByKeys": [{"mode": "param", "groupByData": "arm"}],
}


def view_tag(key: str) -> str:
    """Return the name of the experiment tag that contains the shared view ``key``."""
    return f"mlflow.sharedViewState.{key}"


def saved_views(results: StudyResults) -> dict[str, str]:
    """Return the views of a study as experiment tags: a table of all cells, and charts of means over seeds."""
    return {
        view_tag(TABLE): canonical({**_page(results), **_overview(_per_cell(results)), "groupBy": None}),
        view_tag(CHARTS): canonical({**_page(results), **_overview(_per_arm(results)), "groupBy": _BY_ARM}),
    }


def _page(results: StudyResults) -> dict[str, Any]:
    """Return the state for cells only, best first: columns for metrics, then for the factors of the arms."""
    primary = primary_metric(results)
    select = metric_name(results.select_split, results.primary)
    keys = results.values[["split", "metric"]].drop_duplicates()
    others = [metric_name(*key) for key in zip(keys["split"], keys["metric"], strict=True)]
    metrics = list(dict.fromkeys([primary, select, *others]))[:_MOST_METRICS]
    params = [*factor_names(results), _COST][:_MOST_PARAMS]
    return {
        "searchFilter": "tags.kind = 'cell'",
        "orderByKey": f"metrics.`{primary}`",
        "orderByAsc": False,
        "selectedColumns": [f"metrics.`{name}`" for name in metrics]
        + [f"params.`{name}`" for name in params],
        "runsHiddenMode": "SHOW_ALL",  # the default shows ten runs only
    }


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


def _per_arm(results: StudyResults) -> list[dict[str, Any]]:
    """Return the charts per arm: the primary metric as bars and against cost, and the learning curves."""
    primary = primary_metric(results)
    quantities = (f"select/{results.primary}", "train/loss")
    logged = set(results.curves["quantity"])
    return [
        _chart("bars", "BAR", metricKey=primary),
        _chart(
            "cost",
            "SCATTER",
            xaxis={"key": _COST, "type": "PARAM"},
            yaxis={"key": primary, "type": "METRIC"},
            runsCountToCompare=100,
        ),
        *(_curve(f"curve/{metric_name(quantity)}") for quantity in quantities if quantity in logged),
    ]


def _per_cell(results: StudyResults) -> list[dict[str, Any]]:
    """Return the charts of `_per_arm` with one mark per cell, and parallel coordinates, which need single runs."""
    # The page hides the chart if an arm lacks one of the factors.
    common_factors = [
        name for name in factor_names(results) if all(name in arm_params(arm) for arm in results.arms)
    ]
    parallel = _chart(
        "factors",
        "PARALLEL",
        selectedParams=["arm", *common_factors, _COST],
        selectedMetrics=[primary_metric(results)],
        showAllRuns=True,
    )
    return [parallel, *_per_arm(results)]


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

"""The MLflow runs of a study, computed from its results: one run per arm, one per cell, one for the report.

The functions here only compute; `fusion_bench.reporting.mlflow_.sync` writes the runs into a store.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.run_names import arm_params, metric_name, primary_metric
from fusion_bench.reporting.mlflow_.run_types import MetricPoint, MlflowRun, MlflowStudy, RunStatus
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.results.results import ArmSummary, StudyResults

_LONGEST_TAG: Final = 8000  # MLflow cuts a longer tag without a message
_LONGEST_EXPERIMENT_TAG: Final = 5000
_LONGEST_WORD: Final = (
    250  # a note of a few of them stays below the longest tag, so that nothing cuts its Markdown
)
_FIGURE_ENDINGS: Final = frozenset({".png", ".svg", ".jpg", ".jpeg", ".pdf"})
# A stale cell was trained with other code, data or weights and does not count.
_STATUS: Final[Mapping[str, RunStatus]] = {"done": "FINISHED", "failed": "FAILED", "stale": "KILLED"}


def mlflow_runs(results: StudyResults, report: Path | None) -> MlflowStudy:
    """Return the MLflow runs of a study.

    Args:
        results: the study.
        report: its ``report.md``, with the figures in the same folder and below; None without a report.

    Raises:
        FusionBenchError: ``report`` is not a file.
    """
    arms = {arm.label: arm for arm in results.arms}
    shown = results.cells[results.cells["state"].isin(list(_STATUS))]
    values = dict(list(results.values.groupby(["arm", "seed"], sort=False)))
    curves = dict(list(results.curves.groupby(["arm", "seed"], sort=False)))
    cells = [
        _cell(results, arms[row["arm"]], row, values.get(at), curves.get(at))
        for row in shown.to_dict("records")
        for at in [(row["arm"], row["seed"])]
    ]
    runs = [*(_arm(results, arm) for arm in results.arms), *cells]
    text = None
    if report is not None:
        if not report.is_file():
            raise FusionBenchError(f"{report} does not exist; write the report before MLflow shows it")
        text = report.read_text(encoding="utf-8")
        runs.append(_report(results, report, text))
    return MlflowStudy(results.name, _experiment_tags(results, text), tuple(runs))


def markdown_excerpt(text: str, limit: int, pointer: str) -> str:
    """Return a report without images; if longer than ``limit`` characters, its first paragraphs and ``pointer``."""
    plain = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    plain = re.sub(r"\n{3,}", "\n\n", plain).strip()
    if len(plain) <= limit:
        return plain
    kept = plain[: limit - len(pointer) - 4]
    end = max(kept.rfind("\n\n"), 0) or len(kept)
    shown = kept[:end]
    folded = shown.rfind("<details>")
    if folded > shown.rfind("</details>"):
        shown = shown[:folded].rstrip()  # a fold that does not end would hide the pointer
    return f"{shown}\n\n{pointer}"


def _cell(
    results: StudyResults,
    arm: ArmSummary,
    row: Mapping[Any, Any],
    values: pd.DataFrame | None,
    curves: pd.DataFrame | None,
) -> MlflowRun:
    state, seed = str(row["state"]), int(row["seed"])
    points: list[MetricPoint] = []
    if state == "done":
        if values is not None:
            # The comparison page of MLflow opens on the metric that was logged first.
            is_primary = (values["split"] == results.primary_split) & (values["metric"] == results.primary)
            first = values.loc[is_primary.sort_values(ascending=False, kind="stable").index]
            rows = zip(first["split"], first["metric"], first["value"], strict=True)
            points += [MetricPoint(metric_name(split, metric), float(value)) for split, metric, value in rows]
        points += [MetricPoint(name, float(row[name])) for name in ("epochs", "best_epoch", "seconds")]
        if curves is not None:
            points += _curves(curves)
    tags = {"kind": "cell", "study": results.name, "arm": arm.label, "cell": str(row["cell"]), "state": state}
    if state != "done":
        tags["reason"] = str(row["reason"])[:_LONGEST_TAG]
        tags["mlflow.note.content"] = f"**{escape(state)}**: {escape(str(row['reason']))}"
    return MlflowRun(
        key=f"cell/{arm.label}/{seed}",
        kind="cell",
        name=f"{arm.label} · seed {seed}",
        parent=f"arm/{arm.label}",
        status=_STATUS[state],
        params={**arm_params(arm), "seed": str(seed)},
        points=_finite(points),
        tags=tags,
        seconds=_finite_or_none(row["seconds"]),
    )


def _curves(curves: pd.DataFrame) -> list[MetricPoint]:
    """Return one metric per quantity, in the chart group ``curve``, with the epoch as step."""
    columns = zip(curves["quantity"], curves["epoch"], curves["value"], strict=True)
    return [
        MetricPoint(f"curve/{metric_name(name)}", float(value), int(epoch)) for name, epoch, value in columns
    ]


def _arm(results: StudyResults, arm: ArmSummary) -> MlflowRun:
    """Return the parent run of the cells of an arm: its cost, and means over its finished seeds under equal names."""
    cells = results.cells[results.cells["arm"] == arm.label]
    done, failed = int((cells["state"] == "done").sum()), int((cells["state"] == "failed").sum())
    values = results.values[results.values["arm"] == arm.label]
    means = values.groupby(["split", "metric"], sort=False, as_index=False)["value"].mean()
    rows = zip(means["split"], means["metric"], means["value"], strict=True)
    points = [MetricPoint(metric_name(split, metric), float(mean)) for split, metric, mean in rows]
    state = "done" if done == len(cells) else "failed" if failed == len(cells) else "incomplete"
    note = [
        code(arm.component[:_LONGEST_WORD])
        + (f" ({escape(arm.citation[:_LONGEST_WORD])})" if arm.citation else ""),
        f"{escape(arm.role)}; {done} of {len(cells)} seeds done; metrics are means over all finished seeds; "
        "where arms have finished different seeds, the report takes those that are compared",
        f"language input: {escape(arm.listens[:_LONGEST_WORD])}; "
        f"position code: {escape(arm.position_code[:_LONGEST_WORD])}",
    ]
    if arm.fusion_parameters is not None and arm.fusion_multiply_adds is not None:
        cost = f"{arm.fusion_parameters:,} parameters, {arm.fusion_multiply_adds:,} multiply-adds a sample"
        note.append(f"fusion modules and adapters: {cost}")
    return MlflowRun(
        key=f"arm/{arm.label}",
        kind="arm",
        name=arm.label,
        parent=None,
        status="FAILED" if state == "failed" else "FINISHED",
        params=arm_params(arm),
        points=_finite([*points, MetricPoint("seeds_done", done)]),
        tags={
            "kind": "arm",
            "study": results.name,
            "arm": arm.label,
            "state": state,
            "mlflow.note.content": "\n".join(f"- {line}" for line in note),
        },
        seconds=_finite_or_none(cells["seconds"].sum()),
    )


def _report(results: StudyResults, report: Path, text: str) -> MlflowRun:
    folder = report.parent
    figures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _FIGURE_ENDINGS)
    files = {f"report/{path.relative_to(folder).as_posix()}": path for path in [report, *figures]}
    pointer = f"*Shortened; the complete report, with its figures, is the artifact `report/{report.name}`.*"
    return MlflowRun(
        key="report",
        kind="report",
        name="report",
        parent=None,
        status="FINISHED",
        files=files,
        tags={
            "kind": "report",
            "study": results.name,
            "state": "done",
            "mlflow.note.content": markdown_excerpt(text, _LONGEST_TAG, pointer),
        },
    )


def _experiment_tags(results: StudyResults, text: str | None) -> dict[str, str]:
    pointer = (
        "*Shortened; the complete report, with its figures, is among the artifacts of the run `report`.*"
    )
    note = escape(results.title) if text is None else markdown_excerpt(text, _LONGEST_EXPERIMENT_TAG, pointer)
    return {
        "fusion_bench.study": results.name,
        "fusion_bench.primary": primary_metric(results),
        "mlflow.note.content": note,
    }


def _finite(points: list[MetricPoint]) -> tuple[MetricPoint, ...]:
    """Return the points with finite values; MLflow stores an infinity as 1.8e308, which makes a chart unreadable."""
    return tuple(point for point in points if math.isfinite(point.value))


def _finite_or_none(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None

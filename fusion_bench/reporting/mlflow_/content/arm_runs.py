"""The MLflow run of an arm, the parent of the runs of its cells: costs, and means over seeds with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final

import pandas as pd

from fusion_bench.reporting.mlflow_.content.cell_runs import ShownArm, ShownCell
from fusion_bench.reporting.mlflow_.content.run_names import metric_name, shown_value
from fusion_bench.reporting.mlflow_.content.run_types import MlflowRun, RunStatus
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.results.results import ArmSummary

_LONGEST_WORD: Final = (
    250  # a note of a few of them stays below the longest tag, so that nothing cuts its Markdown
)


def arm_run(
    arm: ShownArm,
    states: Sequence[str],
    metrics: Mapping[str, float],
    note: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
) -> MlflowRun:
    """Return the run of an arm.

    Args:
        arm: the arm.
        states: the state of each of its planned cells.
        metrics: means, and their intervals where they are known.
        note: what else is to be said about it, one line each.
        texts: the file of its module.
    """
    done, failed = states.count("done"), states.count("failed")
    over = all(state in {"done", "failed", "stale"} for state in states)
    state = "done" if done == len(states) else "failed" if failed == len(states) else "incomplete"
    status: RunStatus = "FAILED" if state == "failed" else "FINISHED"
    known = {**arm.costs, "seeds_done": float(done)} if metrics or over else {}
    lines = [*note, f"{escape(arm.role)}; {done} of {len(states)} seeds done"]
    return MlflowRun(
        key=f"arm/{arm.label}",
        kind="arm",
        name=arm.label,
        parent=None,
        status=status if over or "running" not in states else "RUNNING",
        params=arm.params,
        # Means first: MLflow's page of comparisons opens on the metric that was logged first.
        latest={**finite_only(metrics), **known},
        tags={
            "kind": "arm",
            "study": arm.study,
            "arm": arm.label,
            "state": "running" if "running" in states else state,
            "mlflow.note.content": "\n".join(f"- {line}" for line in lines),
        },
        texts=texts or {},
    )


def arm_note(arm: ArmSummary, *, reported: bool) -> tuple[str, ...]:
    """Return what a report says about an arm, as lines of Markdown.

    Args:
        arm: the arm.
        reported: whether its metrics are those of the report, not means over all its finished seeds.
    """
    cited = f" ({escape(arm.citation[:_LONGEST_WORD])})" if arm.citation else ""
    lines = [
        f"{code(arm.component[:_LONGEST_WORD])}{cited}",
        f"language input: {escape(arm.listens[:_LONGEST_WORD])}; "
        f"position code: {escape(arm.position_code[:_LONGEST_WORD])}",
    ]
    if arm.fusion_parameters is not None and arm.fusion_multiply_adds is not None:
        cost = f"{arm.fusion_parameters:,} parameters, {arm.fusion_multiply_adds:,} multiply-adds a sample"
        lines.append(f"fusion modules and adapters: {cost}")
    shown = "means over all its finished seeds"
    if reported:
        shown = "the report's: means over the seeds that are compared, `_low` to `_high` is the 95 % interval"
    return (*lines, f"metrics are {shown}")


def reported_means(means: pd.DataFrame, arm: str, primary: tuple[str, str]) -> dict[str, float]:
    """Return the means of an arm in a report, and the ends of their intervals; those of the primary metric first.

    Args:
        means: `fusion_bench.reporting.tables.tables.Tables.means`.
        arm: its label.
        primary: split and metric of every verdict.
    """
    own = means[means["arm"] == arm].to_dict("records")
    found: dict[str, float] = {}
    for row in sorted(own, key=lambda row: (row["split"], row["metric"]) != primary):
        name = metric_name(str(row["split"]), str(row["metric"]))
        values = {name: row["estimate"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        found |= {key: shown_value(float(value)) for key, value in values.items() if value is not None}
    return found


def means_so_far(cells: Iterable[ShownCell]) -> dict[str, float]:
    """Return the means over the finished cells of an arm; their intervals are those of the report, later."""
    values: dict[str, list[float]] = {}
    for cell in cells:
        for split, metric, value in cell.values:
            values.setdefault(metric_name(split, metric), []).append(value)
    return {name: shown_value(fmean(found)) for name, found in values.items()}


def finite_only(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics with finite values."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}

"""The MLflow run of a cell: the same from the tables of a report and from the folder of a cell that just ended."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.result import ArmCosts
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.content.cell_details import CellDetails, cell_details
from fusion_bench.reporting.mlflow_.content.run_names import (
    LATENCY,
    MULTIPLY_ADDS,
    PARAMETERS,
    arm_params,
    factors_of,
    metric_name,
    shown_value,
)
from fusion_bench.reporting.mlflow_.content.run_types import MetricPoint, MlflowRun, RunStatus
from fusion_bench.reporting.tables.markdown_text import escape
from fusion_bench.results.results import ArmSummary, StudyResults

_LONGEST_TAG: Final = 8000  # MLflow cuts a longer tag without a message
# A stale cell was trained with other code, data or weights and does not count.
_STATUS: Final[Mapping[str, RunStatus]] = {
    "running": "RUNNING",
    "stopped": "KILLED",
    "done": "FINISHED",
    "failed": "FAILED",
    "stale": "KILLED",
}


@dataclass(frozen=True)
class ShownArm:
    """The part that the runs of an arm and of its cells have in common.

    Attributes:
        study: the name of the study.
        label, component, role: see `fusion_bench.results.results.ArmSummary`.
        factors: the settings in which it differs from others.
        costs: numbers by the name of their metric; they may be known late.
    """

    study: str
    label: str
    component: str
    role: str
    factors: Mapping[str, Any]
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, str]:
        """The parameters of its run and of those of its cells."""
        return arm_params(self.label, self.component, self.role, self.factors)

    @classmethod
    def of(cls, study: str, arm: ArmSummary) -> ShownArm:
        """Return an arm of a report."""
        costs = {
            PARAMETERS: arm.fusion_parameters,
            MULTIPLY_ADDS: arm.fusion_multiply_adds,
            f"around_{PARAMETERS}": arm.around_parameters,
            f"around_{MULTIPLY_ADDS}": arm.around_multiply_adds,
            LATENCY: arm.latency_ms,
        }
        known = {name: shown_value(float(value)) for name, value in costs.items() if value is not None}
        return cls(study, arm.label, arm.component, arm.role, factors_of(arm), known)


def costs_of(costs: ArmCosts) -> dict[str, float]:
    """Return the costs that a finished cell knows, by the name of their metric."""
    return {
        PARAMETERS: float(costs.fusion_parameters),
        MULTIPLY_ADDS: float(costs.fusion_multiply_adds),
        f"around_{PARAMETERS}": float(costs.around_parameters),
        f"around_{MULTIPLY_ADDS}": float(costs.around_multiply_adds),
    }


@dataclass(frozen=True)
class ShownCell:
    """A cell as MLflow shows it.

    Attributes:
        arm: its arm.
        seed, cell: its seed and its id.
        state: ``running``, ``stopped`` with its run, ``done``, ``failed`` or ``stale``; ``reason``: why it failed or
            is stale.
        values: split, metric and value of what it was evaluated on, the primary one first.
        curves: its learning curves.
        counts: how many epochs and seconds it took, by name.
    """

    arm: ShownArm
    seed: int
    cell: str
    state: str
    reason: str = ""
    values: tuple[tuple[str, str, float], ...] = ()
    curves: tuple[MetricPoint, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)


def cell_run(shown: ShownCell, details: CellDetails) -> MlflowRun:
    """Return the run of a cell."""
    done, began = shown.state == "done", shown.state in {"running", "stopped"}
    points: list[MetricPoint] = []
    if done:
        points += [MetricPoint(metric_name(split, name), shown_value(v)) for split, name, v in shown.values]
        points += [MetricPoint(name, round(value, 1)) for name, value in shown.counts.items()]
        points += details.usage
    if done or began:
        points += shown.curves
    arm = shown.arm
    tags = {"kind": "cell", "study": arm.study, "arm": arm.label, "cell": shown.cell, "state": shown.state}
    if shown.reason:
        tags["reason"] = shown.reason[:_LONGEST_TAG]
        tags["mlflow.note.content"] = f"**{escape(shown.state)}**: {escape(shown.reason)}"[:_LONGEST_TAG]
    # The data of a cell in training are not known yet: they are added when it is done.
    return MlflowRun(
        key=f"cell/{arm.label}/{shown.seed}",
        kind="cell",
        name=f"{arm.label} · seed {shown.seed}",
        parent=f"arm/{arm.label}",
        status=_STATUS[shown.state],
        params={**details.params, **arm.params, "seed": str(shown.seed)},
        points=finite(points),
        latest=arm.costs if done else {},
        tags=tags,
        files=details.files if done else {},
        data=details.data if done else None,
        model=details.model if done else None,
        seconds=shown.counts.get("seconds"),
        ended=details.ended if done else None,
    )


def ended_cells(results: StudyResults) -> Iterator[ShownCell]:
    """Yield every cell of a report that has ended."""
    arms = {arm.label: ShownArm.of(results.name, arm) for arm in results.arms}
    shown = results.cells[results.cells["state"].isin(list(_STATUS))]
    values = dict(list(results.values.groupby(["arm", "seed"], sort=False)))
    curves = dict(list(results.curves.groupby(["arm", "seed"], sort=False)))
    for row in shown.to_dict("records"):
        at = (row["arm"], row["seed"])
        done = row["state"] == "done"
        counts = {name: float(row[name]) for name in ("epochs", "best_epoch", "seconds")} if done else {}
        yield ShownCell(
            arms[row["arm"]],
            int(row["seed"]),
            str(row["cell"]),
            str(row["state"]),
            str(row["reason"]) if not done else "",
            _primary_first(results.primary_split, results.primary, _rows(values.get(at))) if done else (),
            curve_points(curves.get(at)) if done else (),
            counts,
        )


def cell_from_folder(arm: ShownArm, seed: int, folder: CellFolder, primary: tuple[str, str]) -> ShownCell:
    """Return a finished cell from its folder.

    Args:
        arm: its arm; the costs are read from the folder.
        seed: its seed.
        folder: its folder.
        primary: split and metric of every verdict.

    Raises:
        FusionBenchError: a file of it is damaged.
    """
    result, timing = folder.result(), folder.timing()
    try:
        curves = pd.read_parquet(folder.path / "curves.parquet")
    except (OSError, ValueError) as error:
        raise FusionBenchError(f"the cell {folder.path} is damaged: {error}") from error
    rows = [(*name.partition("/")[::2], value) for name, value in sorted(result.metrics.items())]
    own = ShownArm(arm.study, arm.label, arm.component, arm.role, arm.factors, costs_of(result.costs))
    counts = {
        "epochs": float(result.epochs),
        "best_epoch": float(result.best_epoch),
        "seconds": timing.seconds,
    }
    return ShownCell(
        own, seed, folder.id, "done", "", _primary_first(*primary, rows), curve_points(curves), counts
    )


def details_in(runs: Path | None, cell: str) -> CellDetails:
    """Return the details of a cell of a runs folder; none without a folder."""
    return CellDetails() if runs is None else cell_details(cell_folder(runs, cell))


def curve_points(curves: pd.DataFrame | None) -> tuple[MetricPoint, ...]:
    """Return one metric per quantity, in the chart group ``curve``, with the epoch as step."""
    if curves is None:
        return ()
    columns = zip(curves["quantity"], curves["epoch"], curves["value"], strict=True)
    return tuple(curve_point(name, int(epoch), float(value)) for name, epoch, value in columns)


def curve_point(quantity: str, epoch: int, value: float, time: int | None = None) -> MetricPoint:
    """Return a point of a learning curve."""
    return MetricPoint(f"curve/{metric_name(quantity)}", value, epoch, time)


def finite(points: Iterable[MetricPoint]) -> tuple[MetricPoint, ...]:
    """Return the points with finite values; MLflow stores an infinity as 1.8e308, which makes a chart unreadable."""
    return tuple(point for point in points if math.isfinite(point.value))


def _rows(values: pd.DataFrame | None) -> list[tuple[str, str, float]]:
    if values is None:
        return []
    columns = zip(values["split"], values["metric"], values["value"], strict=True)
    return [(str(split), str(metric), float(value)) for split, metric, value in columns]


def _primary_first(
    split: str, metric: str, rows: list[tuple[str, str, float]]
) -> tuple[tuple[str, str, float], ...]:
    """Return the rows with that of the primary metric first, on which MLflow's page of comparisons opens."""
    return tuple(sorted(rows, key=lambda row: (row[0], row[1]) != (split, metric)))

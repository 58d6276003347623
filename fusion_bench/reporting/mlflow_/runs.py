"""What MLflow shows of a study, as plain values: one run per arm, one per cell, one for the report.

Pure: study results in, runs out. `tracking` brings a store in line with them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.storage import canonical, digest, file_digest

RunKind = Literal["arm", "cell", "report"]
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_LAYOUT: Final = 1  # part of every digest: raise it when the same results are to be shown differently
_LONGEST_NAME: Final = 250
_LONGEST_PARAM: Final = 6000
_LONGEST_TAG: Final = 8000  # MLflow would cut without a word
_LONGEST_EXPERIMENT_TAG: Final = 5000
_PICTURES: Final = frozenset({".png", ".svg", ".jpg", ".jpeg", ".pdf"})
_ARM_PARAMS: Final = (
    "arm",
    "component",
    "role",
    "seed",
    "fusion_parameters",
    "fusion_multiply_adds",
    "around_parameters",
    "around_multiply_adds",
    "latency_ms",
)
# A failed cell says so; a stale one was made by other code or weights and is not counted.
_STATUS: Final[Mapping[str, RunStatus]] = {"done": "FINISHED", "failed": "FAILED", "stale": "KILLED"}


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric; ``step`` is the epoch for curves and 0 for final values."""

    metric: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class MlflowRun:
    """One MLflow run as it should stand.

    Attributes:
        key: names it within the study, whatever it holds (``cell/laconv/0``).
        kind: what it shows.
        name: as the table of runs shows it.
        parent: key of its parent run, or None.
        status: MLflow's word for how it ended.
        seconds: how long it ran, if that is known.
        params, points, tags: its content.
        files: local file by its place among the artifacts.
        digest: of all of the above, so that equal content is recognised.
    """

    key: str
    kind: RunKind
    name: str
    parent: str | None
    status: RunStatus
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[MetricPoint, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def digest(self) -> str:
        """A hash of everything shown."""
        points = [[point.metric, point.step, point.value] for point in self.points]
        files = {place: file_digest(path) for place, path in self.files.items()}
        content = [self.kind, self.name, self.status, self.seconds, dict(self.params), dict(self.tags)]
        return digest([_LAYOUT, self.key, *content, points, files])


@dataclass(frozen=True)
class MlflowStudy:
    """One MLflow experiment as it should stand: its tags, and its runs with parents before children."""

    name: str
    tags: Mapping[str, str]
    runs: tuple[MlflowRun, ...]


def mlflow_runs(results: StudyResults, report: Path | None) -> MlflowStudy:
    """Lay a study's results out as MLflow runs.

    Args:
        results: the study.
        report: its ``report.md``; pictures in the same folder and below go along. None for no report.

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
            raise FusionBenchError(f"{report} does not exist; make the report before it is shown in MLflow")
        text = report.read_text(encoding="utf-8")
        runs.append(_report(results, report, text))
    return MlflowStudy(results.name, _experiment_tags(results, text), tuple(runs))


def metric_name(*parts: str) -> str:
    """Join parts with ``_`` into a name that MLflow takes: ``test``, ``acc@1`` -> ``test_acc_at_1``."""
    spelled = "_".join(parts).replace("@", "_at_").replace("%", "percent").replace("/", "_")
    return re.sub(r"[^\w.\- ]", "_", spelled)[:_LONGEST_NAME]


def primary_metric(results: StudyResults) -> str:
    """The name under which the primary metric is logged."""
    return metric_name(results.primary_split, results.primary)


def factor_names(results: StudyResults) -> tuple[str, ...]:
    """The factors of all arms, as they are logged."""
    logged = dict.fromkeys(name for arm in results.arms for name in arm_params(arm))
    return tuple(name for name in logged if name not in _ARM_PARAMS)


def description(text: str, limit: int, pointer: str) -> str:
    """A report as a description: without its pictures, whole paragraphs up to ``limit`` characters."""
    plain = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    plain = re.sub(r"\n{3,}", "\n\n", plain).strip()
    if len(plain) <= limit:
        return plain
    kept = plain[: limit - len(pointer) - 4]
    end = max(kept.rfind("\n\n"), 0) or len(kept)
    return f"{kept[:end]}\n\n{pointer}"


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
            # The comparison opens on the metric that was logged first.
            judged = (values["split"] == results.primary_split) & (values["metric"] == results.primary)
            first = values.loc[judged.sort_values(ascending=False, kind="stable").index]
            rows = zip(first["split"], first["metric"], first["value"], strict=True)
            points += [MetricPoint(metric_name(split, metric), float(value)) for split, metric, value in rows]
        points += [MetricPoint(name, float(row[name])) for name in ("epochs", "best_epoch", "seconds")]
        if curves is not None:
            points += _curves(curves)
    tags = {"kind": "cell", "study": results.name, "arm": arm.label, "cell": str(row["cell"]), "state": state}
    if state != "done":
        tags["reason"] = str(row["reason"])[:_LONGEST_TAG]
        tags["mlflow.note.content"] = f"**{state}**: {row['reason']}"[:_LONGEST_TAG]
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
    """One metric per quantity, in the chart group ``curve``, with the epoch as its step."""
    columns = zip(curves["quantity"], curves["epoch"], curves["value"], strict=True)
    return [
        MetricPoint(f"curve/{metric_name(name)}", float(value), int(epoch)) for name, epoch, value in columns
    ]


def _arm(results: StudyResults, arm: ArmSummary) -> MlflowRun:
    """The parent of an arm's cells: its cost and the means over its finished seeds, under the same names."""
    cells = results.cells[results.cells["arm"] == arm.label]
    done, failed = int((cells["state"] == "done").sum()), int((cells["state"] == "failed").sum())
    values = results.values[results.values["arm"] == arm.label]
    means = values.groupby(["split", "metric"], sort=False, as_index=False)["value"].mean()
    rows = zip(means["split"], means["metric"], means["value"], strict=True)
    points = [MetricPoint(metric_name(split, metric), float(mean)) for split, metric, mean in rows]
    state = "done" if done == len(cells) else "failed" if failed == len(cells) else "incomplete"
    note = [
        f"`{arm.component}`" + (f" ({arm.citation})" if arm.citation else ""),
        f"{arm.role}; {done} of {len(cells)} seeds done; metrics are means over the finished seeds",
        f"listens to: {arm.listens}; position code: {arm.position_code}",
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
            "mlflow.note.content": "\n".join(f"- {line}" for line in note)[:_LONGEST_TAG],
        },
        seconds=_finite_or_none(cells["seconds"].sum()),
    )


def _report(results: StudyResults, report: Path, text: str) -> MlflowRun:
    folder = report.parent
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    files = {f"report/{path.relative_to(folder).as_posix()}": path for path in [report, *pictures]}
    pointer = f"*Cut here; the whole report, with its figures, is the artifact `report/{report.name}`.*"
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
            "mlflow.note.content": description(text, _LONGEST_TAG, pointer),
        },
    )


def _experiment_tags(results: StudyResults, text: str | None) -> dict[str, str]:
    pointer = "*Cut here; the whole report, with its figures, is among the artifacts of the run `report`.*"
    note = results.title if text is None else description(text, _LONGEST_EXPERIMENT_TAG, pointer)
    return {
        "fusion_bench.study": results.name,
        "fusion_bench.primary": primary_metric(results),
        "mlflow.note.content": note[:_LONGEST_EXPERIMENT_TAG],
    }


def arm_params(arm: ArmSummary) -> dict[str, str]:
    """What the table groups by and the parallel coordinates show: the arm, its factors and its cost."""
    own: dict[str, Any] = {
        "arm": arm.label,
        "component": arm.component,
        "role": arm.role,
        "fusion_parameters": arm.fusion_parameters,
        "fusion_multiply_adds": arm.fusion_multiply_adds,
        "around_parameters": arm.around_parameters,
        "around_multiply_adds": arm.around_multiply_adds,
        "latency_ms": None if arm.latency_ms is None else round(arm.latency_ms, 4),
    }
    factors = {metric_name(name): value for name, value in {**arm.factors, **arm.searched}.items()}
    named = {f"setting.{name}" if name in _ARM_PARAMS else name: value for name, value in factors.items()}
    return {
        name: _written(value)[:_LONGEST_PARAM]
        for name, value in {**own, **named}.items()
        if value is not None
    }


def _written(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)


def _finite(points: list[MetricPoint]) -> tuple[MetricPoint, ...]:
    """Leave out what MLflow's charts cannot draw: it stores an infinity as 1.8e308, which flattens the rest."""
    return tuple(point for point in points if math.isfinite(point.value))


def _finite_or_none(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None

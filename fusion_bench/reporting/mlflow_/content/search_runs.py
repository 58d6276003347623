"""The MLflow runs of the search of a study: one run per arm, one child per trial, read from Optuna's journals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import optuna
from optuna.trial import FrozenTrial, TrialState

from fusion_bench.reporting.mlflow_.content.arm_runs import finite_only
from fusion_bench.reporting.mlflow_.content.cell_runs import finite
from fusion_bench.reporting.mlflow_.content.run_names import factor_params, metric_name, shown_value
from fusion_bench.reporting.mlflow_.content.run_types import MetricPoint, MlflowRun, MlflowStudy, RunStatus
from fusion_bench.reporting.mlflow_.experiments import SEARCH
from fusion_bench.reporting.tables.markdown_text import escape
from fusion_bench.study.trials.journal_file import journal_storage

SELECTION: Final = "selection"
"""The metric of a trial: the study's selection metric on the selection split, mean over the seeds of the search."""
_STATUS: Final[Mapping[TrialState, RunStatus]] = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}


@dataclass(frozen=True)
class ShownSearch:
    """The search of a study as MLflow shows it.

    Attributes:
        study: the experiment ``<study>/search`` and its runs.
        metric: the metric of the trials, as it is logged; ``rises``: whether a larger value is better.
        params: the settings that are searched.
    """

    study: MlflowStudy
    metric: str
    rises: bool
    params: tuple[str, ...]


def search_journals(folder: Path) -> list[Path]:
    """Return the journals of the searches of a study, in whose folder they are."""
    return sorted((folder / "search").glob("*.log"))


def shown_search(
    name: str, journals: Sequence[Path], importances: Mapping[str, Mapping[str, float]] | None = None
) -> ShownSearch | None:
    """Return the search of a study; None if no trial has ended.

    Args:
        name: the name of the study.
        journals: see `search_journals`.
        importances: how much each setting mattered in the search of each arm; None before it is known.
    """
    runs: list[MlflowRun] = []
    params: dict[str, None] = {}
    rises = True
    for study in (found for file in journals for found in _studies(file)):
        arm = study.study_name.removeprefix(f"{name}/")
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state in _STATUS]
        rises = study.direction == optuna.study.StudyDirection.MAXIMIZE
        if trials:
            mattered = (importances or {}).get(arm, {})
            runs += [_parent(name, arm, trials, rises, mattered), *(_child(name, arm, t) for t in trials)]
            params |= dict.fromkeys(key for trial in trials for key in factor_params(trial.params))
    if not runs:
        return None
    params.pop("setting.arm", None)
    note = (
        f"The search of {escape(name)}: one run for each arm, and below it one for each trial, whose metric "
        f"`{SELECTION}` is the selection metric on the selection split."
    )
    tags = {
        SEARCH: name,
        "fusion_bench.primary": SELECTION,
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": note,
    }
    return ShownSearch(MlflowStudy(f"{name}/search", tags, tuple(runs)), SELECTION, rises, tuple(params))


def _studies(file: Path) -> list[optuna.Study]:
    storage = journal_storage(file)
    return [
        optuna.load_study(study_name=study.study_name, storage=storage) for study in storage.get_all_studies()
    ]


def _parent(
    study: str, arm: str, trials: Sequence[FrozenTrial], rises: bool, importances: Mapping[str, float]
) -> MlflowRun:
    values = [t.value for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    best = {f"best_{SELECTION}": shown_value(max(values) if rises else min(values))} if values else {}
    return MlflowRun(
        key=f"search/{arm}",
        kind="search",
        name=f"{arm} · search",
        parent=None,
        status="FINISHED",
        params={"arm": arm},
        latest={
            **finite_only(best),
            "trials": float(len(trials)),
            **{f"importance/{metric_name(name)}": shown_value(share) for name, share in importances.items()},
        },
        tags={"kind": "search", "study": study, "arm": arm, "state": "done"},
    )


def _child(study: str, arm: str, trial: FrozenTrial) -> MlflowRun:
    number = trial.user_attrs.get("trial", trial.number)
    points = [MetricPoint("trial", float(number))]
    if trial.value is not None and trial.state != TrialState.FAIL:
        points.insert(0, MetricPoint(SELECTION, shown_value(trial.value)))
    points += [MetricPoint(f"curve/{SELECTION}", v, step) for step, v in trial.intermediate_values.items()]
    state = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}[trial.state]
    cells = trial.user_attrs.get("cells", [trial.user_attrs.get("cell", "")])
    tags = {"kind": "trial", "study": study, "arm": arm, "state": state, "cells": ", ".join(cells)}
    if "failure" in trial.user_attrs:
        tags["reason"] = str(trial.user_attrs["failure"])[:8000]
    seconds = None if trial.duration is None else trial.duration.total_seconds()
    return MlflowRun(
        key=f"trial/{arm}/{number}",
        kind="trial",
        name=f"{arm} · trial {number}",
        parent=f"search/{arm}",
        status=_STATUS[trial.state],
        params={**factor_params(trial.params), "arm": arm, "trial": str(number)},
        points=finite(points),
        tags=tags,
        seconds=seconds,
        ended=_milliseconds(trial.datetime_complete),
    )


def _milliseconds(when: datetime | None) -> int | None:
    return None if when is None else int(when.timestamp() * 1000)

"""Synchronisation of a study with MLflow: MLflow shows the results and can be rebuilt from them at any time.

MLflow contains nothing that the results do not contain. A run with the right content is kept. Every other run of an
earlier synchronisation (outdated, of a cell that is not planned any more, or incomplete after a crash) is deleted
and, if the study still has it, created again, because MLflow cannot remove what a run has logged.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from fusion_bench.reporting.mlflow_.experiments import (
    experiment_of,
    experiments_of,
    own_runs,
    study_of_experiment,
)
from fusion_bench.reporting.mlflow_.links import Destination
from fusion_bench.reporting.mlflow_.run_types import MlflowRun, MlflowStudy
from fusion_bench.reporting.mlflow_.runs import mlflow_runs
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.views import CHARTS, TABLE, saved_views, view_tag
from fusion_bench.results.results import StudyResults
from fusion_bench.samples.counting import Notify, say_nothing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

_log = logging.getLogger(__name__)
_ENTITIES_PER_BATCH: Final = 1000
_PARAMS_PER_BATCH: Final = 100
_PARENT: Final = "mlflow.parentRunId"
_RunsByKey: TypeAlias = "dict[str, Run]"


@dataclass(frozen=True)
class SyncResult:
    """The result of a synchronisation.

    Attributes:
        store: the store that shows the study.
        destination: the ids that the links need.
        created: the number of new runs; a run with changed content counts as removed and created.
        kept: the number of runs that were already right.
        removed: the number of deleted runs.
    """

    store: TrackingStore
    destination: Destination
    created: int
    kept: int
    removed: int


def sync_study(
    results: StudyResults, report: Path | None, store: TrackingStore, notify: Notify = say_nothing
) -> SyncResult:
    """Make the MLflow experiment of the study show its results.

    Args:
        results: the study.
        report: its ``report.md``, with the figures in the same folder; None without a report.
        store: the store to write into.
        notify: is told how many runs are written.

    Raises:
        FusionBenchError: ``report`` is missing, the store cannot be reached or refuses something, or the
            experiment with the name of the study was not made by fusion-bench.
    """
    notify(f"showing {results.name} in MLflow", 0, 0)
    study = mlflow_runs(results, report)
    with store.open() as client:
        experiment = experiment_of(client, study, store)
        _save_views(client, experiment, saved_views(results))
        current, outdated = _partition(study, own_runs(client, experiment, study.name))
        for run in outdated:
            _delete(client, run, store)
        runs = {key: run.info.run_id for key, run in current.items()}
        for number, wanted in enumerate(study.runs, 1):
            notify(f"showing {results.name} in MLflow: runs", number, len(study.runs))
            parent = runs[wanted.parent] if wanted.parent else None
            if wanted.key not in runs:
                runs[wanted.key] = _create(client, experiment, wanted, parent)
            elif parent and current[wanted.key].data.tags.get(_PARENT) != parent:
                client.set_tag(runs[wanted.key], _PARENT, parent)
        destination = _destination(client, client.get_experiment(experiment))
    created = len(study.runs) - len(current)
    return SyncResult(store, destination, created, kept=len(current), removed=len(outdated))


def destinations(store: TrackingStore) -> tuple[Destination, ...]:
    """Return the studies that a store shows, the newest first.

    Raises:
        FusionBenchError: the store cannot be reached.
    """
    with store.open() as client:
        experiments = [experiment for experiment in experiments_of(client) if study_of_experiment(experiment)]
        return tuple(_destination(client, experiment) for experiment in experiments)


def _destination(client: MlflowClient, experiment: Experiment) -> Destination:
    study = str(study_of_experiment(experiment))
    runs = own_runs(client, experiment.experiment_id, study)
    cells = [run for run in runs if run.data.tags["kind"] == "cell" and run.data.tags["state"] == "done"]
    cells.sort(key=lambda run: str(run.info.run_name))
    return Destination(
        study=study,
        experiment=experiment.experiment_id,
        primary=experiment.tags["fusion_bench.primary"],
        cells=tuple(run.info.run_id for run in cells),
        report=next((run.info.run_id for run in runs if run.data.tags["kind"] == "report"), None),
        table=TABLE if view_tag(TABLE) in experiment.tags else None,
        charts=CHARTS if view_tag(CHARTS) in experiment.tags else None,
    )


def _save_views(client: MlflowClient, experiment: str, views: Mapping[str, str]) -> None:
    """Save the views; a failure is only logged, because their format is undocumented and nothing depends on them."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    known = client.get_experiment(experiment).tags
    for tag, state in views.items():
        try:
            if known.get(tag) != state:
                client.set_experiment_tag(experiment, tag, state)
        except MlflowException as error:
            _log.warning("MLflow does not accept the saved view %s: %s", tag, error)


def _partition(study: MlflowStudy, runs: list[Run]) -> tuple[_RunsByKey, list[Run]]:
    """Return the runs with the right content, by key, and the other runs."""
    wanted = {run.key: (run.digest, run.status) for run in study.runs}
    current: _RunsByKey = {}
    outdated = []
    for run in runs:
        key = run.data.tags["fusion_bench.key"]
        content = (run.data.tags.get("fusion_bench.digest"), run.info.status)
        if key in current or wanted.get(key) != content:
            outdated.append(run)
        else:
            current[key] = run
    return current, outdated


def _create(client: MlflowClient, experiment: str, wanted: MlflowRun, parent: str | None) -> str:
    """Create a run; its end is set last, so that an incomplete run stays "running" and is never kept."""
    now = int(time.time() * 1000)
    start = now - int(1000 * (wanted.seconds or 0.0))
    origin = {"mlflow.source.name": "fusion-bench", "mlflow.source.type": "LOCAL"}
    own = {"fusion_bench.key": wanted.key, "fusion_bench.digest": wanted.digest}
    tags = {**wanted.tags, **origin, **own} | ({_PARENT: parent} if parent else {})
    run = str(client.create_run(experiment, start_time=start, tags=tags, run_name=wanted.name).info.run_id)
    try:
        _fill(client, run, wanted, now)
        client.set_terminated(run, wanted.status, end_time=now)
    except BaseException:
        client.delete_run(run)
        raise
    return run


def _fill(client: MlflowClient, run: str, wanted: MlflowRun, now: int) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415 - takes seconds

    params = [Param(name, value) for name, value in wanted.params.items()]
    metrics = [Metric(point.metric, point.value, now, point.step) for point in wanted.points]
    # Most runs fit into one request.
    first = _ENTITIES_PER_BATCH - _PARAMS_PER_BATCH
    client.log_batch(run, metrics[:first], params[:_PARAMS_PER_BATCH])
    for start in range(_PARAMS_PER_BATCH, len(params), _PARAMS_PER_BATCH):
        client.log_batch(run, params=params[start : start + _PARAMS_PER_BATCH])
    for start in range(first, len(metrics), _ENTITIES_PER_BATCH):
        client.log_batch(run, metrics[start : start + _ENTITIES_PER_BATCH])
    for place, path in wanted.files.items():
        client.log_artifact(run, str(path), artifact_path=str(Path(place).parent.as_posix()))


def _delete(client: MlflowClient, run: Run, store: TrackingStore) -> None:
    """Delete a run and, in the store that fusion-bench keeps, its artifacts too."""
    client.delete_run(run.info.run_id)
    if store.artifacts is not None:
        study = next(iter(store.artifacts.glob(f"*/{run.info.run_id}")), None)
        if study is not None:
            shutil.rmtree(study)

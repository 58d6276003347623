"""A study in MLflow: a projection of its results that can be made again at any time.

MLflow holds nothing that the outcomes do not. A run whose content is as it should be is kept; every other
run that an earlier projection made (outdated, of a cell no longer planned, or cut short by a crash) is
deleted and, if it is still wanted, made anew: what a run has logged can be added to but not taken back.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.links import Destination
from fusion_bench.reporting.mlflow_.runs import MlflowRun, MlflowStudy, mlflow_runs
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.views import CHARTS, TABLE, saved_views, view_tag
from fusion_bench.results.results import StudyResults

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

_log = logging.getLogger(__name__)
_ENTITIES_PER_BATCH: Final = 1000
_PARAMS_PER_BATCH: Final = 100
_PARENT: Final = "mlflow.parentRunId"
_Standing: TypeAlias = "dict[str, Run]"


@dataclass(frozen=True)
class SyncResult:
    """What a projection did.

    Attributes:
        store: where the study is shown.
        destination: what the deep links need.
        created, kept, removed: numbers of runs; one whose content changed counts as removed and created.
    """

    store: TrackingStore
    destination: Destination
    created: int
    kept: int
    removed: int


def sync_study(results: StudyResults, report: Path | None, store: TrackingStore) -> SyncResult:
    """Bring the study's MLflow experiment in line with its results.

    Args:
        results: the study.
        report: its ``report.md``, with pictures beside it; None for a study without one.
        store: where to.

    Raises:
        FusionBenchError: ``report`` is missing, the store cannot be reached or refuses something, or the
            experiment's name belongs to somebody else's experiment.
    """
    study = mlflow_runs(results, report)
    with store.open() as client:
        experiment = _experiment(client, study, store)
        _save_views(client, experiment, saved_views(results))
        standing, outdated = _sorted_out(study, _own_runs(client, experiment, study.name))
        for run in outdated:
            _delete(client, run, store)
        runs = {key: run.info.run_id for key, run in standing.items()}
        for wanted in study.runs:
            parent = runs[wanted.parent] if wanted.parent else None
            if wanted.key not in runs:
                runs[wanted.key] = _create(client, experiment, wanted, parent)
            elif parent and standing[wanted.key].data.tags.get(_PARENT) != parent:
                client.set_tag(runs[wanted.key], _PARENT, parent)
        destination = _destination(client, client.get_experiment(experiment))
    created = len(study.runs) - len(standing)
    return SyncResult(store, destination, created, kept=len(standing), removed=len(outdated))


def destinations(store: TrackingStore) -> tuple[Destination, ...]:
    """The studies that stand in a store, the newest first.

    Raises:
        FusionBenchError: the store cannot be reached.
    """
    with store.open() as client:
        experiments = [experiment for experiment in _experiments(client) if _study_of(experiment)]
        return tuple(_destination(client, experiment) for experiment in experiments)


def _destination(client: MlflowClient, experiment: Experiment) -> Destination:
    study = str(_study_of(experiment))
    runs = _own_runs(client, experiment.experiment_id, study)
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
    """Save the views if this MLflow takes them: they are a convenience of an undocumented format."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    known = client.get_experiment(experiment).tags
    for tag, state in views.items():
        try:
            if known.get(tag) != state:
                client.set_experiment_tag(experiment, tag, state)
        except MlflowException as error:
            _log.warning("MLflow does not take the saved view %s: %s", tag, error)


def _experiment(client: MlflowClient, study: MlflowStudy, store: TrackingStore) -> str:
    """The id of the study's experiment, made or brought back if need be, with its tags in line."""
    artifacts = store.artifacts_of(study.name)
    found = client.get_experiment_by_name(study.name)
    if found is not None and _study_of(found) != study.name:
        raise FusionBenchError(
            f"MLflow already has an experiment {study.name!r} that fusion-bench did not make: "
            "rename the study or that experiment"
        )
    if found is not None and artifacts is not None and found.artifact_location != artifacts:
        # The runs folder was moved; an experiment's place cannot be changed, and all of it can be rebuilt.
        client.rename_experiment(found.experiment_id, f"{study.name} (moved, {found.experiment_id})")
        client.delete_experiment(found.experiment_id)
        found = None
    if found is None:
        return str(client.create_experiment(study.name, artifact_location=artifacts, tags=dict(study.tags)))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for key, value in study.tags.items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def _study_of(experiment: Experiment) -> str | None:
    study: str | None = experiment.tags.get("fusion_bench.study")
    return study


def _experiments(client: MlflowClient) -> Iterable[Experiment]:
    token = None
    while True:
        page = client.search_experiments(max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _own_runs(client: MlflowClient, experiment: str, study: str) -> list[Run]:
    """Every run that an earlier projection made, whole or not; runs that others logged are left alone."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.study = '{study}'", max_results=1000, page_token=token)
        runs += [run for run in page if "fusion_bench.key" in run.data.tags]
        token = page.token
        if not token:
            return runs


def _sorted_out(study: MlflowStudy, runs: list[Run]) -> tuple[_Standing, list[Run]]:
    """The runs that are as they should be, by key, and those that must go."""
    wanted = {run.key: (run.digest, run.status) for run in study.runs}
    standing: _Standing = {}
    outdated = []
    for run in runs:
        key = run.data.tags["fusion_bench.key"]
        content = (run.data.tags.get("fusion_bench.digest"), run.info.status)
        if key in standing or wanted.get(key) != content:
            outdated.append(run)
        else:
            standing[key] = run
    return standing, outdated


def _create(client: MlflowClient, experiment: str, wanted: MlflowRun, parent: str | None) -> str:
    """Make a run; it is ended last, so that one cut short is running for ever and never taken for whole."""
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
    # Most runs fit one request.
    first = _ENTITIES_PER_BATCH - _PARAMS_PER_BATCH
    client.log_batch(run, metrics[:first], params[:_PARAMS_PER_BATCH])
    for start in range(_PARAMS_PER_BATCH, len(params), _PARAMS_PER_BATCH):
        client.log_batch(run, params=params[start : start + _PARAMS_PER_BATCH])
    for start in range(first, len(metrics), _ENTITIES_PER_BATCH):
        client.log_batch(run, metrics[start : start + _ENTITIES_PER_BATCH])
    for place, path in wanted.files.items():
        client.log_artifact(run, str(path), artifact_path=str(Path(place).parent.as_posix()))


def _delete(client: MlflowClient, run: Run, store: TrackingStore) -> None:
    """Delete a run and, in the project's own store, its files: nobody can want an outdated figure back."""
    client.delete_run(run.info.run_id)
    if store.artifacts is not None:
        study = next(iter(store.artifacts.glob(f"*/{run.info.run_id}")), None)
        if study is not None:
            shutil.rmtree(study)

"""The experiments of a store that fusion-bench made, and their runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.run_types import MlflowStudy
from fusion_bench.reporting.mlflow_.store import TrackingStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run


def experiment_of(client: MlflowClient, study: MlflowStudy, store: TrackingStore) -> str:
    """Return the id of the experiment of the study; create or restore it if necessary, and set its tags."""
    artifacts = store.artifacts_of(study.name)
    experiment = client.get_experiment_by_name(study.name)
    if experiment is not None and study_of_experiment(experiment) != study.name:
        raise FusionBenchError(
            f"MLflow already has an experiment {study.name!r} that fusion-bench did not make: "
            "rename the study or that experiment"
        )
    if experiment is not None and artifacts is not None and experiment.artifact_location != artifacts:
        # The runs folder was moved. MLflow cannot change the artifact folder of an experiment, so it is rebuilt.
        client.rename_experiment(
            experiment.experiment_id, f"{study.name} (moved, {experiment.experiment_id})"
        )
        client.delete_experiment(experiment.experiment_id)
        experiment = None
    if experiment is None:
        return str(client.create_experiment(study.name, artifact_location=artifacts, tags=dict(study.tags)))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    for key, value in study.tags.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def study_of_experiment(experiment: Experiment) -> str | None:
    """Return the study that an experiment shows; None for one that fusion-bench did not make."""
    study: str | None = experiment.tags.get("fusion_bench.study")
    return study


def experiments_of(client: MlflowClient) -> Iterable[Experiment]:
    """Yield every experiment of a store, those that fusion-bench did not make among them."""
    token = None
    while True:
        page = client.search_experiments(max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def own_runs(client: MlflowClient, experiment: str, study: str) -> list[Run]:
    """Return the runs of earlier synchronisations, complete or not; runs logged by others are not among them."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.study = '{study}'", max_results=1000, page_token=token)
        runs += [run for run in page if "fusion_bench.key" in run.data.tags]
        token = page.token
        if not token:
            return runs

"""The experiments of a store that fusion-bench made, and their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.store import TrackingStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

KEY: Final = "fusion_bench.key"
"""The tag of a run with its name within the experiment."""
STUDY: Final = "fusion_bench.study"
"""The tag of an experiment with the study that it shows."""
SEARCH: Final = "fusion_bench.search"
"""The tag of an experiment with the study whose search it shows."""


def experiment_of(
    client: MlflowClient, name: str, tags: Mapping[str, str], store: TrackingStore
) -> Experiment:
    """Return an experiment with these tags; create or restore it if necessary.

    Args:
        client: of the store.
        name: the name of the experiment.
        tags: `STUDY` or `SEARCH` among them, by which an experiment of fusion-bench is known.
        store: the store.

    Raises:
        FusionBenchError: somebody else made an experiment of this name.
    """
    artifacts = store.artifacts_of(name)
    experiment = client.get_experiment_by_name(name)
    own = {STUDY, SEARCH} & tags.keys()
    if experiment is not None and any(experiment.tags.get(tag) != tags[tag] for tag in own):
        raise FusionBenchError(
            f"MLflow already has an experiment {name!r} that fusion-bench did not make: "
            "rename the study or that experiment"
        )
    if experiment is not None and artifacts is not None and experiment.artifact_location != artifacts:
        # An earlier version wrote the place of the runs folder into it, which MLflow cannot change.
        client.rename_experiment(experiment.experiment_id, f"{name} (moved, {experiment.experiment_id})")
        client.delete_experiment(experiment.experiment_id)
        experiment = None
    if experiment is None:
        made = client.create_experiment(name, artifact_location=artifacts, tags=dict(tags))
        return client.get_experiment(made)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    for key, value in tags.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return experiment


def study_of_experiment(experiment: Experiment) -> str | None:
    """Return the study that an experiment shows; None for one that fusion-bench did not make."""
    study: str | None = experiment.tags.get(STUDY)
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
        runs += [run for run in page if KEY in run.data.tags]
        token = page.token
        if not token:
            return runs

"""Synchronisation of a study with MLflow: MLflow shows the results and can be rebuilt from them at any time.

MLflow contains nothing that the results do not contain. Its runs are brought in line one by one
(`fusion_bench.reporting.mlflow_.writer`), and those that nothing stands for any more are deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fusion_bench.reporting.mlflow_.content.run_types import MlflowStudy
from fusion_bench.reporting.mlflow_.content.runs import mlflow_runs
from fusion_bench.reporting.mlflow_.content.search_runs import search_journals, shown_search
from fusion_bench.reporting.mlflow_.content.views import (
    ARM_TABLE,
    CHARTS,
    TABLE,
    ShownColumns,
    saved_views,
    search_view,
    view_tag,
)
from fusion_bench.reporting.mlflow_.experiments import (
    SEARCH,
    experiment_of,
    experiments_of,
    own_runs,
    study_of_experiment,
)
from fusion_bench.reporting.mlflow_.links import Destination
from fusion_bench.reporting.mlflow_.origins import Origins
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.writer import ExperimentWriter
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.study.run import study_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

_log = logging.getLogger(__name__)
_MOST_COMPARED: Final = 50


@dataclass(frozen=True)
class SyncResult:
    """The result of a synchronisation.

    Attributes:
        store: the store that shows the study.
        destination: the ids that the links need.
        created: the number of new runs.
        kept: the number of runs that were there, whose tags and newest values may have been changed in place.
        removed: the number of deleted runs.
    """

    store: TrackingStore
    destination: Destination
    created: int
    kept: int
    removed: int


def sync_study(
    results: StudyResults,
    report: Path | None,
    store: TrackingStore,
    notify: Notify = say_nothing,
    *,
    tables: Tables | None = None,
    runs: Path | None = None,
) -> SyncResult:
    """Make the MLflow experiment of the study show its results.

    Args:
        results: the study.
        report: its ``report.md``, with the page and the figures in the same folder; None without a report.
        store: the store to write into.
        notify: is told how many runs are written.
        tables: the numbers of the report.
        runs: the runs folder; None shows nothing that only the folders of the cells hold.

    Raises:
        FusionBenchError: ``report`` is missing, the store cannot be reached or refuses something, or the
            experiment with the name of the study was not made by fusion-bench.
    """
    notify(f"showing {results.name} in MLflow", 0, 0)
    study = mlflow_runs(results, report, tables, runs)
    folder = None if runs is None else study_folder(runs, results.name)
    mattered = {arm.label: arm.search_importances for arm in results.arms}
    search = None if folder is None else shown_search(results.name, search_journals(folder), mattered)
    with store.open() as client:
        version = store.version()
        experiment = experiment_of(client, study.name, study.tags, store)
        views = saved_views(ShownColumns.of(results), version, experiment.creation_time)
        save_views(client, experiment, views)
        writer = _bring_in_line(client, store, experiment, study, results.name, notify, Origins.of(folder))
        if search is not None:
            other = experiment_of(client, search.study.name, search.study.tags, store)
            view = search_view(search.metric, search.params, search.rises, version, other.creation_time)
            save_views(client, other, view)
            _bring_in_line(client, store, other, search.study, results.name, notify, Origins.of(None))
        destination = _destination(client, client.get_experiment(experiment.experiment_id), _searches(client))
    return SyncResult(store, destination, writer.created, writer.changed, writer.removed)


def destinations(store: TrackingStore) -> tuple[Destination, ...]:
    """Return the studies that a store shows, the one that was changed last first.

    Raises:
        FusionBenchError: the store cannot be reached.
    """
    with store.open() as client:
        searches = _searches(client)
        experiments = [experiment for experiment in experiments_of(client) if study_of_experiment(experiment)]
        found = [_destination(client, experiment, searches) for experiment in experiments]
        return tuple(sorted(found, key=lambda item: item.changed, reverse=True))


def save_views(client: MlflowClient, experiment: Experiment, views: Mapping[str, str]) -> None:
    """Save the views; a failure is only logged, because their format is undocumented and nothing depends on them."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    for tag, state in views.items():
        try:
            if experiment.tags.get(tag) != state:
                client.set_experiment_tag(experiment.experiment_id, tag, state)
        except MlflowException as error:
            _log.warning("MLflow does not accept the saved view %s: %s", tag, error)


def _bring_in_line(
    client: MlflowClient,
    store: TrackingStore,
    experiment: Experiment,
    study: MlflowStudy,
    name: str,
    notify: Notify,
    origins: Origins,
) -> ExperimentWriter:
    writer = ExperimentWriter(client, store, experiment.experiment_id, name)
    for number, wanted in enumerate(study.runs, 1):
        notify(f"showing {study.name} in MLflow: runs", number, len(study.runs))
        writer.show(wanted, origins.tags(wanted.tags.get("cell", "")))
    writer.remove_others({wanted.key for wanted in study.runs})
    return writer


def _searches(client: MlflowClient) -> dict[str, str]:
    """Return the ids of the experiments that show searches, by the name of the study."""
    return {e.tags[SEARCH]: str(e.experiment_id) for e in experiments_of(client) if SEARCH in e.tags}


def _destination(client: MlflowClient, experiment: Experiment, searches: Mapping[str, str]) -> Destination:
    study = str(study_of_experiment(experiment))
    primary = experiment.tags["fusion_bench.primary"]
    runs = own_runs(client, experiment.experiment_id, study)
    cells = [run for run in runs if run.data.tags["kind"] == "cell" and run.data.tags["state"] == "done"]
    cells.sort(key=lambda run: str(run.info.run_name))
    # An arm without a finished cell would empty the page of comparisons.
    arms = [run for run in runs if run.data.tags["kind"] == "arm" and primary in run.data.metrics]
    arms.sort(key=lambda run: run.info.start_time)
    return Destination(
        study=study,
        experiment=experiment.experiment_id,
        primary=primary,
        cells=tuple(run.info.run_id for run in cells),
        arms=tuple(run.info.run_id for run in arms[:_MOST_COMPARED]),
        report=next((run.info.run_id for run in runs if run.data.tags["kind"] == "report"), None),
        views=tuple(key for key in (TABLE, ARM_TABLE, CHARTS) if view_tag(key) in experiment.tags),
        search=searches.get(study),
        changed=max((run.info.end_time or run.info.start_time for run in runs), default=0),
    )

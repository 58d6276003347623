"""Synchronisation with MLflow: the store shows the results afterwards, whatever happened before."""

from __future__ import annotations

import dataclasses
import io
import logging
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from rich.console import Console

from fusion_bench.api.run import track
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_ import sync
from fusion_bench.reporting.mlflow_.content.views import ARM_TABLE, CHARTS, TABLE
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import SyncResult, destinations, sync_study
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]

# MLflow's own queries, under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture
def results(make_results: Make) -> StudyResults:
    """Three arms, three seeds; the last seed of image_only is stale and that of prior failed."""
    return only(make_results(seeds=3), "laconv", "image_only", "prior")


def only(results: StudyResults, *arms: str) -> StudyResults:
    tables = {
        name: table[table["arm"].isin(arms)]
        for name in ("cells", "values", "curves")
        for table in [getattr(results, name)]
    }
    return dataclasses.replace(results, arms=tuple(a for a in results.arms if a.label in arms), **tables)


def before_seed(results: StudyResults, seed: int) -> StudyResults:
    """The study with the seeds below ``seed`` alone."""
    tables = {
        name: table[table["seed"] < seed]
        for name in ("cells", "values", "curves")
        for table in [getattr(results, name)]
    }
    return dataclasses.replace(results, **tables)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "curves.png").write_bytes(b"a figure")
    (folder / "report.md").write_text("# Invented\n\n![curves](figures/curves.png)\n\nlaconv is better.\n")
    return folder / "report.md"


def runs_of(synced: SyncResult) -> dict[str, Run]:
    """Every run that a user of MLflow sees, by name."""
    client = MlflowClient(tracking_uri=synced.store.uri)
    found = client.search_runs([synced.destination.experiment], run_view_type=ViewType.ACTIVE_ONLY)
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def content(synced: SyncResult) -> dict[str, Any]:
    """The shown content, without ids and times."""
    runs = runs_of(synced)
    names = {run.info.run_id: name for name, run in runs.items()}
    return {
        name: (
            run.info.status,
            run.data.params,
            run.data.metrics,
            names.get(run.data.tags.get("mlflow.parentRunId")),
            {tag: value for tag, value in run.data.tags.items() if tag not in {"mlflow.parentRunId"}},
        )
        for name, run in runs.items()
    }


def test_a_study_is_an_experiment_with_a_run_per_arm_and_a_child_per_seed(
    results: StudyResults, store: TrackingStore
) -> None:
    synced = sync_study(results, None, store)
    runs = runs_of(synced)
    assert len(runs) == synced.created == 3 + 9

    child, parent = runs["laconv · seed 1"], runs["laconv"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.info.status == "FINISHED"
    assert child.data.params["seed"] == "1"
    assert child.data.params["kernel_size"] == parent.data.params["kernel_size"] == "3"
    value = results.values.query("arm == 'laconv' and seed == 1 and split == 'test' and metric == 'accuracy'")
    assert child.data.metrics["test_accuracy"] == pytest.approx(value["value"].item(), rel=1e-4)
    tags = {name: child.data.tags[name] for name in ("kind", "study", "arm", "cell", "state")}
    cell = results.cells.query("arm == 'laconv' and seed == 1")["cell"].item()
    assert tags == {"kind": "cell", "study": "invented", "arm": "laconv", "cell": cell, "state": "done"}
    assert child.info.end_time - child.info.start_time == 61_500


def test_curves_are_histories_by_epoch(results: StudyResults, store: TrackingStore) -> None:
    synced = sync_study(results, None, store)
    run = runs_of(synced)["laconv · seed 0"].info.run_id
    history = MlflowClient(tracking_uri=store.uri).get_metric_history(run, "curve/train_loss")
    curve = results.curves.query("arm == 'laconv' and seed == 0 and quantity == 'train/loss'")
    expected = list(zip(curve["epoch"], curve["value"], strict=True))
    assert sorted((point.step, point.value) for point in history) == expected


def test_curves_longer_than_a_request_arrive_whole(results: StudyResults, store: TrackingStore) -> None:
    few = before_seed(only(results, "laconv"), 1)
    long = pd.DataFrame({"epoch": range(1, 2501), "samples_seen": 0, "quantity": "train/loss", "value": 0.5})
    long = long.assign(arm="laconv", seed=0)
    synced = sync_study(dataclasses.replace(few, curves=long), None, store)
    run = runs_of(synced)["laconv · seed 0"].info.run_id
    history = MlflowClient(tracking_uri=store.uri).get_metric_history(run, "curve/train_loss")
    assert sorted(point.step for point in history) == list(range(1, 2501))


def test_bad_ends_are_seen(results: StudyResults, store: TrackingStore) -> None:
    runs = runs_of(sync_study(results, None, store))
    failed, stale = runs["prior · seed 2"], runs["image_only · seed 2"]
    assert (failed.info.status, stale.info.status) == ("FAILED", "KILLED")
    assert "the loss was not finite" in failed.data.tags["reason"]
    assert failed.data.metrics == stale.data.metrics == {}


def test_a_context_is_shown_with_the_numbers_of_its_own_report(
    make_results: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = dataclasses.replace(make_results(seeds=3), name="invented around")
    study = dataclasses.replace(make_results(), contexts={"around": context})
    shown: dict[str, Tables] = {}

    def kept(found: StudyResults, *_: object, tables: Tables, **__: object) -> None:
        shown[found.name] = tables

    monkeypatch.setattr("fusion_bench.api.run.sync_study", kept)
    tables = build_tables(dataclasses.replace(study, contexts={}))
    track(study, tmp_path / "report.md", tables, tmp_path, Console(file=io.StringIO()))
    assert shown[study.name] is tables
    assert shown[context.name].means.equals(build_tables(context).means)


def test_projecting_again_changes_nothing(results: StudyResults, report: Path, store: TrackingStore) -> None:
    first = sync_study(results, report, store)
    second = sync_study(results, report, store)
    assert (second.created, second.kept, second.removed) == (0, first.created, 0)
    assert second.destination == first.destination


def test_one_more_seed_adds_its_runs_and_keeps_the_others(
    results: StudyResults, store: TrackingStore
) -> None:
    before = runs_of(sync_study(before_seed(results, 2), None, store))
    synced = sync_study(results, None, store)
    after = runs_of(synced)
    # The parents' means are changed in place.
    assert (synced.created, synced.removed) == (3, 0)
    assert after["laconv"].info.run_id == before["laconv"].info.run_id
    assert after["laconv"].data.metrics["seeds_done"] == 3
    kept = before["laconv · seed 0"].info.run_id
    assert after["laconv · seed 0"].info.run_id == kept
    for name, run in after.items():
        if run.data.tags["kind"] == "cell":
            assert run.data.tags["mlflow.parentRunId"] == after[name.split(" · ")[0]].info.run_id


def test_cells_and_arms_no_longer_planned_disappear(results: StudyResults, store: TrackingStore) -> None:
    sync_study(results, None, store)
    synced = sync_study(only(results, "laconv"), None, store)
    assert set(runs_of(synced)) == {"laconv", "laconv · seed 0", "laconv · seed 1", "laconv · seed 2"}
    assert (synced.created, synced.kept) == (0, 4)


@pytest.mark.parametrize("survived", [0, 3, 7])
def test_an_error_halfway_leaves_no_running_run_and_projecting_again_heals(
    results: StudyResults, store: TrackingStore, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    calls = 0
    whole = MlflowClient.log_batch

    def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > survived:
            raise MlflowException("the disk is full")
        return whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", failing)
        with pytest.raises(FusionBenchError, match="the disk is full"):
            sync_study(results, None, store)
    client = MlflowClient(tracking_uri=store.uri)
    experiment = client.get_experiment_by_name("invented")
    assert not client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")

    synced = sync_study(results, None, store)
    assert (synced.created, synced.kept) == (12 - survived, survived)
    assert {run.info.status for run in runs_of(synced).values()} == {"FINISHED", "FAILED", "KILLED"}


def test_a_projection_killed_while_it_wrote_a_run_is_healed(
    results: StudyResults, store: TrackingStore
) -> None:
    first = sync_study(results, None, store)
    undisturbed = content(first)
    client = MlflowClient(tracking_uri=store.uri)
    victims = [runs_of(first)[name].info.run_id for name in ("laconv", "laconv · seed 0", "prior · seed 2")]
    for run in victims:
        client.update_run(run, status="RUNNING")

    healed = sync_study(results, None, store)
    assert (healed.removed, healed.created) == (0, 0)
    assert content(healed) == undisturbed


def test_the_report_is_a_run_with_figures_and_its_text_describes_the_experiment(
    results: StudyResults, report: Path, store: TrackingStore
) -> None:
    synced = sync_study(results, report, store)
    client = MlflowClient(tracking_uri=store.uri)
    run = synced.destination.report
    assert run == runs_of(synced)["report"].info.run_id
    assert store.artifacts is not None
    folder = next(store.artifacts.glob(f"*/{run}/artifacts"))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"report/report.md", "report/figures/curves.png"}
    experiment = client.get_experiment(synced.destination.experiment)
    assert experiment.tags["mlflow.note.content"] == "# Invented\n\nlaconv is better."
    assert experiment.artifact_location.startswith("mlflow-artifacts:/invented-")


def test_a_new_report_replaces_the_old_one_and_its_files(
    results: StudyResults, report: Path, store: TrackingStore
) -> None:
    few = before_seed(only(results, "laconv"), 1)
    old = sync_study(few, report, store).destination.report
    report.write_text("# Invented\n\nNo difference.\n")
    new = sync_study(few, report, store).destination.report
    assert store.artifacts is not None
    kept = [path.read_text() for path in store.artifacts.rglob("report.md")]
    assert (old == new, kept) == (False, ["# Invented\n\nNo difference.\n"])
    assert sync_study(few, None, store).destination.report is None


def test_runs_and_experiments_of_others_are_left_alone(results: StudyResults, store: TrackingStore) -> None:
    few = before_seed(only(results, "laconv"), 1)
    client = MlflowClient(tracking_uri=store.uri)
    destination = sync_study(few, None, store).destination
    client.create_run(destination.experiment, run_name="my own", tags={"study": "invented"})
    assert "my own" in runs_of(sync_study(results, None, store))

    client.create_experiment("taken")
    with pytest.raises(FusionBenchError, match="'taken' that fusion-bench did not make: rename"):
        sync_study(dataclasses.replace(few, name="taken"), None, store)
    assert client.get_experiment_by_name("taken").lifecycle_stage == "active"


def test_a_deleted_experiment_comes_back(results: StudyResults, store: TrackingStore) -> None:
    few = before_seed(only(results, "laconv"), 1)
    first = sync_study(few, None, store).destination
    MlflowClient(tracking_uri=store.uri).delete_experiment(first.experiment)
    again = sync_study(few, None, store)
    assert again.destination.experiment == first.experiment
    assert set(runs_of(again)) == {"laconv", "laconv · seed 0"}


def test_a_copied_runs_folder_keeps_its_artifacts(
    results: StudyResults, report: Path, store: TrackingStore, tmp_path: Path
) -> None:
    few = before_seed(only(results, "laconv"), 1)
    sync_study(few, report, store)
    folder = tmp_path / "else where #2 (100%20?)"  # every sign that means something in an address
    folder.mkdir()
    copied = TrackingStore.of(folder)
    shutil.copy(tmp_path / "mlflow.db", folder / "mlflow.db")
    shutil.move(tmp_path / "artifacts", folder / "artifacts")
    again = sync_study(few, report, copied)
    assert (again.created, again.kept, again.removed) == (0, 3, 0)
    assert not (tmp_path / "artifacts").exists()
    assert len(list((folder / "artifacts").rglob("report.md"))) == 1
    assert [found.study for found in destinations(copied)] == ["invented"]


def test_an_experiment_that_names_the_folder_of_an_earlier_version_is_made_anew(
    results: StudyResults, report: Path, store: TrackingStore, tmp_path: Path
) -> None:
    few = before_seed(only(results, "laconv"), 1)
    client = MlflowClient(tracking_uri=store.uri)
    old = client.create_experiment(
        "invented", (tmp_path / "artifacts").as_uri(), tags={"fusion_bench.study": "invented"}
    )
    synced = sync_study(few, report, store)
    assert synced.destination.experiment != old
    assert client.get_experiment(old).lifecycle_stage == "deleted"
    assert sync_study(few, report, store).kept == 3


def test_studies_are_found_again_with_all_that_links_need(
    results: StudyResults, report: Path, store: TrackingStore
) -> None:
    synced = sync_study(results, report, store)
    assert destinations(store) == (synced.destination,)
    found = synced.destination
    assert (found.study, found.primary) == ("invented", "test_accuracy")
    # Finished cells only: one run without metrics empties the comparison.
    assert len(found.cells) == 7
    assert len(found.arms) == 3
    assert found.views == (TABLE, ARM_TABLE, CHARTS)


def test_a_store_that_refuses_saved_views_gets_everything_else(
    results: StudyResults,
    store: TrackingStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = MlflowClient.set_experiment_tag

    def picky(client: MlflowClient, experiment: str, key: str, value: str) -> None:
        if key.startswith("mlflow.sharedViewState"):
            raise MlflowException("too long")
        whole(client, experiment, key, value)

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", picky)
    with caplog.at_level(logging.WARNING, logger=sync.__name__):
        synced = sync_study(before_seed(only(results, "laconv"), 1), None, store)
    assert "does not accept the saved view" in caplog.text
    assert synced.destination.views == ()
    assert set(runs_of(synced)) == {"laconv", "laconv · seed 0"}


def test_the_tracking_uri_of_the_environment_is_respected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://lab.example")
    assert TrackingStore.of(tmp_path) == TrackingStore("https://lab.example")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    store = TrackingStore.of(Path("runs"))
    assert store.uri == f"sqlite:///{tmp_path.resolve()}/runs/mlflow.db"
    assert store.artifacts == tmp_path.resolve() / "runs" / "artifacts"


def test_a_server_that_is_down_is_one_sentence_without_its_password(results: StudyResults) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(FusionBenchError, match="cannot be reached") as caught:
        sync_study(results, None, TrackingStore(f"http://me:secret@127.0.0.1:{port}/mlflow"))
    assert "secret" not in str(caught.value)
    assert f"http://127.0.0.1:{port}/mlflow" in str(caught.value)


def test_a_damaged_database_is_one_sentence(results: StudyResults, store: TrackingStore) -> None:
    assert store.database is not None
    store.database.write_bytes(b"not a database" * 1000)
    with pytest.raises(FusionBenchError, match=r"mlflow\.db is not a database that can be read .* delete it"):
        sync_study(results, None, store)

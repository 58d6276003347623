"""MLflow while a study runs: what is finished is there, curves grow, and no trouble of a server reaches the study."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from fusion_bench.cells.events import CellFailed
from fusion_bench.reporting.mlflow_.live import LiveMlflow
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import sync_study
from invented_cells import EPOCHS, InventedRun

# MLflow's own queries, under SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
BEAT = 0.05


@pytest.fixture
def invented(tmp_path: Path) -> InventedRun:
    return InventedRun.in_folder(tmp_path, tmp_path)


def shown(store: TrackingStore, name: str = "eight") -> dict[str, Run]:
    """Every run of the experiment, by name; none is there twice."""
    client = MlflowClient(tracking_uri=store.uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return {}
    found = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    names = [run.info.run_name for run in found]
    assert len({*names}) == len(names)
    return dict(zip(names, found, strict=True))


def curve(store: TrackingStore, run: Run, metric: str = "curve/select_accuracy") -> list[tuple[int, float]]:
    history = MlflowClient(tracking_uri=store.uri).get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in history)


def wait_until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_cells_appear_as_they_finish_and_curves_as_they_grow_and_the_end_changes_neither(
    invented: InventedRun, store: TrackingStore
) -> None:
    said: list[str] = []
    first, second, *rest = invented.cells
    with LiveMlflow(invented.study, invented.runs, store, said.append, BEAT) as live:
        live.notify(invented.planned())
        for event in (*invented.trains(first), *invented.trains(second, epochs=2)):
            live.notify(event)
        names = {"film", "concat", f"film · seed {first.seed}", f"concat · seed {second.seed}"}
        wait_until(lambda: shown(store).keys() == names)
        wait_until(lambda: shown(store)["film · seed 0"].info.status == "FINISHED")
        runs = shown(store)
        growing = runs["concat · seed 0"]
        assert growing.info.status == "RUNNING" and growing.data.tags["state"] == "running"
        assert [step for step, _ in curve(store, growing)] == [1, 2]
        for event in invented.trains(second, epochs=1):  # its worker died, and another begins anew
            live.notify(event)
        wait_until(
            lambda: (
                (run := shown(store).get("concat · seed 0")) is not None
                and [step for step, _ in curve(store, run)] == [1]
            )
        )
        assert runs["film"].info.status == "RUNNING" and runs["film"].data.metrics["seeds_done"] == 1
        for event in (*invented.trains(second), *(event for cell in rest for event in invented.trains(cell))):
            live.notify(event)
    assert said == []
    live_runs = shown(store)
    assert {run.info.status for run in live_runs.values()} == {"FINISHED"}
    assert len(live_runs) == 2 + 8
    synced = sync_study(invented.results(), None, store, runs=invented.runs)
    assert (synced.created, synced.removed) == (0, 0)
    after = shown(store)
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: run.info.run_id for name, run in live_runs.items()
    }
    for cell in invented.cells:
        run = after[f"{cell.arm} · seed {cell.seed}"]
        assert curve(store, run) == [(epoch, invented.value(cell, epoch)) for epoch in range(1, EPOCHS + 1)]
        assert run.data.metrics["latency_ms"] == 2.5, "measured after the cells"
        assert run.info.end_time - run.info.start_time == 3000, "what the cell measured"
        assert len(curve(store, run, "system/cpu_utilization_percentage")) == 2


def test_a_cell_shows_its_settings_data_files_user_and_commit(
    invented: InventedRun, store: TrackingStore, empty_database: Path, tmp_path: Path
) -> None:
    first = invented.cells[0]
    with LiveMlflow(invented.study, invented.runs, store, print, BEAT) as live:
        live.notify(invented.planned())
        for event in invented.trains(first):
            live.notify(event)
    run = shown(store)["film · seed 0"]
    assert run.data.params["train.epochs"] == str(first.config.train.epochs)
    assert run.data.params["module"] == "film" and run.data.params["data.adapter.images.evaluate"] == "60"
    assert run.data.params["seed"] == "0"
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name.startswith("miniclevr ") and data.dataset.digest == "d" * 36
    assert run.data.tags["mlflow.user"] and run.data.tags["mlflow.source.name"] == "eight.yaml"
    assert store.artifacts is not None
    folder = next(store.artifacts.glob(f"*/{run.info.run_id}/artifacts"))
    assert {file.name for file in folder.iterdir()} == {"config.json", "provenance.json", "samples.parquet"}
    arm = shown(store)["film"]
    module = next(store.artifacts.glob(f"*/{arm.info.run_id}/artifacts/module/film.py"))
    assert "class FiLM" in module.read_text()
    (output,) = run.outputs.model_outputs
    model = MlflowClient(tracking_uri=store.uri).get_logged_model(output.model_id)
    assert (model.name, model.status, model.source_run_id) == ("film · seed 0", "READY", run.info.run_id)
    assert list(store.artifacts.glob(f"*/models/{model.model_id}/artifacts/model.safetensors"))
    # Rebuilt from nothing, they keep the user and the commit of their training.
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(empty_database, other / "mlflow.db")
    sync_study(invented.results(), None, TrackingStore.of(other), runs=invented.runs)
    again = shown(TrackingStore.of(other))["film · seed 0"]
    assert again.data.tags["mlflow.user"] == run.data.tags["mlflow.user"]
    assert again.data.params == run.data.params


def test_a_run_that_was_killed_leaves_what_it_had_and_the_next_one_doubles_nothing(
    invented: InventedRun, store: TrackingStore
) -> None:
    first, second, third, *_ = invented.cells
    killed = LiveMlflow(invented.study, invented.runs, store, print, BEAT)
    killed.notify(invented.planned())
    for event in (*invented.trains(first), *invented.trains(second), *invented.trains(third, epochs=2)):
        killed.notify(event)
    wait_until(lambda: len(shown(store)) == 2 + 3)
    wait_until(lambda: shown(store)["concat · seed 0"].info.status == "FINISHED")
    killed._state = None  # type: ignore[assignment]  # its thread ends without a word, as that of a killed process
    killed._over.set()
    killed._thread.join()
    assert shown(store)["film · seed 1"].info.status == "RUNNING"
    assert [step for step, _ in curve(store, shown(store)["film · seed 1"])] == [1, 2]

    with LiveMlflow(invented.study, invented.runs, store, print, BEAT) as live:
        live.notify(invented.planned())
        for cell in invented.cells[2:]:
            for event in invented.trains(cell):
                live.notify(event)
    runs = shown(store)
    assert len(runs) == 2 + 8 and {run.info.status for run in runs.values()} == {"FINISHED"}
    assert [step for step, _ in curve(store, runs["film · seed 1"])] == [1, 2, 3]
    synced = sync_study(invented.results(), None, store, runs=invented.runs)
    assert (synced.created, synced.removed) == (0, 0)


def test_more_seeds_of_a_study_that_was_reported_stand_below_the_same_arm(
    invented: InventedRun, store: TrackingStore
) -> None:
    """The means of an arm are those of a report no more: its run is made anew, and the cells below it are kept."""
    for cell in invented.cells[:4]:
        invented.finish(cell)
    sync_study(invented.results(), None, store, runs=invented.runs)
    before = shown(store)
    with LiveMlflow(invented.study, invented.runs, store, pytest.fail, BEAT) as live:
        live.notify(invented.planned())
        for event in invented.trains(invented.cells[4]):
            live.notify(event)
    after = shown(store)
    assert after["film"].info.run_id != before["film"].info.run_id
    assert "latency_ms" in before["film"].data.metrics and "latency_ms" not in after["film"].data.metrics
    cells = {name: run for name, run in after.items() if run.data.tags["kind"] == "cell"}
    assert len(cells) == 5
    for name, run in cells.items():
        assert run.data.tags["mlflow.parentRunId"] == after[run.data.tags["arm"]].info.run_id
        assert name not in before or run.info.run_id == before[name].info.run_id


def test_a_cell_that_was_stopped_and_finished_elsewhere_is_shown_as_done(
    invented: InventedRun, store: TrackingStore
) -> None:
    first, second, *_ = invented.cells
    stopped = LiveMlflow(invented.study, invented.runs, store, pytest.fail, BEAT)
    with pytest.raises(KeyboardInterrupt), stopped:
        stopped.notify(invented.planned())
        for event in invented.trains(first, epochs=1):
            stopped.notify(event)
        raise KeyboardInterrupt
    assert shown(store)["film · seed 0"].info.status == "KILLED"
    invented.finish(first)
    with LiveMlflow(invented.study, invented.runs, store, pytest.fail, BEAT) as live:
        live.notify(invented.planned())
        for event in invented.trains(second, epochs=1):
            live.notify(event)
    assert shown(store)["film · seed 0"].info.status == "FINISHED"


def test_ctrl_c_ends_the_runs_of_the_cells_that_were_trained(
    invented: InventedRun, store: TrackingStore
) -> None:
    live = LiveMlflow(invented.study, invented.runs, store, print, BEAT)
    with pytest.raises(KeyboardInterrupt), live:
        live.notify(invented.planned())
        for event in invented.trains(invented.cells[0], epochs=1):
            live.notify(event)
        raise KeyboardInterrupt
    assert shown(store)["film · seed 0"].info.status == "KILLED"


def test_a_cell_that_failed_says_why_at_once(invented: InventedRun, store: TrackingStore) -> None:
    with LiveMlflow(invented.study, invented.runs, store, print, BEAT) as live:
        live.notify(invented.planned())
        live.notify(CellFailed(invented.cells[0].id, "the loss was not finite"))
    run = shown(store)["film · seed 0"]
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "the loss was not finite")


def test_a_store_that_fails_in_between_loses_and_doubles_nothing(
    invented: InventedRun, store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of all writes are answered with an error, some of them after they were done."""
    calls, broken = 0, threading.Event()
    for name in ("create_run", "log_batch", "set_terminated", "delete_run"):
        whole = getattr(MlflowClient, name)

        def flaky(*args: Any, whole: Callable[..., Any] = whole, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if broken.is_set() and calls % 4 == 0:
                raise MlflowException("503: the server is restarting")
            answer = whole(*args, **kwargs)
            if broken.is_set() and calls % 4 == 2:
                raise MlflowException("the answer was lost")
            return answer

        monkeypatch.setattr(MlflowClient, name, flaky)
    said: list[str] = []
    broken.set()
    with LiveMlflow(invented.study, invented.runs, store, said.append, BEAT) as live:
        live.notify(invented.planned())
        for cell in invented.cells:
            for event in invented.trains(cell):
                live.notify(event)
                time.sleep(0.02)
        wait_until(lambda: said)
        broken.clear()
    assert "the study goes on" in said[0]
    sync_study(invented.results(), None, store, runs=invented.runs)
    runs = shown(store)
    assert len(runs) == 2 + 8 and {run.info.status for run in runs.values()} == {"FINISHED"}
    for cell in invented.cells:
        run = runs[f"{cell.arm} · seed {cell.seed}"]
        assert [step for step, _ in curve(store, run)] == list(range(1, EPOCHS + 1))


def test_a_model_that_was_not_sent_whole_is_there_once(
    invented: InventedRun, store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, said = MlflowClient.finalize_logged_model, list[str]()

    def fails_once(client: MlflowClient, *arguments: Any) -> Any:
        if not said:
            raise MlflowException("503: the server is restarting")
        return whole(client, *arguments)

    monkeypatch.setattr(MlflowClient, "finalize_logged_model", fails_once)
    with LiveMlflow(invented.study, invented.runs, store, said.append, BEAT) as live:
        live.notify(invented.planned())
        for event in invented.trains(invented.cells[0]):
            live.notify(event)
        wait_until(lambda: said)
    run = shown(store)["film · seed 0"]
    (model,) = MlflowClient(tracking_uri=store.uri).search_logged_models([run.info.experiment_id])
    assert (model.source_run_id, model.status) == (run.info.run_id, "READY")
    assert store.artifacts is not None
    assert len(list(store.artifacts.rglob("model.safetensors"))) == 1
    assert len(list(store.artifacts.rglob("samples.parquet"))) == 1


def test_the_run_does_not_wait_for_a_server_that_hangs(
    invented: InventedRun, store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()

    whole = TrackingStore.open

    def opened(self: TrackingStore) -> AbstractContextManager[Any]:
        hangs.wait(60)
        return whole(self)

    monkeypatch.setattr("fusion_bench.reporting.mlflow_.live._PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(TrackingStore, "open", opened)
    with LiveMlflow(invented.study, invented.runs, store, pytest.fail, BEAT) as live:
        live.notify(invented.planned())
        for cell in invented.cells:
            for event in invented.trains(cell):
                live.notify(event)
    assert live._thread.is_alive(), "it was left alone"
    hangs.set()
    live._thread.join()
    assert shown(store) == {}, "the runs are written by what follows, and by nothing else"


def test_a_thread_that_asks_a_server_leaves_the_environment_alone(
    invented: InventedRun, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that comes and goes would end a copy of the environment for a new worker with an error."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    server = TrackingStore(f"sqlite:///{shutil.copy(empty_database, tmp_path / 'asked.db')}")
    before = dict(os.environ)
    with LiveMlflow(invented.study, invented.runs, server, pytest.fail):
        during = dict(os.environ)
        with server.open():
            assert dict(os.environ) == during
        assert dict(os.environ) == during
    assert {*during} - {*before} == {
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        "MLFLOW_HTTP_REQUEST_TIMEOUT",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
    }
    assert dict(os.environ) == before


def test_a_run_that_trains_nothing_opens_no_store(
    invented: InventedRun, store: TrackingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrackingStore, "open", None)
    for cell in invented.cells:
        invented.finish(cell)
    with LiveMlflow(invented.study, invented.runs, store, pytest.fail, BEAT) as live:
        live.notify(replace(invented.planned()))
    assert live._thread.ident is None

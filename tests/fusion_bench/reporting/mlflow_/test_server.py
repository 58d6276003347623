"""A real MLflow server over PostgreSQL that is stopped, hangs and comes back while a study runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient

from fusion_bench.reporting.mlflow_.live import LiveMlflow
from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import sync_study
from invented_cells import EPOCHS, InventedRun
from postgres_server import PostgresServer, postgres_server

pytestmark = pytest.mark.slow


def wait_until(true: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    with postgres_server() as found:
        yield found


@pytest.fixture
def server(database: PostgresServer, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server; ``args[-1]`` is its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = database.address.replace("postgresql://", "postgresql+psycopg://", 1)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--workers", "1"]
    command += ["--artifacts-destination", (tmp_path / "artifacts").as_uri(), "--port", str(port)]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **settings}, start_new_session=True
        )
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                with urlopen(f"{address}/health", timeout=5):  # noqa: S310
                    return True
            except (URLError, OSError):
                assert process.poll() is None
                return False

        try:
            wait_until(answers)
            process.args = [*command, address]
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def histories(uri: str) -> dict[str, tuple[str, list[int], list[str]]]:
    """Status, epochs and files of every cell, by the name of its run."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("eight")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'cell'")
    assert len({run.info.run_name for run in runs}) == len(runs), "nothing is doubled"
    return {
        str(run.info.run_name): (
            run.info.status,
            sorted(p.step for p in client.get_metric_history(run.info.run_id, "curve/select_accuracy")),
            sorted(item.path for item in client.list_artifacts(run.info.run_id)),
        )
        for run in runs
    }


def test_nothing_is_lost_or_doubled_by_a_server_that_is_stopped_and_hangs_in_mid_study(
    tmp_path: Path,
    database: PostgresServer,
    server: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = str(server.args[-1])  # type: ignore[index]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setattr("fusion_bench.reporting.mlflow_.store._SECONDS_TO_CONNECT", 1.0)
    monkeypatch.setattr("fusion_bench.reporting.mlflow_.live._MOST_SECONDS_BETWEEN", 0.5)
    invented, store, said = InventedRun.in_folder(tmp_path, tmp_path), TrackingStore.of(tmp_path), list[str]()
    cells = list(invented.cells)

    def train(number: int) -> None:
        for cell in cells[:number]:
            for event in invented.trains(cell):
                live.notify(event)
        del cells[:number]

    with LiveMlflow(invented.study, invented.runs, store, said.append, beat=0.2) as live:
        live.notify(invented.planned())
        train(2)
        wait_until(lambda: MlflowClient(uri).get_experiment_by_name("eight") and len(histories(uri)) == 2)
        database.stop()
        train(2)
        wait_until(lambda: said)
        database.start()
        train(1)
        wait_until(lambda: len(histories(uri)) == 5)
        before = len(said)
        os.killpg(server.pid, signal.SIGSTOP)
        train(2)
        wait_until(lambda: len(said) > before)
        os.killpg(server.pid, signal.SIGCONT)
        train(1)
    whole = ("FINISHED", list(range(1, EPOCHS + 1)), ["config.json", "provenance.json", "samples.parquet"])
    assert list(histories(uri).values()) == [whole] * 8
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("eight").experiment_id
    (model,) = client.search_logged_models([experiment])
    assert [item.path for item in client.list_logged_model_artifacts(model.model_id)] == ["model.safetensors"]
    assert all("the study goes on" in text for text in said)
    first = sync_study(invented.results(), None, store, runs=invented.runs)
    assert (first.created, first.removed) == (0, 0)
    assert list(histories(uri).values()) == [whole] * 8

"""Fixtures: the command line, and runs folders that share data and cached maps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import CommandLine, command_line, environment
from few_processes import share_workers
from fusion_bench.reporting.mlflow_.store import TrackingStore


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Run a command in this process; its workers find the toys."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)  # it would outlive the test
    # No test here reads a latency or is about the isolation of modules.
    share_workers(monkeypatch)
    return command_line(capsys)


@pytest.fixture(scope="session")
def fresh_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes runs folders whose data and cached maps are shared, with an empty MLflow database."""
    first = tmp_path_factory.mktemp("first")
    (first / "cache").mkdir()

    def make() -> Path:
        runs = tmp_path_factory.mktemp("runs")
        (runs / "cache").symlink_to(first / "cache")
        if not (first / "mlflow.db").exists():
            with TrackingStore.of(first).open():  # making the tables takes seconds
                pass
        shutil.copy(first / "mlflow.db", runs)
        return runs

    return make


@pytest.fixture
def runs(fresh_runs: Callable[[], Path]) -> Path:
    """A runs folder without cells."""
    return fresh_runs()

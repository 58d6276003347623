"""An empty MLflow database, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fusion_bench.reporting.mlflow_.store import TrackingStore
from fusion_bench.reporting.mlflow_.sync import destinations


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them; making one takes seconds, copying it nothing."""
    folder = tmp_path_factory.mktemp("mlflow")
    store = TrackingStore(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder / "mlflow.db")
    assert destinations(store) == ()
    return folder / "mlflow.db"


@pytest.fixture
def store(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackingStore:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return TrackingStore.of(tmp_path)

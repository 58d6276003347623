"""Files of runs stay in the folder of artifacts, whatever a database says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.artifacts import ArtifactFiles
from fusion_bench.reporting.mlflow_.store import TrackingStore


@pytest.mark.parametrize(
    "address",
    [
        "mlflow-artifacts:/../../other/artifacts",
        "mlflow-artifacts:/a/../../../other/x",
        "mlflow-artifacts:/a",
    ],
)
def test_an_address_that_leads_elsewhere_is_refused(address: str, tmp_path: Path) -> None:
    runs, other = tmp_path / "runs", tmp_path / "other" / "artifacts"
    other.mkdir(parents=True)
    (other / "kept.txt").write_text("not ours")
    store = TrackingStore("sqlite://", runs / "artifacts", runs / "mlflow.db")
    client: Any = SimpleNamespace(get_run=lambda run: SimpleNamespace(outputs=None))
    files = ArtifactFiles(client, store)
    with pytest.raises(FusionBenchError, match="which it is not"):
        files.remove("run", address)
    with pytest.raises(FusionBenchError, match="which it is not"):
        files.put_text("run", address, "kept.txt", "changed")
    assert (other / "kept.txt").read_text() == "not ours"


def test_a_run_is_removed_with_its_folder_alone(tmp_path: Path) -> None:
    store = TrackingStore("sqlite://", tmp_path / "artifacts", tmp_path / "mlflow.db")
    client: Any = SimpleNamespace(get_run=lambda run: SimpleNamespace(outputs=None))
    files = ArtifactFiles(client, store)
    for run in ("one", "two"):
        files.put_text(run, f"mlflow-artifacts:/study/{run}/artifacts", "report/note.txt", run)
    files.remove("one", "mlflow-artifacts:/study/one/artifacts")
    assert [path.read_text() for path in tmp_path.rglob("note.txt")] == ["two"]

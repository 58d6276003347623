"""The MLflow store: its database lies in the runs folder whatever its name, and a wrong address is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.mlflow_.store import TrackingStore


@pytest.mark.parametrize(
    "name",
    [
        "my runs",
        "100%",
        "a%20b",
        "runs #2",
        "why?",
        "why?a=b&c=d",
        "Läufe 実験 \N{GRINNING FACE}",
        "me@host:80",
        "[x];\"'",
        "back\\slash",
        "plus+",
    ],
)
def test_the_database_lies_in_the_runs_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = tmp_path / name
    runs.mkdir()
    store = TrackingStore.of(runs)
    engine = create_engine(store.uri)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE found (x INTEGER)")
    engine.dispose()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db*")] == [Path(name) / "mlflow.db"]
    assert store.database == runs / "mlflow.db"
    store.check()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("http://me:secret@127.0.0.1:99999", "Port out of range"),
        ("https://me:secret@lab.example:five", "Port could not be cast"),
        ("http://[::1", "which is no address"),
        ("http://", "which names no host"),
        (
            "postgresql+psycopg2://me:secret@127.0.0.1/db",
            "the package psycopg2 that it needs is not installed",
        ),
        ("mysql+pymysql://me:secret@127.0.0.1/db", "the package pymysql that it needs is not installed"),
        ("sqlite+nodriver:///x.db", "which is no address of a database"),
        ("postgresql://me:secret@127.0.0.1:port/db", "Port could not be cast"),
        ("htp://me:secret@127.0.0.1", "unsupported URI 'htp://127.0.0.1'"),
        ("http://me:secret@127.0.0.1:{closed}", "cannot be reached"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_sentence_without_its_password(
    uri: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(closed=closed_port()))
    with pytest.raises(FusionBenchError) as refused:
        TrackingStore.of(tmp_path).check()
    said = str(refused.value)
    assert problem in said
    assert "\n" not in said
    assert "secret" not in said


def test_a_damaged_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_text("no database, but a text that is longer than the head of one" * 3)
    with pytest.raises(FusionBenchError, match="is not a database that can be read"):
        TrackingStore.of(tmp_path).check()

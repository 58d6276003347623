"""The MLflow store that shows a study; it is opened without telemetry and by one writer at a time."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SECONDS_TO_CONNECT: Final = 5.0


@dataclass(frozen=True)
class TrackingStore:
    """An MLflow tracking store.

    Attributes:
        uri: the tracking URI.
        artifacts: the folder of the artifacts; None if the store chooses it.
        database: the SQLite file of a store that fusion-bench keeps; None for any other store.
    """

    uri: str
    artifacts: Path | None = None
    database: Path | None = None

    @classmethod
    def of(cls, runs: Path) -> TrackingStore:
        """Return the store of MLFLOW_TRACKING_URI; if it is not set, ``mlflow.db`` and ``artifacts/`` in ``runs``."""
        if uri := os.environ.get("MLFLOW_TRACKING_URI"):
            return cls(uri)
        # Absolute paths: MLflow stores these addresses and reads them from any working directory.
        database = runs.resolve() / "mlflow.db"
        return cls(f"sqlite:///{quote(str(database))}", runs.resolve() / "artifacts", database)

    def artifacts_of(self, study: str) -> str | None:
        """Return the URI of the artifacts of a study; None if the store chooses it."""
        return None if self.artifacts is None else (self.artifacts / quote(study, safe="")).as_uri()

    @contextmanager
    def open(self) -> Iterator[MlflowClient]:
        """Yield a client; only one process at a time opens a database that fusion-bench keeps.

        Raises:
            FusionBenchError: the store cannot be reached or is damaged, or MLflow reports an error.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # mlflow reads it when it is imported
        self._check_server()
        self._check_database()
        # These imports take seconds and must follow the setting of the environment.
        from mlflow import MlflowClient  # noqa: PLC0415
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        for logger in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        try:
            if self.database is None:
                yield MlflowClient(tracking_uri=self.uri)
            else:
                with lock(self.database.with_suffix(".lock"), wait=True):
                    yield MlflowClient(tracking_uri=self.uri)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise FusionBenchError(f"MLflow at {_without_password(self.uri)}: {error}") from error

    def _check_database(self) -> None:
        """Raise at once for a damaged file; MLflow itself retries for minutes."""
        if self.database is None or not self.database.exists():
            return
        try:
            with closing(sqlite3.connect(self.database)) as connection:
                connection.execute("PRAGMA schema_version")
        except sqlite3.Error as error:
            raise FusionBenchError(
                f"{self.database} is not a database that can be read ({error}): delete it; "
                "its content is rebuilt from the cells"
            ) from error

    def _check_server(self) -> None:
        """Raise within seconds if the server cannot be reached; the client of MLflow retries for minutes."""
        parts = urlsplit(self.uri)
        if parts.scheme not in {"http", "https"}:
            return
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        try:
            socket.create_connection((parts.hostname or "", port), _SECONDS_TO_CONNECT).close()
        except OSError as error:
            raise FusionBenchError(
                f"MLFLOW_TRACKING_URI is {_without_password(self.uri)}, which cannot be reached ({error}): "
                "start that server, or unset the variable to use the database in the runs folder"
            ) from error


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"

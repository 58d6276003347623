"""The MLflow store that shows a study; it is opened without telemetry and by one writer at a time."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import lock
from fusion_bench.study.plan import file_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SECONDS_TO_CONNECT: Final = 5.0
_QUIET: Final = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
# MLflow's client would wait 120 s for an answer, and try eight times over several minutes.
_PATIENCE: Final = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_SERVER_PORTS: Final = {"http": 80, "https": 443}
_DATABASES: Final = frozenset({"mssql", "mysql", "postgresql", "sqlite"})


class StoreUnreachable(FusionBenchError):  # noqa: N818 - a state, not an error
    """The address of a store is right, but nothing answers there now."""


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
        return cls(_sqlite_uri(database), runs.resolve() / "artifacts", database)

    def artifacts_of(self, experiment: str) -> str | None:
        """Return the URI of the artifacts of an experiment, below that of a server; None if the store chooses it.

        It names no folder of this machine, so that a copied runs folder keeps its artifacts.
        """
        return None if self.artifacts is None else f"mlflow-artifacts:/{file_name(experiment)}"

    def version(self) -> str:
        """Return the version of the MLflow that serves the pages: the server's, or the one that is installed."""
        from mlflow import __version__ as own  # noqa: PLC0415 - takes seconds

        if urlsplit(self.uri).scheme in _SERVER_PORTS:
            try:
                return self._answer("/version") or str(own)
            except OSError:
                return str(own)
        return str(own)

    def check(self) -> None:
        """Raise an error if nothing can be written here later; asked before hours of training.

        A store that MLFLOW_TRACKING_URI names is opened and asked for one experiment. The database that fusion-bench
        keeps is only looked at.

        Raises:
            StoreUnreachable: nothing answers now; it may later.
            FusionBenchError: see `open`.
        """
        if self.database is not None:
            self._check_database()
            return
        with self.open() as client:
            client.search_experiments(max_results=1)

    @contextmanager
    def briefly_patient(self) -> Iterator[None]:
        """Set for the length of a block what `open` sets in the environment, which then changes nothing there.

        A thread that opens the store needs it: a variable that disappears while another thread copies the
        environment for a new process ends that copy with an error.
        """
        with nullcontext() if self.database is not None else _set_unless_set({**_PATIENCE, **_QUIET}):
            yield

    @contextmanager
    def open(self) -> Iterator[MlflowClient]:
        """Yield a client; only one process at a time opens a database that fusion-bench keeps.

        Raises:
            FusionBenchError: the store has no valid address, cannot be reached, needs a package that is not
                installed, or is damaged, or MLflow reports an error.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # mlflow reads it when it is imported
        self._check_address()
        self._check_database()
        # These imports take seconds and must follow the setting of the environment.
        from mlflow import MlflowClient  # noqa: PLC0415
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        for logger in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        try:
            alone: AbstractContextManager[object] = nullcontext()
            if self.database is not None:
                alone = lock(self.database.with_suffix(".lock"), wait=True)
            with self.briefly_patient(), alone:
                yield MlflowClient(tracking_uri=self.uri)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            shown = _without_password(self.uri)
            said = " ".join(str(error).replace(self.uri, shown).split())
            raise FusionBenchError(f"MLflow at {shown}: {said}") from error

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

    def _check_address(self) -> None:
        """Raise within seconds if the store cannot be reached; the client of MLflow retries for minutes."""
        if self.database is not None:
            return
        try:
            parts = urlsplit(self.uri)
            port = parts.port
        except ValueError as error:
            raise self._refusal(f"which is no address ({error})") from error
        dialect = parts.scheme.partition("+")[0]
        if dialect in _DATABASES:
            self._check_driver()
        elif parts.scheme in _SERVER_PORTS:
            port = _SERVER_PORTS[parts.scheme] if port is None else port
            if not parts.hostname:
                raise self._refusal("which names no host")
        try:
            if parts.scheme in _SERVER_PORTS:
                self._answer("/health")
            elif parts.hostname and port is not None:
                socket.create_connection((parts.hostname, port), _SECONDS_TO_CONNECT).close()
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            problem = f"which cannot be reached ({reason})"
            raise StoreUnreachable(self._sentence(problem, "start that server")) from error

    def _answer(self, path: str) -> str:
        """Return what the server says at a path; any answer tells that it is there, also one that wants a password.

        Raises:
            OSError: it does not answer within seconds.
        """
        request = Request(f"{_without_password(self.uri).rstrip('/')}{path}")  # noqa: S310 - http or https
        try:
            with urlopen(request, timeout=_SECONDS_TO_CONNECT) as answer:  # noqa: S310 - http or https
                found: bytes = answer.read(100)
        except HTTPError:
            return ""
        except HTTPException as error:
            raise OSError(str(error) or type(error).__name__) from error
        return found.decode("ascii", "replace").strip()

    def _check_driver(self) -> None:
        """Raise if the package that speaks to the database is not installed."""
        from sqlalchemy.engine import make_url  # noqa: PLC0415 - takes a moment
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        try:
            make_url(self.uri).get_dialect().import_dbapi()
        except ImportError as error:
            raise self._refusal(
                f"and the package {error.name} that it needs is not installed", f"install {error.name}"
            ) from error
        except (SQLAlchemyError, ValueError) as error:
            raise self._refusal(f"which is no address of a database ({error})") from error

    def _refusal(self, problem: str, remedy: str = "correct it") -> FusionBenchError:
        return FusionBenchError(self._sentence(problem, remedy))

    def _sentence(self, problem: str, remedy: str) -> str:
        return (
            f"MLFLOW_TRACKING_URI is {_without_password(self.uri)}, {problem}: "
            f"{remedy}, or unset the variable to use the database in the runs folder"
        )


@contextmanager
def _set_unless_set(values: dict[str, str]) -> Iterator[None]:
    """Set variables that MLflow reads from the environment: how long it waits, and that it prints no addresses.

    It would print two for each run, with the password that the URI may have.
    """
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _sqlite_uri(file: Path) -> str:
    """Return the URI by which SQLAlchemy opens exactly this file, whatever signs its path has."""
    from sqlalchemy.engine import URL, make_url  # noqa: PLC0415 - takes a moment

    uri = URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
    if make_url(uri).database == str(file):
        return uri
    # SQLAlchemy 2.0 reads what follows a question mark as options. SQLite's own addresses can escape that sign.
    address = file.as_uri().replace("file://", "file:", 1)
    return URL.create("sqlite", database=address, query={"uri": "true"}).render_as_string(hide_password=False)


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"

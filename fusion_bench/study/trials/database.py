"""The database of ``--storage``: checked before anything is trained, and shown without user and password."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from fusion_bench.errors import FusionBenchError

_CONNECT_SECONDS = 5
_EXAMPLES = "postgresql://USER@HOST/DATABASE or sqlite:///FILE.db"
_HIDDEN = "***"


@dataclass(frozen=True)
class Database:
    """A database that Optuna can write to.

    Attributes:
        url: its address, with the password if there is one; no message shows it.
        shown: the address without user, password and options.
    """

    url: URL = field(repr=False)
    shown: str

    def open(self) -> RDBStorage:
        """Return Optuna's storage in the database; raises what SQLAlchemy or its driver raises.

        A server that does not answer is given up after a few seconds.
        """
        seconds = {"sqlite": "timeout", "postgresql": "connect_timeout", "mysql": "connect_timeout"}
        name = seconds.get(self.url.get_backend_name())
        options: dict[str, Any] = {"pool_pre_ping": True}
        if name is not None and name not in self.url.query:
            options["connect_args"] = {name: _CONNECT_SECONDS}
        return RDBStorage(self.url.render_as_string(hide_password=False), engine_kwargs=options)

    def without_secrets(self, text: str) -> str:
        """Return a text, such as a message of the driver, without the parts of the address that are secret."""
        whole = self.url.render_as_string(hide_password=False)
        secrets = [self.url.password, *(value for key, value in self.url.query.items() if "pass" in key)]
        text = text.replace(whole, self.shown)
        for secret in secrets:
            text = text.replace(str(secret), _HIDDEN) if secret else text
        return text


def database_of(address: str) -> Database:
    """Return the database with an address of SQLAlchemy; it is not connected to.

    A ``postgresql://`` address without a driver uses psycopg where that is installed.

    Raises:
        FusionBenchError: it is no address, or its driver is not installed.
    """
    try:
        url = make_url(address)
        if url.drivername == "postgresql" and find_spec("psycopg") is not None:
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The address itself may hold a password, so it is not quoted.
        raise FusionBenchError(
            f"--storage is not the address of a database; write it as {_EXAMPLES}"
        ) from error
    except ModuleNotFoundError as error:
        install = (
            "pip install 'laconv-fusion-bench[postgres]'"
            if url.get_backend_name() == "postgresql"
            else f"pip install {error.name}"
        )
        raise FusionBenchError(
            f"--storage {_shown(url)} needs the package {error.name}, which is not installed; install it with: "
            f"{install}"
        ) from error
    return Database(url, _shown(url))


def _shown(url: URL) -> str:
    return URL.create(url.drivername, None, None, url.host, url.port, url.database).render_as_string()

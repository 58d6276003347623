"""A PostgreSQL server of a test, in a folder of its own, reached by a socket in that folder alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

UNASKED = "open sesame/1"
"""A password that the server does not ask for; a message that shows it is a mistake all the same."""


class PostgresServer:
    """A server that can be stopped and started again; as root it runs as the user ``postgres``."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs
        self._user: dict[str, Any] = (
            {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        )

    @property
    def address(self) -> str:
        return f"postgresql://postgres:{quote(UNASKED, safe='')}@/postgres?host={self._folder}"

    def call(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        with (self._folder / "log").open("ab") as log:  # a pipe would stay open in the server
            subprocess.run(
                command, check=True, stdout=log, stderr=log, timeout=60, cwd=self._folder, **self._user
            )

    def start(self) -> None:
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        self.call("pg_ctl", "-w", "-D", str(self._folder / "data"), "-o", options, "start")

    def stop(self) -> None:
        self.call("pg_ctl", "-w", "-m", "immediate", "-D", str(self._folder / "data"), "stop")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server, and stop it at the end; skip the test where PostgreSQL is not installed."""
    pytest.importorskip("psycopg", reason="psycopg, of the extra postgres, is not installed")
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found is None and not versions:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    folder = Path(
        tempfile.mkdtemp(prefix="pg")
    )  # a socket needs a short path, and its user the right to read it
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = PostgresServer(folder, (versions[-1] if versions else Path(str(found))).parent)
    try:
        encoding = ("--encoding=UTF8", "--locale=C", "--no-sync")
        server.call("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", *encoding)
        server.start()
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder)

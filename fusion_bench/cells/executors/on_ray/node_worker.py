"""The actor of a worker: it starts the worker program on its node and passes on what the program writes.

Ray imports this file on every node. It imports neither torch nor pandas, which only the worker program needs.
"""

from __future__ import annotations

import os
import queue
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.cells.executors.on_ray.parcel import Parcel, differing, packed, unpack
from fusion_bench.cells.executors.program import Command, LocalProgram, worker_environment
from fusion_bench.lease import Lease, LeaseHeld
from fusion_bench.storage import digest

WEIGHTS_VARIABLE = "FUSION_BENCH_WEIGHTS"
"""The environment variable of a node with the folder of its weight files, each named by its SHA-256."""
_DATA_VARIABLES = "FUSION_BENCH_DATA_"
_KEPT = "checkpoint"
_SECONDS_TO_HEAR = 1.0
_LINES_AT_ONCE = 200


@dataclass(frozen=True)
class NodeLaunch:
    """The input of a node that starts a worker program.

    Attributes:
        arguments: the command line on the coordinator's host.
        threads: torch's threads.
        runs: the coordinator's runs folder.
        host: the name of the coordinator's host.
        probe: a file in that folder; a node that finds it shares the folder.
        log: the file of the log; on a node that does not share the folder, only its name counts.
        node_runs: the runs folder of a node that does not share the coordinator's; empty: in the user's cache.
        folder: the coordinator's current folder.
        python_path: its ``PYTHONPATH``.
        data: its environment variables with folders of data sets.
        limits_memory: whether the memory of the program is asked for.
    """

    arguments: Sequence[str]
    threads: int
    runs: Path
    host: str
    probe: Path
    log: Path
    node_runs: str
    folder: Path
    python_path: str
    data: Mapping[str, str]
    limits_memory: bool

    @classmethod
    def data_variables(cls) -> dict[str, str]:
        """Return the environment variables of this process with folders of data sets."""
        return {name: value for name, value in os.environ.items() if name.startswith(_DATA_VARIABLES)}


@dataclass(frozen=True)
class Place:
    """The place of a worker program.

    Attributes:
        host: the name of the node's host.
        shared: whether it sees the coordinator's runs folder.
        log: the file of its log.
    """

    host: str
    shared: bool
    log: Path


@dataclass(frozen=True)
class HeardLines:
    """The output of a program since it was last asked, and its state.

    Attributes:
        lines: its lines.
        over: True if its output has ended.
        alive: False once it is known to have ended.
        memory: bytes of its memory; 0 unless asked for.
    """

    lines: tuple[bytes, ...]
    over: bool
    alive: bool
    memory: int


@dataclass(frozen=True)
class LastWords:
    """How a program ended, as `fusion_bench.cells.executors.program.Program.ending` says, and its log's last line."""

    ending: str
    line: str


class NodeWorker:
    """Starts a worker program where it is made; its methods may be called at the same time.

    Args:
        launch: what to start.
    """

    def __init__(self, launch: NodeLaunch) -> None:
        shared, name = launch.probe.exists(), digest([launch.host, str(launch.runs)])
        self._runs = launch.runs if shared else _own_runs(launch.node_runs, name)
        log = launch.log if shared else self._runs / "logs" / launch.log.name
        self._place = Place(socket.gethostname(), shared, log)
        self._limits_memory = launch.limits_memory
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._program = LocalProgram(command_here(launch, self._runs, shared=shared), log, self._lines.put)

    def place(self) -> Place:
        """Return where the program runs."""
        return self._place

    def write(self, request: bytes) -> None:
        """Send a line to the program."""
        self._program.write(request)

    def hear(self) -> HeardLines:
        """Return the lines that the program has written; wait up to a second for the first."""
        lines: list[bytes | None] = []
        with suppress(queue.Empty):
            lines.append(self._lines.get(timeout=_SECONDS_TO_HEAR))
            while lines[-1] is not None and len(lines) < _LINES_AT_ONCE:
                lines.append(self._lines.get_nowait())
        memory = self._program.memory() if self._limits_memory else 0
        written = tuple(line for line in lines if line is not None)
        return HeardLines(written, None in lines, self._program.alive, memory)

    def terminate(self) -> None:
        """Ask the program to end."""
        self._program.terminate()

    def kill(self) -> None:
        """End the program and whatever it started."""
        self._program.kill()

    def wait(self, seconds: float) -> None:
        """Wait at most so long for the end of the program."""
        self._program.wait(seconds)

    def close(self, grace: float) -> LastWords:
        """End the program, by force after so many seconds, and return how it ended."""
        self._program.close(grace)
        return LastWords(self._program.ending(), self._program.last_line(""))

    def lacks(self, digests: Mapping[str, str]) -> list[str]:
        """Return the names of the files of which this node has no copy of the same content."""
        return differing(self._runs, digests)

    def put(self, parcel: Parcel) -> None:
        """Write files into the runs folder of this node."""
        unpack(parcel, self._runs)

    def clear(self, cell: str) -> bool:
        """Remove what an earlier try of a cell left here, apart from its checkpoint; return False if it is held."""
        folder = self._runs / "cells" / cell
        try:
            with Lease(folder) as lease:
                for path in folder.iterdir():
                    if path.is_file() and path.name != _KEPT and not path.name.startswith("lease."):
                        lease.remove(path)
        except LeaseHeld:
            return False
        return True

    def fetch(self, names: Sequence[str]) -> Parcel:
        """Return those of the files that are here."""
        return packed(self._runs, names)

    def listed(self, folder: str, suffixes: Sequence[str]) -> dict[str, str]:
        """Return the digests of the files of a folder by name."""
        files = [path for path in (self._runs / folder).glob("*") if path.suffix in suffixes]
        return {
            name: file.sha256
            for name, file in packed(self._runs, [f"{folder}/{path.name}" for path in files]).items()
        }

    def discard(self, cell: str) -> None:
        """Remove a cell from this node."""
        shutil.rmtree(self._runs / "cells" / cell, ignore_errors=True)


def _own_runs(asked: str, name: str) -> Path:
    """Return the runs folder of this node for one coordinator; all of them share their caches.

    The folder is kept, so that a cell may go on from the checkpoint that an earlier try left on this node.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(asked).expanduser() if asked else cache / "fusion-bench"
    runs, shared = root / "runs" / name, root / "cache"
    shared.mkdir(parents=True, exist_ok=True)
    runs.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (runs / "cache").symlink_to(shared.resolve(), target_is_directory=True)
    return runs.resolve()


def command_here(launch: NodeLaunch, runs: Path, *, shared: bool) -> Command:
    """Return how the worker program is started on this node.

    A folder of data and a file of weights are the coordinator's where they exist here. Else the environment of this
    node names them: ``FUSION_BENCH_DATA_<NAME>``, and ``FUSION_BENCH_WEIGHTS`` for a folder whose files have their
    SHA-256 for a name.
    """
    arguments, given = [sys.executable], list(launch.arguments[1:])
    while given:
        argument = given.pop(0)
        if argument == "--runs":
            arguments += [argument, str(runs)]
            given.pop(0)
        elif argument in {"--data", "--weights"}:
            name, _, path = given.pop(0).partition("=")
            found = Path(path) if Path(path).exists() else _weights_here(argument, name)
            if found is not None:
                arguments += [argument, f"{name}={found}"]
        else:
            arguments.append(argument)
    environment = worker_environment(launch.threads)
    environment |= {name: path for name, path in launch.data.items() if Path(path).exists()}
    if not shared:
        return Command(arguments, environment)
    paths = [path for path in (launch.python_path, environment.get("PYTHONPATH", "")) if path]
    folder = launch.folder if launch.folder.is_dir() else None
    return Command(arguments, {**environment, "PYTHONPATH": os.pathsep.join(paths)}, folder)


def _weights_here(argument: str, sha256: str) -> Path | None:
    folder = os.environ.get(WEIGHTS_VARIABLE)
    if argument != "--weights" or not folder:
        return None
    return next(iter(sorted(Path(folder).expanduser().glob(f"{sha256}*"))), None)

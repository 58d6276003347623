"""The messages between a coordinator and its pilots, as files of a folder that all of them see.

``list.json`` holds what is to be done now; the coordinator replaces it as a whole. Each pilot appends what happens to
a file of its own in ``events/``. Whether a cell has ended is never judged by these files: its folder decides.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from fusion_bench.cells.events import WorkerEvent, event_line, parse_event
from fusion_bench.errors import FusionBenchError
from fusion_bench.serialisation import from_json, to_json
from fusion_bench.storage import read_json, write_json

_ENDED = "PilotEnded "


@dataclass(frozen=True)
class WorkList:
    """The task of the pilots now.

    Attributes:
        session: names the run of the coordinator that wrote it.
        number: counts the lists of a session.
        kind: ``cell``: train these cells; ``prepare`` and ``measure``: one pilot does it for all of them; ``over``:
            nothing, and nothing will follow.
        cells: the ids of the cells.
        seeds: the seeds of cells that may take as long as these.
    """

    session: str
    number: int
    kind: Literal["prepare", "cell", "measure", "over"]
    cells: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """A name that no other list has."""
        return f"{self.session}-{self.number}"


@dataclass(frozen=True)
class PilotEnded:
    """A pilot has ended.

    Attributes:
        reason: why, with its host.
        fault: True if it could not go on, although something is left to do and time to do it.
    """

    reason: str
    fault: bool = False


Message: TypeAlias = WorkerEvent | PilotEnded


@dataclass(frozen=True)
class WorkFolder:
    """The folder that a coordinator and its pilots share."""

    path: Path

    @property
    def logs(self) -> Path:
        """The folder of what pilots and submitit print."""
        return self.path / "pilots"

    @property
    def alone(self) -> Path:
        """The folder whose lease a pilot holds that prepares or measures."""
        return self.path / "alone"

    @property
    def events(self) -> Path:
        """The folder of the pilots' events."""
        return self.path / "events"

    def write(self, work: WorkList) -> None:
        """Replace what is to be done."""
        write_json(self.path / "list.json", to_json(work))

    def read(self) -> WorkList | None:
        """Return what is to be done; None if nothing is, or the file cannot be read right now."""
        with suppress(FusionBenchError, OSError):
            return from_json(WorkList, read_json(self.path / "list.json"), "list.json")
        return None

    def mark_served(self, work: WorkList) -> None:
        """Take note that a list that one pilot serves has been served."""
        write_json(self.alone / "served.json", work.name)

    def is_served(self, work: WorkList) -> bool:
        """Return True if `mark_served` was called for the list, and for none after it."""
        with suppress(FusionBenchError, OSError):
            return bool(read_json(self.alone / "served.json") == work.name)
        return False


class EventWriter:
    """Appends the events of one pilot to its file; a disk that is full or gone costs the events alone.

    Args:
        folder: what pilot and coordinator share.
        pilot: the beginning of the file's name.
    """

    def __init__(self, folder: WorkFolder, pilot: str) -> None:
        self._file = folder.events / f"{pilot}-{secrets.token_hex(4)}"

    def write(self, message: Message, work: WorkList | None = None) -> None:
        """Append what has happened with a list, as one line."""
        line = _line(message)
        name = "" if work is None else work.name
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                os.write(file, f"{name}\t{line}\n".encode("utf-8", "backslashreplace"))
            finally:
                os.close(file)


@dataclass(eq=False)
class EventReader:
    """Reads what pilots have appended since the last time; what is there already is left out.

    Attributes:
        folder: what pilots and coordinator share.
    """

    folder: WorkFolder
    _read: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read.update((path, size) for path, size in self._files())

    def new(self) -> Iterator[tuple[str, Message]]:
        """Yield the name of the list and the message of every new line; what is no message is left out."""
        for path, size in list(self._files()):
            begin = self._read.get(path, 0)
            if size <= begin:
                continue
            with Path(path).open("rb") as file:
                file.seek(begin)
                text = file.read(size - begin)
            whole = text[: text.rfind(b"\n") + 1]
            self._read[path] = begin + len(whole)
            for line in whole.decode("utf-8", "replace").split("\n")[:-1]:
                name, _, rest = line.partition("\t")
                with suppress(FusionBenchError):
                    yield name, _parsed(rest)

    def _files(self) -> Iterator[tuple[str, int]]:
        with suppress(FileNotFoundError), os.scandir(self.folder.events) as entries:
            for entry in entries:
                yield entry.path, entry.stat().st_size


def _line(message: Message) -> str:
    if isinstance(message, PilotEnded):
        return _ENDED + json.dumps(to_json(message))
    return event_line(message)


def _parsed(line: str) -> Message:
    if not line.startswith(_ENDED):
        return parse_event(line)
    try:
        return from_json(PilotEnded, json.loads(line.removeprefix(_ENDED)), "PilotEnded")
    except ValueError as error:
        raise FusionBenchError(f"a pilot wrote a line that is no event: {line[:200]!r}") from error

"""Carries cells between the coordinator and a node of a Ray cluster that does not share its runs folder.

To the node go the configuration of a cell, the weights of the cell that it starts from, and pretext weights. Back
come the files of the finished cell, or the record of its failure. The coordinator holds the cell all the while.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from fusion_bench.cells.check_outcome import check_outcome
from fusion_bench.cells.current_inputs import CurrentInputs, changed_inputs
from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellPrepared,
    CellStarted,
    WorkerEvent,
    event_line,
    parse_event,
)
from fusion_bench.cells.executors.on_ray.parcel import Parcel, packed, unpack
from fusion_bench.cells.executors.worker_process import request_line
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import CELL_FILES, CellFolder, cell_folder
from fusion_bench.cells.held_cell import HeldCell, held
from fusion_bench.cells.result import Provenance
from fusion_bench.cells.warm_start import source_folder
from fusion_bench.errors import FusionBenchError, reason_of
from fusion_bench.lease import LeaseHeld, LeaseLost
from fusion_bench.serialisation import from_json
from fusion_bench.storage import file_digest
from fusion_bench.training.cell_data import cell_data_key
from fusion_bench.training.config import CellConfig
from fusion_bench.training.paths import RunPaths

_WEIGHTS, _WEIGHT_FILES = "cache/weights", (".safetensors", ".pictures", ".json")
_SECONDS_BUSY = 1.0
_SECONDS_TO_DISCARD = 60.0
ARRIVED = ".arrived-"
"""The names of folders in a runs folder begin so in which files of finished cells are checked."""


class OwnInputs:
    """The inputs that cells would read on the coordinator's host, for several threads; see `CurrentInputs`."""

    def __init__(self, paths: RunPaths) -> None:
        self._inputs, self._lock = CurrentInputs(paths), threading.Lock()

    def difference(self, config: CellConfig, there: Provenance, host: str) -> str:
        """Return a sentence on what a cell reads elsewhere that is not what it would read here; empty if nothing."""
        with self._lock:
            changed = changed_inputs(there, self._inputs.of(config))
        if not changed:
            return ""
        return (
            f"the host {host} has not what this one has: {', '.join(changed)} differ, so its results would not be "
            "those of this study; give it the same files and the same commit of fusion-bench"
        )


class Carrier:
    """Carries the cells of one worker program; see the module.

    Its lines are those of a worker that shares the folder: one `CellStarted`, then the end of the request.

    Args:
        paths: where runs, data and weights lie here.
        inputs: what cells would read here.
    """

    def __init__(self, paths: RunPaths, inputs: OwnInputs) -> None:
        self._paths, self._inputs = paths, inputs
        self._prepared: set[str] = set()
        self._preparing = self._begun = False
        self._cell: HeldCell | None = None
        self._hold, self._lock = ExitStack(), threading.Lock()
        self._host = ""

    def send(self, request: bytes, actor: Any, host: str) -> Sequence[bytes]:
        """Send a request, and before it what the cell needs; return lines to pass on if that ends it already.

        Raises:
            FusionBenchError: the cell that it starts from is not here, or something arrived damaged.
            OSError: a file here cannot be read or written.
        """
        self._host, ((kind, cell),) = host, json.loads(request).items()
        folder = cell_folder(self._paths.runs, cell)
        if kind == "cell":
            try:
                self._cell = self._hold.enter_context(held(folder))
            except LeaseHeld:
                return _lines(CellStarted(cell), CellBusy(cell))
            if folder.done:
                self.let_go()
                result = folder.result()
                return _lines(CellStarted(cell), CellFinished(cell, result.metrics, result.selection))
        if not ray.get(actor.clear.remote(cell)):
            self.let_go()
            time.sleep(_SECONDS_BUSY)  # an earlier worker of that node ends soon
            return _lines(CellStarted(cell), CellBusy(cell))
        config = folder.config()
        self._put(config, actor)
        self._begun = False
        self._preparing = kind == "cell" and cell_data_key(config) not in self._prepared
        actor.write.remote(request_line("prepare", cell) if self._preparing else request)
        return ()

    def failed(self, request: bytes, reason: str) -> Sequence[bytes]:
        """Return the lines of a request that could not be sent; the cell fails for this reason."""
        ((_, cell),) = json.loads(request).items()
        return _lines(CellStarted(cell), self._failure(cell, Failure(reason)))

    def receive(self, line: bytes, actor: Any) -> Iterator[bytes]:
        """Return the lines to pass on for a line of the program."""
        try:
            event = parse_event(line.decode("utf-8", "replace"))
        except FusionBenchError:
            yield line
            return
        if isinstance(event, CellStarted):
            if not self._begun:
                yield line
            self._begun = True
        elif isinstance(event, CellPrepared):
            yield from self._take_prepared(event, actor)
        elif isinstance(event, CellFinished):
            yield from _lines(self._take_finished(event, actor))
        elif isinstance(event, CellFailed):
            yield from _lines(self._take_failed(event, actor))
        elif isinstance(event, CellBusy):
            self.let_go()
            time.sleep(_SECONDS_BUSY)
            yield line
        else:
            yield line

    def let_go(self) -> None:
        """Give the cell back that is held."""
        with self._lock:
            self._cell, hold = None, self._hold.pop_all()
        hold.close()

    def _put(self, config: CellConfig, actor: Any) -> None:
        """Bring the files that a cell needs to the node, where it lacks them."""
        runs, names = self._paths.runs, [f"cells/{config.id}/config.json"]
        source = source_folder(config, runs)
        if source is not None:
            names += [f"cells/{source.id}/{name}" for name in CELL_FILES]
        if config.backbone is not None and config.backbone.weights == "pretext":
            found = (runs / _WEIGHTS).glob("*")
            names += [f"{_WEIGHTS}/{path.name}" for path in found if path.suffix in _WEIGHT_FILES]
        digests = {name: file_digest(runs / name) for name in names if (runs / name).is_file()}
        lacking = ray.get(actor.lacks.remote(digests))
        ray.get(actor.put.remote(packed(runs, lacking)))

    def _take_prepared(self, event: CellPrepared, actor: Any) -> Iterator[bytes]:
        """Check what the node has read; go on with the training if this was on the way to it."""
        config = cell_folder(self._paths.runs, event.cell).config()
        if config.backbone is not None and config.backbone.weights == "pretext":
            self._take_weights(actor)
        there = event.provenance
        difference = "" if there is None else self._inputs.difference(config, there, self._host)
        if difference:
            yield from _lines(self._failure(event.cell, Failure(difference)))
            return
        self._prepared.add(cell_data_key(config))
        if self._preparing:
            self._preparing = False
            actor.write.remote(request_line("cell", event.cell))
        else:
            yield from _lines(event)

    def _take_weights(self, actor: Any) -> None:
        """Fetch pretext weights that the node has trained and that are not here, so that all nodes get the same."""
        runs = self._paths.runs
        names = [
            name
            for name in ray.get(actor.listed.remote(_WEIGHTS, _WEIGHT_FILES))
            if not (runs / name).exists()
        ]
        if names:
            unpack(ray.get(actor.fetch.remote(names)), runs)

    def _take_finished(self, event: CellFinished, actor: Any) -> WorkerEvent:
        """Put a finished cell into its folder here, and return how it ended."""
        cell = self._cell
        if cell is None:
            return CellBusy(event.cell)
        try:
            parcel: Parcel = ray.get(
                actor.fetch.remote([f"cells/{event.cell}/{name}" for name in CELL_FILES])
            )
            if reason := self._put_into_place(cell, parcel):
                return self._failure(event.cell, Failure(reason))
        except LeaseLost:
            return CellBusy(event.cell)
        except (FusionBenchError, OSError) as error:
            return self._failure(event.cell, Failure(f"its result from {self._host}: {reason_of(error)}"))
        finally:
            self.let_go()
        with suppress(ray.exceptions.RayError):  # the node is lost, and its copy with it
            # Waited for, because the actor may end with the run before it gets to it.
            ray.get(actor.discard.remote(event.cell), timeout=_SECONDS_TO_DISCARD)
        return event

    def _put_into_place(self, cell: HeldCell, parcel: Parcel) -> str:
        """Check the files of a finished cell and take them; return why they are not those of this study, if so."""
        with TemporaryDirectory(dir=self._paths.runs, prefix=ARRIVED) as aside:
            unpack(parcel, Path(aside))
            arrived = CellFolder(Path(aside) / "cells" / cell.folder.id)
            check_outcome(arrived)
            difference = self._inputs.difference(arrived.config(), arrived.provenance(), self._host)
            if not difference:
                cell.take(arrived)
        return difference

    def _take_failed(self, event: CellFailed, actor: Any) -> CellFailed:
        """Record here the failure that a node has recorded; a preparation that fails fails its cell."""
        failure = Failure(event.reason, kind=event.kind)
        name = f"cells/{event.cell}/failed.json"
        parcel: Parcel = {} if self._preparing else ray.get(actor.fetch.remote([name]))
        if name in parcel:
            failure = from_json(Failure, json.loads(parcel[name].content), name)
        return self._failure(event.cell, failure)

    def _failure(self, name: str, failure: Failure) -> CellFailed:
        """Record a failure if the cell is held here, and return the event that says so."""
        self._preparing = False
        with suppress(LeaseLost):
            if self._cell is not None:
                self._cell.fail(failure)
        self.let_go()
        return CellFailed(name, failure.reason, kind=failure.kind)


def _lines(*events: WorkerEvent) -> tuple[bytes, ...]:
    return tuple(event_line(event).encode() + b"\n" for event in events)

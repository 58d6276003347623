"""A worker: ``python -m fusion_bench.study.worker``; cell ids in, events out, one JSON object a line.

In: ``{"cell": "<id>"}`` or ``{"prepare": "<id>"}``. Out: ``{"event": ..., "cell": ...}`` with ``started``,
``progressed`` (epoch, epochs, quantity, value, seconds_left), ``prepared``, ``finished`` (metrics),
``failed`` (reason), ``busy``. Every executor starts this one program.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.run_cell import Busy, CellDataCache, named_paths, run_cell
from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import read_json
from fusion_bench.training.loop import Progress
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class Event:
    """What a worker says: its kind, the cell, and the event's other fields by name."""

    kind: str
    cell: str
    details: Mapping[str, Any]

    @classmethod
    def parse(cls, line: str) -> Event:
        """Read one line of a worker's output."""
        said = json.loads(line)
        return cls(said.pop("event"), said.pop("cell"), said)


class Worker:
    """Takes requests one at a time and says what happens."""

    def __init__(self, paths: RunPaths, say: Callable[[Event], None], *, keep_weights: bool) -> None:
        self._cache, self._hear, self._keep_weights = CellDataCache(paths), say, keep_weights
        self._runs = paths.runs

    def handle(self, request: Mapping[str, str]) -> None:
        """Serve one request."""
        if "prepare" in request:
            self._prepare(cell_folder(self._runs, request["prepare"]))
        else:
            self._run(cell_folder(self._runs, request["cell"]))

    def _prepare(self, folder: CellFolder) -> None:
        try:
            config = folder.config()
            torch.set_num_threads(config.threads)
            self._cache.cell_data(config)
        except FusionBenchError as error:
            self._say("failed", folder.id, reason=str(error))
            return
        except Exception as error:  # a data set or an encoder of somebody else may raise anything
            self._say("failed", folder.id, reason=f"{type(error).__name__}: {error}")
            return
        self._say("prepared", folder.id)

    def _run(self, folder: CellFolder) -> None:
        self._say("started", folder.id)
        try:
            finished = run_cell(
                folder,
                self._cache,
                lambda step: self._progress(folder.id, step),
                keep_weights=self._keep_weights,
            )
        except Busy:
            self._say("busy", folder.id)
            return
        except FusionBenchError as error:
            self._say("failed", folder.id, reason=str(error))
            return
        if finished.failure is not None:
            self._say("failed", folder.id, reason=finished.failure)
            return
        self._say("finished", folder.id, metrics=read_json(folder.path / "result.json")["metrics"])

    def _progress(self, cell: str, step: Progress) -> None:
        self._say(
            "progressed",
            cell,
            epoch=step.epoch,
            epochs=step.epochs,
            quantity=step.quantity,
            value=step.value,
            seconds_left=step.seconds_left,
        )

    def _say(self, event: str, cell: str, **details: Any) -> None:
        self._hear(Event(event, cell, details))


def main(arguments: list[str] | None = None) -> None:
    """Serve requests from standard input until it closes."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.study.worker", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--making", type=int, default=1, help="processes that may make and decode data")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--weights", action="append", default=[], metavar="SHA256=FILE")
    parser.add_argument("--keep-weights", action="store_true")
    given = parser.parse_args(arguments)
    paths = RunPaths(
        given.runs, named_paths(given.data), named_paths(given.weights), given.device, given.making
    )
    # Events own the real standard output; whatever a module prints goes to standard error.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(paths, partial(_write, events), keep_weights=given.keep_weights)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        worker.handle(json.loads(requests.get()))


def _write(out: io.TextIOWrapper, event: Event) -> None:
    out.write(json.dumps({"event": event.kind, "cell": event.cell, **event.details}) + "\n")
    out.flush()


def _listen(requests: queue.SimpleQueue[str]) -> None:
    """Pass requests on; when the coordinator is gone, so is the worker, in the middle of a cell too.

    (An orphan would hold its cell's lock and keep the next run waiting. A cell not done is trained again.)
    """
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)

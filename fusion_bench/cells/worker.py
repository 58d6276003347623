"""A worker: ``python -m fusion_bench.study.worker`` reads requests and writes events, one JSON object a line.

A request is ``{"cell": "<id>"}`` (train this cell), ``{"prepare": "<id>"}`` (make the data, weights and cached maps
that it needs) or ``{"measure": "<id>"}`` (measure its latency). The answers are the events of
`fusion_bench.cells.events`; the first of them is `CellStarted`. Every executor starts this one program.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellMeasured,
    CellPrepared,
    CellPreparing,
    CellProgressed,
    CellStarted,
    CellStepped,
    CellTold,
    WorkerEvent,
    event_line,
)
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.global_state import global_state_kept
from fusion_bench.cells.measure_cell import measured_milliseconds
from fusion_bench.cells.provenance import device_name
from fusion_bench.cells.run_cell import CellIsBusy, cell_provenance, run_cell
from fusion_bench.errors import reason_of
from fusion_bench.samples.counting import Paced
from fusion_bench.training.fit.step_done import StepDone
from fusion_bench.training.inputs import make_pretext
from fusion_bench.training.load_cell_data import CellDataCache
from fusion_bench.training.loop import Progress
from fusion_bench.training.paths import RunPaths, parse_named_paths

_SECONDS_BETWEEN_STEPS = 10.0
_SECONDS_TO_GIVE_BACK = 3.0


class WorkerStopped(BaseException):
    """The worker was asked to end. No `Exception`, so that a cell does not take it for its failure."""


class Worker:
    """Serves requests one at a time and reports every event.

    Args:
        paths: where runs, data and weights lie.
        notify: is called with each event.
        keep_weights: whether cells keep their trained weights.
    """

    def __init__(self, paths: RunPaths, notify: Callable[[WorkerEvent], None], *, keep_weights: bool) -> None:
        self._cell = ""
        self._cache = CellDataCache(replace(paths, notify=Paced(self._count)))
        self._notify, self._keep_weights, self._runs = notify, keep_weights, paths.runs

    def handle(self, request: Mapping[str, str]) -> None:
        """Serve one request; what a module does to the state of torch or of the process is undone afterwards."""
        with global_state_kept():
            ((kind, cell),) = request.items()
            self._cell, folder = cell, cell_folder(self._runs, cell)
            self._notify(CellStarted(cell))
            serve = {"prepare": self._prepare, "cell": self._run, "measure": self._measure}[kind]
            # A data set, an encoder or a module of somebody else may raise anything, or leave the program.
            try:
                serve(folder)
            except (Exception, SystemExit) as error:
                self._notify(CellFailed(cell, reason_of(error)))

    def _count(self, what: str, done: int, total: int) -> None:
        self._notify(CellPreparing(self._cell, what, done, total))

    def _step_done(self, cell: str, done: StepDone) -> None:
        self._notify(CellStepped(cell, done.phase, done.step, done.steps))

    def _prepare(self, folder: CellFolder) -> None:
        config = folder.config()
        torch.set_num_threads(config.threads)
        make_pretext(config, self._cache.paths)
        cell_data, paths = self._cache.cell_data(config), self._cache.paths
        self._notify(CellPrepared(folder.id, cell_provenance(config, cell_data, paths.device, paths.runs)))

    def _measure(self, folder: CellFolder) -> None:
        milliseconds = measured_milliseconds(folder.config(), self._cache)
        self._notify(CellMeasured(folder.id, milliseconds, device_name(self._cache.paths.device)))

    def _run(self, folder: CellFolder) -> None:
        try:
            report = run_cell(
                folder,
                self._cache,
                lambda epoch: self._notify(_progressed(folder.id, epoch)),
                keep_weights=self._keep_weights,
                on_step=Heartbeat(partial(self._step_done, folder.id)),
                tell=lambda text: self._notify(CellTold(folder.id, text)),
            )
        except CellIsBusy:
            self._notify(CellBusy(folder.id))
        else:
            self._notify(_finished(folder) if report.failure is None else _failed(folder.id, report.failure))


class Heartbeat:
    """Passes a step on if the last one that it passed on is ten seconds old.

    Args:
        notify: is told these steps.
        clock: seconds that never run backwards.
    """

    def __init__(
        self, notify: Callable[[StepDone], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._notify, self._clock, self._last = notify, clock, clock()

    def __call__(self, done: StepDone) -> None:
        """Take a step."""
        now = self._clock()
        if now - self._last >= _SECONDS_BETWEEN_STEPS:
            self._last = now
            self._notify(done)


def _finished(folder: CellFolder) -> CellFinished:
    result = folder.result()
    return CellFinished(folder.id, result.metrics, result.selection)


def _failed(cell: str, failure: Failure) -> CellFailed:
    return CellFailed(cell, failure.reason, kind=failure.kind)


def _progressed(cell: str, epoch: Progress) -> CellProgressed:
    return CellProgressed(cell, epoch.epoch, epoch.epochs, epoch.quantity, epoch.value, epoch.seconds_left)


def main(arguments: list[str] | None = None) -> None:
    """Serve requests from standard input until it closes."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.study.worker", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-workers", type=int, default=1, help="processes that may make and decode data")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--weights", action="append", default=[], metavar="SHA256=FILE")
    parser.add_argument("--keep-weights", action="store_true")
    given = parser.parse_args(arguments)
    paths = RunPaths(
        given.runs,
        parse_named_paths(given.data),
        parse_named_paths(given.weights),
        given.device,
        given.data_workers,
    )
    if given.device.startswith("cuda:"):
        torch.cuda.set_device(given.device)  # else pinned memory would take a share of the first GPU too
    # Events own the real standard output; whatever a module prints goes to standard error.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(paths, partial(_write, events), keep_weights=given.keep_weights)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    try:
        while True:
            worker.handle(json.loads(requests.get()))
    except WorkerStopped:  # its cell has been given back
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _end_group(signal.SIGTERM)


def _write(out: io.TextIOWrapper, event: WorkerEvent) -> None:
    out.write(event_line(event) + "\n")
    out.flush()


def _read_requests(requests: queue.SimpleQueue[str]) -> None:
    """Pass requests on; end this process when the coordinator has ended, even in the middle of a cell.

    An orphaned worker would hold the lease of its cell and block the next run; a cell that is not done is trained
    again. It gets a moment to give the lease back, for which other hosts would wait two minutes.
    """
    for line in sys.stdin:
        requests.put(line)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_GIVE_BACK)
    _end_group(signal.SIGKILL)


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the return of the lease
    raise WorkerStopped


def _end_group(how: signal.Signals) -> None:
    """End this process, and what a module has started in its own group of processes."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, how)
    os._exit(0)

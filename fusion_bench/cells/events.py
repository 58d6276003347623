"""Events of a cell, one frozen dataclass each, and their form as one line of a worker's output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fusion_bench.cells.failure import FailureKind
from fusion_bench.cells.result import Provenance
from fusion_bench.errors import FusionBenchError
from fusion_bench.serialisation import from_json, to_json


@dataclass(frozen=True)
class CellStarted:
    """A worker has begun to work on the cell: to make its data, to train it or to measure it."""

    cell: str


@dataclass(frozen=True)
class CellProgressed:
    """An epoch of a cell is over.

    Attributes:
        cell: its id.
        epoch, epochs: the number of the epoch, from 1, and how many there are at most.
        quantity, value: the selection metric (``select/accuracy``) and its value after this epoch.
        seconds_left: the worker's estimate for the rest of the cell; None if it has none yet.
    """

    cell: str
    epoch: int
    epochs: int
    quantity: str
    value: float
    seconds_left: float | None


@dataclass(frozen=True)
class CellPreparing:
    """The count of what a worker is making for the cell: "decoding images", 1,200 of 4,000."""

    cell: str
    what: str
    done: int
    total: int


@dataclass(frozen=True)
class CellStepped:
    """A cell that trains or is evaluated has done a batch; told at most every ten seconds.

    It tells a long epoch from a cell that hangs. `fusion_bench.training.fit.step_done.StepDone` says what is counted.
    """

    cell: str
    phase: str
    step: int
    steps: int


@dataclass(frozen=True)
class CellFinished:
    """The cell is done.

    Attributes:
        cell: its id.
        metrics: its final values by split and name (``test/accuracy``).
        selection: the values of the kept weights on the selection split, by name (``accuracy``).
    """

    cell: str
    metrics: Mapping[str, float]
    selection: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CellFailed:
    """The cell failed.

    Attributes:
        cell: its id.
        reason: why, on one line.
        worker_died: True if its worker process could not record the failure itself.
        kind: see `fusion_bench.cells.failure.FailureKind`.
    """

    cell: str
    reason: str
    worker_died: bool = False
    kind: FailureKind = "exception"


@dataclass(frozen=True)
class CellPrepared:
    """The data, weights and cached maps that the cell needs have been made.

    Attributes:
        cell: its id.
        provenance: what the cell would read and run on there; None where the worker does not say.
    """

    cell: str
    provenance: Provenance | None = None


@dataclass(frozen=True)
class CellMeasured:
    """The latency of the cell's model has been measured.

    Attributes:
        cell: its id.
        milliseconds: the median of a forward pass.
        device: the name of the processor or GPU on which it was measured; empty if it is not known.
    """

    cell: str
    milliseconds: float
    device: str = ""


@dataclass(frozen=True)
class CellBusy:
    """Another process trains this cell right now."""

    cell: str


@dataclass(frozen=True)
class CellSilent:
    """Nothing has been heard of the cell for so many seconds; the executor notices it, not the worker."""

    cell: str
    seconds: float


@dataclass(frozen=True)
class CellTold:
    """A sentence about a cell that is being trained: it goes on from a checkpoint, or could not."""

    cell: str
    text: str


CellEvent: TypeAlias = CellStarted | CellProgressed | CellTold | CellSilent | CellFinished | CellFailed
WorkerEvent: TypeAlias = CellEvent | CellPreparing | CellStepped | CellPrepared | CellMeasured | CellBusy

_KINDS: Mapping[str, type[WorkerEvent]] = {
    kind.__name__: kind
    for kind in (
        CellStarted,
        CellProgressed,
        CellTold,
        CellSilent,
        CellStepped,
        CellFinished,
        CellFailed,
        CellPreparing,
        CellPrepared,
        CellMeasured,
        CellBusy,
    )
}


def event_line(event: WorkerEvent) -> str:
    """Return an event as one line of JSON: ``{"event": "CellStarted", "cell": ...}``."""
    return json.dumps({"event": type(event).__name__, **to_json(event)})


def parse_event(line: str) -> WorkerEvent:
    """Return the event that `event_line` wrote.

    Raises:
        FusionBenchError: the line is not one of these events.
    """
    try:
        fields = json.loads(line)
        kind = _KINDS[fields.pop("event")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise FusionBenchError(f"a worker wrote a line that is no event: {line.strip()[:200]!r}") from error
    return from_json(kind, fields, kind.__name__)

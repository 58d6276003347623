"""Events travel from a worker to its coordinator as lines of JSON."""

from __future__ import annotations

import pytest

from fusion_bench.cells.events import (
    CellBusy,
    CellFailed,
    CellFinished,
    CellPrepared,
    CellPreparing,
    CellProgressed,
    CellStarted,
    CellTold,
    WorkerEvent,
    event_line,
    parse_event,
)
from fusion_bench.errors import FusionBenchError


@pytest.mark.parametrize(
    "event",
    [
        CellStarted("a"),
        CellProgressed("a", 1, 3, "select/accuracy", 0.25, None),
        CellProgressed("a", 2, 3, "select/accuracy", 1.0, 12.5),
        CellFinished("a", {"test/accuracy": 0.5}, {"accuracy": 0.25}),
        CellPreparing("a", "decoding images", 12, 40),
        CellFailed("a", "line one\nline two", worker_died=True),
        CellPrepared("a"),
        CellTold("a", "goes on from its checkpoint at step 7"),
        CellBusy("a"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_is_read_back_as_it_was_written(event: WorkerEvent) -> None:
    line = event_line(event)
    assert "\n" not in line
    assert parse_event(line) == event


@pytest.mark.parametrize(
    "line",
    ["", "not JSON", "[]", "{}", '{"event": "CellAsleep", "cell": "a"}', '{"event": "CellStarted"}'],
)
def test_a_line_that_is_no_event_is_named(line: str) -> None:
    with pytest.raises(FusionBenchError, match=r"no event|lacks 'cell'"):
        parse_event(line)

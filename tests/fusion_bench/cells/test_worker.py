"""A worker tells the steps of a cell at a pace that anybody can follow."""

from __future__ import annotations

from fusion_bench.cells.worker import Heartbeat
from fusion_bench.training.fit.step_done import StepDone


def test_a_step_is_told_every_ten_seconds() -> None:
    seconds: list[float] = [0.0]
    passed_on: list[StepDone] = []
    heartbeat = Heartbeat(passed_on.append, clock=lambda: seconds[0])
    for step in range(1, 41):
        seconds[0] += 1.0
        heartbeat(StepDone("training", step, 40))
    assert [done.step for done in passed_on] == [10, 20, 30, 40]

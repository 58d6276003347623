"""The order of the last cells."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

from fake_worker import fake_settings, own_cell
from fusion_bench.cells.events import CellFinished
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.order import kind_of, put_longest_first
from fusion_bench.cells.executors.worker_process import Job
from fusion_bench.training.config import CellConfig


def jobs(*likes: str) -> deque[Job]:
    return deque(Job("cell", f"{number}", alone=False, like=like) for number, like in enumerate(likes))


def ordered(waiting: deque[Job], **seconds: float) -> str:
    put_longest_first(waiting, seconds)
    return "".join(job.like for job in waiting)


def test_cells_of_different_kinds_wait_in_the_order_of_their_time() -> None:
    assert ordered(jobs(*"abc"), a=1.0, b=3.0, c=2.0) == "bca"


def test_cells_keep_their_order_while_a_kind_waits_twice() -> None:
    assert ordered(jobs(*"abca"), a=1.0, b=3.0, c=2.0) == "abca"


def test_kinds_of_unknown_time_come_first_in_their_order() -> None:
    assert ordered(jobs(*"abcd"), a=1.0, c=2.0) == "bdca"
    assert ordered(jobs(*"ba")) == "ba"


def test_requests_that_train_nothing_keep_their_order() -> None:
    waiting = jobs("", "")
    put_longest_first(waiting, {"": 1.0})
    assert [job.cell for job in waiting] == ["0", "1"]


def test_cells_are_of_one_kind_if_they_differ_in_their_seed_alone() -> None:
    cell = own_cell(3)
    assert kind_of(cell) == kind_of(own_cell(4)) == kind_of(replace(cell, start=None))
    assert kind_of(cell) != kind_of(replace(cell, train=replace(cell.train, epochs=99)))
    assert kind_of(replace(cell, start=own_cell(0))) == kind_of(replace(own_cell(4), start=own_cell(0)))
    assert kind_of(replace(cell, start=own_cell(0))) != kind_of(cell)


def longer_cell(seed: int) -> CellConfig:
    cell = own_cell(seed)
    return replace(cell, train=replace(cell.train, epochs=cell.train.epochs + 1))


def test_the_last_seed_starts_with_the_cell_that_took_longest(tmp_path: Path) -> None:
    seeds = [0, 1, 2]
    short, long = [own_cell(seed) for seed in seeds], [longer_cell(seed) for seed in seeds]
    acts = [*((cell, "") for cell in short), *((cell, "time.sleep(0.2)") for cell in long)]
    settings = fake_settings(tmp_path, acts)
    order = [cell.id for pair in zip(short, long, strict=True) for cell in pair]
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        events = [event.cell for event in executor.run(order) if isinstance(event, CellFinished)]
    assert events == [*order[:4], long[2].id, short[2].id]

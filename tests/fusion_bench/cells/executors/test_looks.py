"""Cells that other processes hold are looked at seldom, and none is forgotten."""

from __future__ import annotations

from fusion_bench.cells.executors.looks import Looks


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def looked_at(looks: Looks, cells: list[str]) -> list[str]:
    """Return the cells that are looked at now; each is found held."""
    found = [cell for cell in cells if looks.may_look(cell)]
    for cell in found:
        looks.note_held(cell)
    return found


def test_a_cell_is_looked_at_at_once_and_then_after_growing_pauses() -> None:
    clock = Clock()
    looks, times = Looks(clock), []
    for second in range(200):
        clock.now = float(second)
        times += [second] * len(looked_at(looks, ["cell"]))
    assert times == [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181]


def test_of_a_thousand_held_cells_few_are_looked_at_in_a_second_and_all_in_turn() -> None:
    clock = Clock()
    looks, cells = Looks(clock), [str(number) for number in range(1000)]
    assert looked_at(looks, cells) == cells
    again: set[str] = set()
    for second in range(1, 200):
        clock.now = float(second)
        found = looked_at(looks, cells)
        cells = [*(cell for cell in cells if cell not in found), *found]  # as the executor does
        assert len(found) <= 20
        again |= {*found}
    assert again == {*cells}


def test_a_cell_that_was_not_held_waits_for_no_other() -> None:
    clock = Clock()
    looks = Looks(clock)
    looked_at(looks, [str(number) for number in range(1000)])
    clock.now = 1.0
    looked_at(looks, [str(number) for number in range(1000)])
    assert looks.may_look("new")

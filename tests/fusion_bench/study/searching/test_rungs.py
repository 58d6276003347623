"""A pruned search trains every arm for the same number of steps, and decides the same after an interruption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fusion_bench.contract import Float, Space
from fusion_bench.spec.arms import Arm
from fusion_bench.study.plan import PlannedCell
from fusion_bench.study.searching.rungs import Rung, rungs_of
from fusion_bench.study.searching.search import ArmSearch
from toys import toy_config

SPACE: Mapping[str, Space] = {"gain": Float(0.1, 10.0)}


@pytest.mark.parametrize(
    ("trials", "epochs", "expected"),
    [
        (12, 10, [(12, 1), (4, 3), (1, 10)]),
        (4, 10, [(4, 3), (1, 10)]),
        (27, 27, [(27, 1), (9, 3), (3, 9), (1, 27)]),
        (12, 2, [(12, 1), (4, 2)]),
        (2, 10, [(2, 10)]),
        (12, 1, [(12, 1)]),
    ],
)
def test_each_rung_has_a_third_of_the_trials_and_three_times_the_epochs(
    trials: int, epochs: int, expected: list[tuple[int, int]]
) -> None:
    assert [(rung.trials, rung.epochs) for rung in rungs_of(trials, epochs, "successive_halving")] == expected
    assert rungs_of(trials, epochs, None) == (Rung(trials, epochs),)


def search(
    *, trials: int = 13, batch: int = 9, maximise: bool = True, seeds: tuple[int, ...] = (100,)
) -> ArmSearch:
    config = toy_config()
    config = replace(config, train=replace(config.train, epochs=9))
    return ArmSearch(
        Arm("product", "reference", "product", config),
        SPACE,
        trials=trials,
        batch=batch,
        seeds=seeds,
        maximise=maximise,
        pruner="successive_halving",
    )


def value(cell: PlannedCell) -> float:
    """A metric whose best gain is 10, a little better after more epochs."""
    return float(str(cell.drawn["gain"])) + 0.01 * cell.config.train.epochs


def test_the_best_of_each_rung_go_on_and_the_last_trains_in_full() -> None:
    found, asked = search(), []
    while not found.over:
        asked.append(found.ask())
        found.tell({cell.id: value(cell) for cell in asked[-1]})
    # Nine trials in three rungs, then the four that are left.
    assert [(len(cells), cells[0].config.train.epochs) for cells in asked] == [
        *((9, 1), (3, 3), (1, 9)),
        *((4, 3), (1, 9)),
    ]
    assert all(not cell.config.evaluate for cells in asked for cell in cells)
    first = sorted(asked[0], key=value)
    assert {cell.drawn["gain"] for cell in asked[1]} == {cell.drawn["gain"] for cell in first[-3:]}
    assert [trial.state for trial in found.finished].count("complete") == 2
    assert [trial.state for trial in found.finished].count("pruned") == 11
    best = found.winner()
    assert best is not None
    assert best[0]["gain"] == max(cell.drawn["gain"] for cells in asked for cell in cells)
    assert "train.epochs" not in best[0]
    assert found.confirmed().config.train.epochs == 9


def test_the_planned_epochs_are_those_that_are_asked() -> None:
    found, epochs = search(seeds=(100, 101)), []
    while not found.over:
        cells = found.ask()
        epochs += [cell.config.train.epochs for cell in cells]
        found.tell({cell.id: value(cell) for cell in cells})
    assert tuple(epochs) == search(seeds=(100, 101)).planned
    assert sum(epochs) == 2 * (9 + 9 + 9 + 12 + 9)


def test_a_smaller_metric_may_be_the_better_one() -> None:
    found = search(trials=9, maximise=False)
    first = found.ask()
    found.tell({cell.id: value(cell) for cell in first})
    kept = {cell.drawn["gain"] for cell in found.ask()}
    assert kept == {cell.drawn["gain"] for cell in sorted(first, key=value)[:3]}


def test_failed_trials_never_go_on_and_are_not_replaced() -> None:
    found = search(trials=9)
    cells = found.ask()
    found.tell({cell.id: None if number > 1 else value(cell) for number, cell in enumerate(cells)})
    assert len(found.ask()) == 2, "two of the three places are filled"
    found.tell({cell.id: None for cell in found.ask()})
    assert found.over
    assert [trial.state for trial in found.finished] == ["failed"] * 9
    assert found.winner() is None
    assert found.confirmed().abandoned == "each of the 9 trials of its search failed"


def test_an_arm_whose_last_trial_fails_is_abandoned_although_others_were_pruned() -> None:
    found = search(trials=9)
    while not found.over:
        cells = found.ask()
        found.tell({cell.id: None if cell.config.train.epochs == 9 else value(cell) for cell in cells})
    assert found.confirmed().abandoned == "each of the 9 trials of its search failed or was pruned"


def test_a_pruned_search_is_repeated_to_the_same_decisions() -> None:
    def asked(found: ArmSearch) -> list[tuple[PlannedCell, ...]]:
        cells = []
        while not found.over:
            cells.append(found.ask())
            found.tell(dict(reversed([(cell.id, value(cell)) for cell in cells[-1]])))
        return cells

    assert asked(search()) == asked(search())


def test_optuna_sees_pruned_trials_with_the_value_of_each_rung() -> None:
    found = search(trials=9)
    while not found.over:
        found.tell({cell.id: value(cell) for cell in found.ask()})
    trials = found.optuna_study.trials
    assert sorted({len(trial.intermediate_values) for trial in trials}) == [1, 2, 3]
    for trial, own in zip(trials, found.finished, strict=True):
        assert trial.intermediate_values == dict(own.reached)
        assert trial.state.name.lower() == own.state

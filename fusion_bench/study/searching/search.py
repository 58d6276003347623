"""Hyperparameter search per arm: equal numbers of trials, evaluated on the selection split only.

If the space holds lists of values only and has no more combinations than there are trials, every combination is tried
once, in the order of the lists. Otherwise trials are drawn by Optuna.

Trials are drawn in batches, their values are reported in the order of the trials, and trial ``i`` draws from its own
random stream, which does not depend on the arm or on earlier processes. So a search depends on its settings only, not
on the number of workers, and repeating it over finished cells gives the same trials: a search resumes that way.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import optuna

from fusion_bench.contract import Choice, Float, Int, Space
from fusion_bench.spec.arms import Arm, settings_of
from fusion_bench.study.plan import PlannedCell
from fusion_bench.training.config import Json
from fusion_bench.training.seeds import seed_of

_STARTUP = 8
"""Number of trials drawn at random before the sampler uses earlier values; equal for arms with equal spaces."""


class ArmSearch:
    """The search of one arm.

    Args:
        arm: what to search around.
        space: settings to vary (``kernel_size``, ``train.learning_rate``) and their ranges.
        trials: how many in all; ``batch``: how many are asked before any is told.
        seeds: search seeds; a trial's value is the mean over them.
        maximise: whether a larger selection metric is better.
        matched: brings an arm whose settings have changed back to the study's budget.
    """

    def __init__(
        self,
        arm: Arm,
        space: Mapping[str, Space],
        *,
        trials: int,
        batch: int,
        seeds: Sequence[int],
        maximise: bool,
        matched: Callable[[Arm], Arm] = lambda arm: arm,
    ) -> None:
        self._matched = matched
        self.arm, self._space, self._batch = arm, space, batch
        self._combinations = _combinations(space, trials)
        self._trials = len(self._combinations) or trials
        self._seeds, self._maximise = tuple(seeds), maximise
        self._study = optuna.create_study(direction="maximize" if maximise else "minimize")
        self._asked: list[tuple[optuna.Trial, dict[str, Json], tuple[PlannedCell, ...]]] = []
        self._finished: list[tuple[dict[str, Json], tuple[PlannedCell, ...], float | None]] = []

    @property
    def trials(self) -> int:
        """The number of trials of the whole search."""
        return self._trials

    @property
    def over(self) -> bool:
        """True when every trial has its value, or there is nothing to search (all trials would be the same cell)."""
        return not self._space or len(self._finished) >= self._trials

    def ask(self) -> tuple[PlannedCell, ...]:
        """Return the cells of the next batch of trials."""
        for number in range(len(self._finished), min(len(self._finished) + self._batch, self._trials)):
            trial = self._ask_one(number)
            arm = self._having({name: _suggest(trial, name, space) for name, space in self._space.items()})
            config = replace(arm.config, evaluate=False)
            drawn = settings_of(config, self._space)
            cells = tuple(
                PlannedCell(
                    arm.label, arm.role, seed, "search", replace(config, seed=seed), arm.factor_names, drawn
                )
                for seed in self._seeds
            )
            self._asked.append((trial, drawn, cells))
        return tuple(cell for _, _, cells in self._asked for cell in cells)

    def tell(self, values: Mapping[str, float | None]) -> None:
        """Take the selection metric of every cell of the last batch by cell id; None for a cell that failed."""
        for trial, drawn, cells in self._asked:
            found = [values[cell.id] for cell in cells]
            known = [value for value in found if value is not None]
            mean = fmean(known) if len(known) == len(found) else None
            if mean is None:
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, mean)
            self._finished.append((drawn, cells, mean))
        self._asked.clear()

    def winner(self) -> tuple[Mapping[str, Json], float] | None:
        """Return the settings and the value of the best trial, the first of equals; None if every trial failed."""
        done = [(drawn, value) for drawn, _, value in self._finished if value is not None]
        if not done:
            return None
        pick = max if self._maximise else min
        return pick(done, key=lambda item: item[1])

    def confirmed(self) -> Arm:
        """Return the arm with the settings of the best trial, to be trained with the study's own seeds.

        An arm of which every trial failed is abandoned, since it would not be comparable with searched arms. An arm
        with nothing to search is returned unchanged.
        """
        best = self.winner()
        if best is not None:
            return replace(self._having(best[0]), searched=tuple(best[0]))
        if not self._finished:
            return self.arm
        return replace(self.arm, abandoned=f"each of the {len(self._finished)} trials of its search failed")

    def _having(self, drawn: Mapping[str, Json]) -> Arm:
        """Return the arm with the settings of a trial."""
        return self._matched(self.arm.having(drawn))

    def _ask_one(self, number: int) -> optuna.Trial:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = optuna.samplers.TPESampler(
                seed=seed_of(f"search/{number}", 0) % 2**32,
                n_startup_trials=_STARTUP,
                multivariate=True,
                constant_liar=True,
            )
            if self._combinations:
                self._study.enqueue_trial(self._combinations[number])
            return self._study.ask()


def _combinations(space: Mapping[str, Space], most: int) -> list[dict[str, Json]]:
    """Return every combination of a space of lists; none if there are more than ``most`` or a range."""
    lists = [item.values for item in space.values() if isinstance(item, Choice)]
    if not space or len(lists) < len(space) or math.prod(map(len, lists)) > most:
        return []
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def _suggest(trial: optuna.Trial, name: str, space: Space) -> Any:
    if isinstance(space, Float):
        return trial.suggest_float(name, space.low, space.high, log=space.log)
    if isinstance(space, Int):
        step = 1 if space.log else space.step
        return trial.suggest_int(name, space.low, space.high, step=step, log=space.log)
    assert isinstance(space, Choice)  # noqa: S101 - the three kinds of space
    return trial.suggest_categorical(name, list(space.values))

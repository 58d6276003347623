"""Hyperparameter search per arm: equal numbers of trials, evaluated on the selection split only.

If the space holds lists of values only and has no more combinations than there are trials, every combination is tried
once, in the order of the lists. Otherwise trials are drawn by Optuna.

Trials are drawn in batches, their values are reported in the order of the trials, and trial ``i`` draws from its own
random stream, which does not depend on the arm or on earlier processes. So a search depends on its settings only, not
on the number of workers, and repeating it over finished cells gives the same trials: a search resumes that way.

With a pruner, the trials of a batch go through rungs (`fusion_bench.study.searching.rungs`). A trial that fails
counts as any other and is not drawn again, so the trials, and the training steps planned for them, are the same for
every arm.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from fusion_bench.contract import Choice, Float, Int, Space
from fusion_bench.serialisation import to_json
from fusion_bench.spec.arms import Arm, settings_of
from fusion_bench.spec.search_spaces import combinations
from fusion_bench.spec.study import Pruner, Sampler
from fusion_bench.storage import digest
from fusion_bench.study.plan import PlannedCell
from fusion_bench.study.searching.draws import Draws
from fusion_bench.study.searching.rungs import Rung, rungs_of
from fusion_bench.study.searching.samplers import sampler_for
from fusion_bench.training.config import Json

_STATELESS: frozenset[Sampler] = frozenset({"tpe", "random", "gp"})
"""These draw from the settings and values of earlier trials alone; the others also from what they kept in them."""


@dataclass(frozen=True)
class FinishedTrial:
    """A trial of a search that has ended.

    Attributes:
        drawn: its settings.
        cells: its cells, one for each seed, of the shortest rung first; without a pruner there is one rung.
        reached: the number of epochs and the value of each rung that has a value; a value is the mean over the seeds.
        state: ``complete`` if it was trained in full.
    """

    drawn: Mapping[str, Json]
    cells: tuple[PlannedCell, ...]
    reached: tuple[tuple[int, float], ...]
    state: Literal["complete", "pruned", "failed"]

    @property
    def value(self) -> float | None:
        """The value of the training in full; None for a trial that failed or was pruned."""
        return self.reached[-1][1] if self.state == "complete" else None


@dataclass
class _OpenTrial:
    """A trial whose batch has not ended; ``arm`` has its settings."""

    trial: optuna.Trial
    arm: Arm
    drawn: dict[str, Json]
    cells: list[PlannedCell] = field(default_factory=list)
    reached: list[tuple[int, float]] = field(default_factory=list)
    state: Literal["complete", "pruned", "failed"] | None = None

    def ended(self) -> FinishedTrial:
        assert self.state is not None  # noqa: S101 - asked after the last rung
        return FinishedTrial(self.drawn, tuple(self.cells), tuple(self.reached), self.state)


class ArmSearch:
    """The search of one arm.

    Args:
        arm: what to search around.
        space: settings to vary (``kernel_size``, ``train.learning_rate``) and their ranges.
        trials: how many in all; ``batch``: how many are asked before any is told.
        seeds: search seeds; a trial's value is the mean over them.
        maximise: whether a larger selection metric is better.
        matched: brings an arm whose settings have changed back to the study's budget.
        sampler: draws the trials.
        pruner: ends trials early; None trains all in full.
        draws: what was drawn before.
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
        sampler: Sampler = "tpe",
        pruner: Pruner | None = None,
        draws: Draws | None = None,
    ) -> None:
        self._matched = matched
        self.arm, self.space, self._batch = arm, space, batch
        self._combinations = combinations(space, trials)
        self._trials = len(self._combinations) or trials
        self._seeds, self.maximise = tuple(seeds), maximise
        self._sampler, self._pruner = sampler, pruner
        self._draws = Draws() if draws is None or sampler not in _STATELESS else draws
        spaces = [[name, type(item).__name__, vars(item)] for name, item in space.items()]
        self._drawn_from = digest([sampler, pruner, trials, batch, self._seeds, maximise, to_json(spaces)])
        self._study = optuna.create_study(direction="maximize" if maximise else "minimize")
        self._open: list[_OpenTrial] = []
        self._rungs: list[Rung] = []
        self._finished: list[FinishedTrial] = []

    @property
    def trials(self) -> int:
        """The number of trials of the whole search."""
        return self._trials

    @property
    def finished(self) -> Sequence[FinishedTrial]:
        """The trials that have ended, in their order."""
        return self._finished

    @property
    def optuna_study(self) -> optuna.Study:
        """The trials as Optuna drew them, with the distributions of the space."""
        return self._study

    @property
    def pruned(self) -> bool:
        """True if a pruner ends trials early."""
        return self._pruner is not None

    @property
    def planned(self) -> tuple[int, ...]:
        """The number of epochs of each cell of the whole search; empty if there is nothing to search."""
        if not self.space:
            return ()
        batches = [min(self._batch, self._trials - first) for first in range(0, self._trials, self._batch)]
        rungs = [rung for batch in batches for rung in self._rungs_of(batch)]
        return tuple(rung.epochs for rung in rungs for _ in range(rung.trials * len(self._seeds)))

    @property
    def over(self) -> bool:
        """True when every trial has its value, or there is nothing to search (all trials would be the same cell)."""
        return not self.space or len(self._finished) >= self._trials

    def ask(self) -> tuple[PlannedCell, ...]:
        """Return the cells of the next batch of trials; with a pruner, those of the next rung of a batch."""
        if not self._open:
            first = len(self._finished)
            count = min(self._batch, self._trials - first)
            known = self._draws.find(self._drawn_from, count, self.space)
            self._open = [
                self._drawn(first + index, known[index] if known else None) for index in range(count)
            ]
            self._draws.add(self._drawn_from, [item.trial.params for item in self._open])
            self._rungs = list(self._rungs_of(count))
        return tuple(cell for item in self._left() for cell in self._cells_of(item))

    def tell(self, values: Mapping[str, float | None]) -> None:
        """Take the selection metric of every cell of the last `ask` by cell id; None for a cell that failed."""
        epochs = self._rungs[0].epochs
        for item in self._left():
            cells = self._cells_of(item)
            item.cells += cells
            known = [value for cell in cells if (value := values[cell.id]) is not None]
            if len(known) == len(cells) and math.isfinite(mean := fmean(known)):
                item.reached.append((epochs, mean))
            else:
                item.state = "failed"
        self._rungs.pop(0)
        self._prune()
        if not self._left():
            for item in self._open:
                self._tell_optuna(item)
                self._finished.append(item.ended())
            ends = [[item.trial.params, item.state, item.reached] for item in self._open]
            self._drawn_from = digest([self._drawn_from, ends])
            self._open.clear()

    def winner(self) -> tuple[Mapping[str, Json], float] | None:
        """Return the settings and the value of the best trial, the first of equals; None if no trial has a value."""
        done = [(trial.drawn, trial.value) for trial in self._finished if trial.value is not None]
        if not done:
            return None
        pick = max if self.maximise else min
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
        pruned = sum(trial.state == "pruned" for trial in self._finished)
        reason = f"each of the {len(self._finished)} trials of its search failed"
        return replace(self.arm, abandoned=f"{reason} or was pruned" if pruned else reason)

    def _having(self, drawn: Mapping[str, Json]) -> Arm:
        """Return the arm with the settings of a trial."""
        return self._matched(self.arm.having(drawn))

    def _drawn(self, number: int, known: Mapping[str, Json] | None) -> _OpenTrial:
        """Return a trial: as it was drawn before, the next combination of the lists, or as the sampler draws it."""
        fixed = self._combinations[number] if self._combinations else known
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # The other samplers would fit their model for settings that are fixed.
            self._study.sampler = sampler_for("random" if known else self._sampler, number)
            if fixed is not None:
                self._study.enqueue_trial(dict(fixed))
            trial = self._study.ask()
            arm = self._having({name: _suggest(trial, name, space) for name, space in self.space.items()})
        return _OpenTrial(trial, arm, settings_of(arm.config, self.space))

    def _rungs_of(self, trials: int) -> tuple[Rung, ...]:
        return rungs_of(trials, self.arm.config.train.epochs, self._pruner)

    def _left(self) -> list[_OpenTrial]:
        """Return the trials of the batch that are neither trained in full, nor pruned, nor failed."""
        return [item for item in self._open if item.state is None]

    def _cells_of(self, item: _OpenTrial) -> tuple[PlannedCell, ...]:
        """Return the cells of a trial on the rung that is next."""
        config, shown = replace(item.arm.config, evaluate=False), item.drawn
        if self._pruner is not None:
            epochs = self._rungs[0].epochs
            config = replace(config, train=replace(config.train, epochs=epochs))
            shown = {**shown, "train.epochs": epochs}
        return tuple(
            PlannedCell(
                item.arm.label,
                item.arm.role,
                seed,
                "search",
                replace(config, seed=seed),
                item.arm.factor_names,
                shown,
            )
            for seed in self._seeds
        )

    def _prune(self) -> None:
        """End the trials that the next rung has no room for; after the last rung, all that are left."""
        left = self._left()
        if not self._rungs:
            for item in left:
                item.state = "complete"
            return
        best = sorted(left, key=lambda item: item.reached[-1][1], reverse=self.maximise)
        for item in best[self._rungs[0].trials :]:
            item.state = "pruned"

    def _tell_optuna(self, item: _OpenTrial) -> None:
        """Tell the sampler how a trial ended."""
        if self._pruner is not None:
            for epochs, value in item.reached:
                item.trial.report(value, epochs)
        if item.state == "complete":
            self._study.tell(item.trial, item.reached[-1][1])
        else:
            self._study.tell(
                item.trial, state=TrialState.PRUNED if item.state == "pruned" else TrialState.FAIL
            )


def _suggest(trial: optuna.Trial, name: str, space: Space) -> Any:
    if isinstance(space, Float):
        return trial.suggest_float(name, space.low, space.high, log=space.log)
    if isinstance(space, Int):
        step = 1 if space.log else space.step
        return trial.suggest_int(name, space.low, space.high, step=step, log=space.log)
    assert isinstance(space, Choice)  # noqa: S101 - the three kinds of space
    return trial.suggest_categorical(name, list(space.values))

"""Successive halving: many trials train briefly, the best of them longer, and the last one in full.

Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization (AISTATS 2016). The
number of trials of each rung is fixed beforehand, so every arm with equal trials gets equal training steps. Each rung
trains its trials anew, in cells of their own whose schedule has the length of the rung. So no cell is stopped
halfway: the cells of a pruned trial are done, and what they decide is the same after an interruption, with any number
of workers and under any executor.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusion_bench.spec.study import Pruner

FACTOR = 3
"""One trial in so many goes on from each rung; the next rung trains so many times longer."""


@dataclass(frozen=True)
class Rung:
    """How many trials train for how many epochs."""

    trials: int
    epochs: int


def rungs_of(trials: int, epochs: int, pruner: Pruner | None) -> tuple[Rung, ...]:
    """Return the rungs of a batch of trials, the shortest first; the last one trains in full.

    Args:
        trials: how many trials are drawn together.
        epochs: of a full training.
        pruner: None trains every trial in full.
    """
    rungs = [Rung(trials, epochs)]
    while pruner is not None and (shorter := round(rungs[0].epochs / FACTOR)) >= 1:
        if shorter == rungs[0].epochs or trials // FACTOR ** len(rungs) < 1:
            break
        rungs = [Rung(0, shorter), *rungs]
    return tuple(Rung(trials // FACTOR**number, rung.epochs) for number, rung in enumerate(rungs))

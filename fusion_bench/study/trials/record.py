"""A cell, or a trial of a search, as a trial of Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from fusion_bench.study.trials.distributions import parameters_of

TrialKey: TypeAlias = tuple[str, str, int | None]
TrialOutcome: TypeAlias = tuple[str, str, int | None, TrialState | None, float | None, str | None]


@dataclass(frozen=True)
class Record:
    """One cell, or the cells of one trial of a search.

    Attributes:
        cells: their ids.
        seeds: their seeds; with a pruner, a seed has a cell on each rung.
        factors: the parameters of the trial.
        value: the selection metric, mean over the seeds; of a pruned trial, on its last rung; None without a result.
        failure: why it failed; None if it did not.
        pruned: True for a trial that was ended early.
        number: the number of a trial of a search, from 0; two trials may draw the same settings. None for a cell.
    """

    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    factors: Mapping[str, Any]
    value: float | None
    failure: str | None
    pruned: bool = False
    number: int | None = None

    @property
    def state(self) -> TrialState | None:
        """The state of the trial; None if it has not ended."""
        if self.failure is not None:
            return TrialState.FAIL
        if self.value is None:
            return None
        return TrialState.PRUNED if self.pruned else TrialState.COMPLETE

    @property
    def key(self) -> TrialKey:
        """What the trial stands for: its cells, in an arm where two arms share them."""
        return ", ".join(self.cells), str(self.factors.get("arm")), self.number

    @property
    def outcome(self) -> TrialOutcome:
        """The record without its factors, which follow from the cells; see `outcome_of`."""
        return (*self.key, self.state, self.value if self.failure is None else None, self.failure)


@dataclass(frozen=True)
class TrialDetails:
    """What a trial shows beside its outcome.

    Attributes:
        intermediate: the selection metric after each epoch.
        started: when it began; ``ended``: when it ended; None where the cells do not tell.
    """

    intermediate: Mapping[int, float] = field(default_factory=dict)
    started: datetime | None = None
    ended: datetime | None = None


def trial_of(
    record: Record, distributions: Mapping[str, BaseDistribution], details: TrialDetails
) -> FrozenTrial:
    """Return an ended record as a trial of Optuna.

    Optuna wants a time of every trial that has ended. A trial whose duration is not known gets a duration of 0.
    """
    state, params = record.state, parameters_of(record.factors, distributions)
    assert state is not None  # noqa: S101 - only what has ended is a trial
    attributes: dict[str, Any] = {"cell": record.cells[0], "seed": record.seeds[0]}
    if len(record.cells) > 1:
        attributes = {"cells": list(record.cells), "seeds": list(record.seeds)}
    if record.number is not None:
        attributes["trial"] = record.number
    if record.failure is not None:
        attributes["failure"] = record.failure
    trial = create_trial(
        state=state,
        value=None if record.failure is not None else record.value,
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=attributes,
        intermediate_values=dict(details.intermediate),
    )
    if details.ended is not None:
        trial.datetime_start, trial.datetime_complete = details.started or details.ended, details.ended
    return trial


def outcome_of(trial: FrozenTrial) -> TrialOutcome:
    """Return the `Record.outcome` of the record that a trial was made from."""
    attributes = trial.user_attrs
    cells = attributes.get("cells", [attributes.get("cell")])
    key = ", ".join(map(str, cells)), str(trial.params.get("arm")), attributes.get("trial")
    value = trial.value if trial.state in {TrialState.COMPLETE, TrialState.PRUNED} else None
    return (*key, trial.state, value, attributes.get("failure"))

"""Optuna's journal: every cell as a trial, so that Optuna's own tools can look at a study.

The folders decide; the journal is brought in line with them, and rebuilt when it is lost, damaged or of
another plan. Only the coordinator touches it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from fusion_bench.storage import digest

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One cell for the journal: ``value`` is the selection metric, None while it has none."""

    cell: str
    seed: int
    factors: Mapping[str, Any]
    value: float | None
    failure: str | None


class Journal:
    """The Optuna study of a fusion-bench study, in ``journal.log``."""

    def __init__(self, file: Path, name: str, *, maximise: bool) -> None:
        self._file, self._name = file, name
        self._direction: Literal["maximize", "minimize"] = "maximize" if maximise else "minimize"
        self._study: optuna.Study | None = None
        self._distributions: dict[str, CategoricalDistribution] = {}

    def bring_in_line(self, records: Sequence[Record]) -> None:
        """Add what the folders hold and the journal lacks; start anew if the journal does not fit."""
        choices = _choices(records)
        self._distributions = {name: CategoricalDistribution(values) for name, values in choices.items()}
        self._study = self._opened(digest([self._direction, choices, [record.cell for record in records]]))
        known = {
            trial.user_attrs["cell"]: trial.state
            for trial in self._study.get_trials(deepcopy=False)
            if trial.user_attrs
        }
        for record in records:
            if known.get(record.cell) != _state(record):
                self.add(record)

    def add(self, record: Record) -> None:
        """Add one cell that ended since the journal was brought in line; one that has not ended is no trial."""
        assert self._study is not None, "bring the journal in line first"  # noqa: S101
        state = _state(record)
        if state is not None:
            self._study.add_trial(_trial(record, state, self._distributions))

    def _opened(self, plan: str) -> optuna.Study:
        try:
            study = self._create()
            if study.user_attrs.get("plan", plan) == plan:
                study.set_user_attr("plan", plan)
                return study
            _LOG.info("the plan of %s changed; its Optuna journal is rebuilt from the cells", self._name)
        except OSError:
            raise  # the disk, not the journal, is at fault
        except Exception as error:
            _LOG.warning("the Optuna journal %s is damaged (%s); rebuilt from the cells", self._file, error)
        self._file.unlink(missing_ok=True)
        study = self._create()
        study.set_user_attr("plan", plan)
        return study

    def _create(self) -> optuna.Study:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = JournalStorage(JournalFileBackend(str(self._file)))
        return optuna.create_study(
            study_name=self._name, storage=storage, direction=self._direction, load_if_exists=True
        )


def _choices(records: Sequence[Record]) -> dict[str, list[Any]]:
    """For each factor every value that occurs; Optuna wants plain values, so others are written as text."""
    choices: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.factors.items():
            values = choices.setdefault(name, [])
            if _flat(value) not in values:
                values.append(_flat(value))
    return choices


def _flat(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _state(record: Record) -> TrialState | None:
    if record.value is not None:
        return TrialState.COMPLETE
    return TrialState.FAIL if record.failure is not None else None


def _trial(
    record: Record, state: TrialState, distributions: Mapping[str, CategoricalDistribution]
) -> optuna.trial.FrozenTrial:
    params = {name: _flat(value) for name, value in record.factors.items()}
    attributes = {"cell": record.cell, "seed": record.seed}
    if record.failure is not None:
        attributes["failure"] = record.failure
    return optuna.trial.create_trial(
        state=state,
        value=record.value,
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=attributes,
    )

"""The Optuna journal of a study: every cell as a trial, so that Optuna's own tools can show the study.

The folders of the cells decide. The journal is updated from them, and rebuilt when it is lost, damaged or made for
another plan. Only the coordinating process writes it.
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
    """One cell for the journal.

    Attributes:
        cell: its id.
        seed: its seed.
        factors: the parameters of the trial.
        value: the selection metric; None without a result.
        failure: why the cell failed; None if it did not.
    """

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

    def update(self, records: Sequence[Record]) -> None:
        """Add the cells that the journal lacks; rebuild the journal if it belongs to another plan."""
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
        """Add one cell that has ended since `update`; a cell that has not ended is not added."""
        assert self._study is not None, "call update first"  # noqa: S101
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
            raise  # the disk failed, not the journal
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
    """Return every value of each factor; Optuna takes plain values only, so others are written as text."""
    choices: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.factors.items():
            values = choices.setdefault(name, [])
            if _plain_value(value) not in values:
                values.append(_plain_value(value))
    return choices


def _plain_value(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _state(record: Record) -> TrialState | None:
    if record.value is not None:
        return TrialState.COMPLETE
    return TrialState.FAIL if record.failure is not None else None


def _trial(
    record: Record, state: TrialState, distributions: Mapping[str, CategoricalDistribution]
) -> optuna.trial.FrozenTrial:
    params = {name: _plain_value(value) for name, value in record.factors.items()}
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

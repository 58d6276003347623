"""The Optuna journal of a study: every cell as a trial, so that Optuna's own tools can show the study.

The folders of the cells decide. The journal is updated from them, and rebuilt when it is lost, damaged, made for
another plan, or holds an outcome that was replaced or removed since. Only the coordinating process writes it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from fusion_bench.storage import digest, replacing

_LOG = logging.getLogger(__name__)
_Key: TypeAlias = tuple[str, str]
_Outcome: TypeAlias = tuple[str, str, TrialState | None, float | None, str | None]


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
    """The Optuna study of a fusion-bench study, in ``journal.log``, with one trial for each cell that has ended.

    Optuna only appends to a journal. So where an outcome was replaced or removed, the journal is written anew.
    """

    def __init__(self, file: Path, name: str, *, maximise: bool) -> None:
        self._file, self._name = file, name
        self._direction: Literal["maximize", "minimize"] = "maximize" if maximise else "minimize"
        self._study: optuna.Study | None = None
        self._distributions: dict[str, CategoricalDistribution] = {}
        self._ended: dict[_Key, Record] = {}
        self._plan = ""

    def update(self, records: Sequence[Record]) -> None:
        """Bring the journal in line with the cells of the plan."""
        choices = _choices(records)
        self._distributions = {name: CategoricalDistribution(values) for name, values in choices.items()}
        self._plan = digest([self._direction, choices, [record.cell for record in records]])
        self._ended = {_key(record): record for record in records if _state(record) is not None}
        study = self._opened()
        if study is None:
            self._rebuild()
            return
        held = [_held_outcome(trial) for trial in study.get_trials(deepcopy=False)]
        missing = {_outcome(record): record for record in self._ended.values()}
        if len(held) > len(set(held)) or not set(held) <= missing.keys():
            _LOG.info("cells of %s were replaced; its Optuna journal is rebuilt from the cells", self._name)
            self._rebuild()
            return
        self._study = study
        for outcome in held:
            del missing[outcome]
        for record in missing.values():
            study.add_trial(_trial(record, self._distributions))

    def add(self, record: Record) -> None:
        """Add one cell that has ended since `update`; a cell that has not ended is not added."""
        assert self._study is not None, "call update first"  # noqa: S101
        if _state(record) is None:
            return
        key = _key(record)
        earlier, self._ended[key] = self._ended.get(key), record
        if earlier is None:
            self._study.add_trial(_trial(record, self._distributions))
        elif _outcome(earlier) != _outcome(record):
            self._rebuild()

    def _opened(self) -> optuna.Study | None:
        """Return the journal's study; None if there is none, it is damaged, or it was made for another plan."""
        if not self._file.exists():
            return None
        try:
            study = self._load()
            if study.user_attrs.get("plan") == self._plan:
                return study
            _LOG.info("the plan of %s changed; its Optuna journal is rebuilt from the cells", self._name)
        except OSError:
            raise  # the disk failed, not the journal
        except Exception as error:
            _LOG.warning("the Optuna journal %s is damaged (%s); rebuilt from the cells", self._file, error)
        return None

    def _rebuild(self) -> None:
        """Write the journal anew, with one trial for each cell that has ended."""
        with replacing(self._file) as part:
            study = optuna.create_study(
                study_name=self._name, storage=_storage(part), direction=self._direction
            )
            study.set_user_attr("plan", self._plan)
            for record in self._ended.values():
                study.add_trial(_trial(record, self._distributions))
        self._study = self._load()

    def _load(self) -> optuna.Study:
        return optuna.load_study(study_name=self._name, storage=_storage(self._file))


def _storage(file: Path) -> JournalStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return JournalStorage(JournalFileBackend(str(file)))


def _key(record: Record) -> _Key:
    """Return what a trial stands for: a cell, in an arm where two arms share the cell."""
    return record.cell, str(record.factors.get("arm"))


def _outcome(record: Record) -> _Outcome:
    """Return a record without its factors, which follow from the cell, as Optuna gives it back."""
    return (*_key(record), _state(record), record.value, record.failure)


def _held_outcome(trial: optuna.trial.FrozenTrial) -> _Outcome:
    """Return the `_outcome` of the record that a trial was made from."""
    attributes = trial.user_attrs
    key = (str(attributes.get("cell")), str(trial.params.get("arm")))
    value = trial.value if trial.state == TrialState.COMPLETE else None
    return (*key, trial.state, value, attributes.get("failure"))


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


def _trial(record: Record, distributions: Mapping[str, CategoricalDistribution]) -> optuna.trial.FrozenTrial:
    params = {name: _plain_value(value) for name, value in record.factors.items()}
    attributes = {"cell": record.cell, "seed": record.seed}
    if record.failure is not None:
        attributes["failure"] = record.failure
    state = _state(record)
    assert state is not None  # noqa: S101 - only cells that have ended are trials
    return optuna.trial.create_trial(
        state=state,
        value=record.value,
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=attributes,
    )

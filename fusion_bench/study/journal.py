"""The Optuna journal of a study: every cell as a trial, so that Optuna's own tools can show the study.

The folders of the cells decide. The journal is updated from them, and rebuilt when it is lost, damaged, made for
another plan, or holds an outcome that was replaced or removed since. Only the coordinating process writes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json

from fusion_bench.contract import Space
from fusion_bench.storage import digest, replacing
from fusion_bench.study.trials.distributions import distributions_of
from fusion_bench.study.trials.journal_file import PLAN, journal_storage
from fusion_bench.study.trials.record import Record, TrialDetails, TrialKey, outcome_of, trial_of

_LOG = logging.getLogger(__name__)


class Journal:
    """The Optuna study of a fusion-bench study, in ``journal.log``, with one trial for each cell that has ended.

    Optuna only appends to a journal. So where an outcome was replaced or removed, the journal is written anew.

    Args:
        file: the journal.
        name: the name of its Optuna study.
        maximise: whether a larger value is better.
        spaces: the values that a search draws from, by parameter.
        details: returns what is shown beside the outcome of a record; called once for each trial that is written.
    """

    def __init__(
        self,
        file: Path,
        name: str,
        *,
        maximise: bool,
        spaces: Mapping[str, Space] | None = None,
        details: Callable[[Record], TrialDetails] = lambda record: TrialDetails(),
    ) -> None:
        self._file, self._name = file, name
        self._spaces, self._details = spaces or {}, details
        self._direction: Literal["maximize", "minimize"] = "maximize" if maximise else "minimize"
        self._study: optuna.Study | None = None
        self._distributions: dict[str, BaseDistribution] = {}
        self._ended: dict[TrialKey, Record] = {}
        self._plan = ""

    def update(self, records: Sequence[Record], plan: Any = None) -> None:
        """Bring the journal in line with the cells of the plan.

        Args:
            records: the cells.
            plan: JSON that names the plan; None: the cells are the plan.
        """
        self._distributions = distributions_of([record.factors for record in records], self._spaces)
        written = {name: distribution_to_json(found) for name, found in self._distributions.items()}
        planned = [record.cells for record in records] if plan is None else plan
        self._plan = digest([self._direction, written, planned])
        self._ended = {record.key: record for record in records if record.state is not None}
        study = self._opened()
        if study is None:
            self._rebuild()
            return
        held = [outcome_of(trial) for trial in study.get_trials(deepcopy=False)]
        missing = {record.outcome: record for record in self._ended.values()}
        if len(held) > len(set(held)) or not set(held) <= missing.keys():
            _LOG.info("cells of %s were replaced; its Optuna journal is rebuilt from the cells", self._name)
            self._rebuild()
            return
        self._study = study
        for outcome in held:
            del missing[outcome]
        for record in missing.values():
            self._add(study, record)

    def add(self, record: Record) -> None:
        """Add one cell that has ended since `update`; a cell that has not ended is not added."""
        assert self._study is not None, "call update first"  # noqa: S101
        if record.state is None:
            return
        earlier, self._ended[record.key] = self._ended.get(record.key), record
        if earlier is None:
            self._add(self._study, record)
        elif earlier.outcome != record.outcome:
            self._rebuild()

    def _add(self, study: optuna.Study, record: Record) -> None:
        study.add_trial(trial_of(record, self._distributions, self._details(record)))

    def _opened(self) -> optuna.Study | None:
        """Return the journal's study; None if there is none, it is damaged, or it was made for another plan."""
        if not self._file.exists():
            return None
        try:
            study = optuna.load_study(study_name=self._name, storage=journal_storage(self._file))
            if study.user_attrs.get(PLAN) == self._plan:
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
                study_name=self._name, storage=journal_storage(part), direction=self._direction
            )
            study.set_user_attr(PLAN, self._plan)
            for record in self._ended.values():
                self._add(study, record)
        self._study = optuna.load_study(study_name=self._name, storage=journal_storage(self._file))

"""What a report says about the search of an arm beside what it chose: training steps, and which settings mattered.

Importances are fANOVA's (Hutter, Hoos and Leyton-Brown, An efficient approach for assessing hyperparameter
importance, ICML 2014): the share of the variance of the values that each setting explains. Optuna's default
(PED-ANOVA) is not used: it asks what tells the best trials from the rest, which misorders settings in which trials
are spread evenly.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import TrialState

from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.study.searching.search import ArmSearch

_FEWEST_TRIALS = 8


@dataclass(frozen=True)
class SearchSummary:
    """The search of an arm.

    Attributes:
        importances: the share of the variance that each setting explains, largest first; empty where that is not
            known: without scikit-learn, with one setting, with fewer than 8 trials trained in full, or where these
            all have one value.
        history: the trials that found a better value than every earlier one: Optuna's number, from 0, and value.
        training_steps: the steps planned for all its trials and seeds, also for those that failed or stopped early;
            None for a search that is not pruned, or of which no cell is finished.
    """

    importances: Mapping[str, float] = field(default_factory=dict)
    training_steps: int | None = None
    history: tuple[tuple[int, float], ...] = ()


def summarise_search(search: ArmSearch, runs: Path) -> SearchSummary:
    """Return the summary of a search that is over."""
    steps = _training_steps(search, runs) if search.pruned else None
    return SearchSummary(_importances(search), steps, _history(search))


def _history(search: ArmSearch) -> tuple[tuple[int, float], ...]:
    found: list[tuple[int, float]] = []
    for trial in search.optuna_study.get_trials(False, (TrialState.COMPLETE,)):
        value = trial.value
        if value is not None and (
            not found or (value > found[-1][1] if search.maximise else value < found[-1][1])
        ):
            found.append((trial.number, value))
    return tuple(found)


def _importances(search: ArmSearch) -> Mapping[str, float]:
    values = [trial.value for trial in search.optuna_study.get_trials(False, (TrialState.COMPLETE,))]
    if len(search.space) < 2 or len(values) < _FEWEST_TRIALS or len({*values}) < 2:
        return {}
    if importlib.util.find_spec("sklearn") is None:
        return {}
    try:
        found = FanovaImportanceEvaluator(seed=0).evaluate(search.optuna_study)
    except RuntimeError:  # no tree sees a difference between the few trials that it is grown from
        return {}
    return {name: round(float(share), 4) for name, share in found.items()}


def _training_steps(search: ArmSearch, runs: Path) -> int | None:
    for cell in (cell for trial in search.finished for cell in trial.cells):
        folder = cell_folder(runs, cell.id)
        try:
            seen = folder.outcome().curves["samples_seen"].max() if folder.done else 0
            if seen:
                steps = seen // cell.config.train.batch_size // folder.result().epochs
                return int(steps) * sum(search.planned)
        except FusionBenchError:  # a damaged cell of a search; another tells the same
            continue
    return None

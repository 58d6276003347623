"""What Optuna's tools show of a study, in whatever storage it is."""

from __future__ import annotations

import optuna


def shown_trials(storage: optuna.storages.BaseStorage | str, name: str) -> list[tuple[object, ...]]:
    """Return everything of the trials of a study but their numbers in the storage."""
    return [
        (
            trial.number,
            trial.state,
            trial.value,
            trial.params,
            trial.distributions,
            trial.intermediate_values,
            trial.user_attrs,
            trial.datetime_start,
            trial.datetime_complete,
        )
        for trial in optuna.load_study(study_name=name, storage=storage).trials
    ]

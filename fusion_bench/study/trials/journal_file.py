"""The file of an Optuna journal as a storage of Optuna."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

PLAN = "plan"
"""The user attribute of an Optuna study that names the plan it was made for."""


def journal_storage(file: Path) -> JournalStorage:
    """Return the storage of Optuna in a journal file; nothing is written before a study is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return JournalStorage(JournalFileBackend(str(file)))

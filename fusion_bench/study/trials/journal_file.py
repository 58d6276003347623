"""The file of an Optuna journal as a storage of Optuna."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

PLAN = "plan"
"""The user attribute of an Optuna study that names the plan it was made for."""


def dashboard_command(study: Path) -> str | None:
    """Return the command that shows the trials of a study in Optuna's dashboard; None if it has no journal.

    Args:
        study: the folder of the study.
    """
    file, searches = study / "journal.log", sorted((study / "search").glob("*.log"))
    shown = file if file.is_file() else searches[0] if searches else None
    if shown is None:
        return None
    more = f"  # searches: {shlex.quote(str(study / 'search'))}/*.log" if searches else ""
    return f"optuna-dashboard {shlex.quote(str(shown))}{more}"


def journal_storage(file: Path) -> JournalStorage:
    """Return the storage of Optuna in a journal file; nothing is written before a study is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return JournalStorage(JournalFileBackend(str(file)))

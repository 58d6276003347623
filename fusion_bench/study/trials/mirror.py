"""Copies of the Optuna journals of a study in a database, where optuna-dashboard shows many studies at once.

The folders decide, the journals follow them, and the database follows the journals. Nothing is read from it but what
was copied there before. One process writes to it, the one that runs the study, so a SQLite file is enough. A database
that cannot be reached stops nothing: the copies are made when it is back, or by the next run.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import optuna
from optuna.storages import RDBStorage

from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import read_json, write_json
from fusion_bench.study.trials.database import Database
from fusion_bench.study.trials.journal_file import PLAN, journal_storage
from fusion_bench.study.trials.record import outcome_of

_OWNER = "fusion-bench study"
_BEAT_SECONDS = 10.0
_PATIENCE_SECONDS = 20.0


class JournalCopies:
    """The copies of the journals of one study; not to be used by two threads.

    Args:
        folder: the folder of the study, with ``journal.log`` and ``search``.
        database: where the copies are.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder, self._database = folder, database
        self._storage: RDBStorage | None = None
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self.added = 0

    def update(self) -> list[str]:
        """Copy what is new in the journals; return one sentence for each study that cannot be copied.

        Raises whatever the database raises; the next call begins anew.
        """
        refused = []
        try:
            for file in [self._folder / "journal.log", *sorted((self._folder / "search").glob("*.log"))]:
                with suppress(FileNotFoundError):  # not written yet
                    found = file.stat()
                    version = (found.st_ino, found.st_size, found.st_mtime_ns)
                    if self._seen.get(file) == version:
                        continue
                    problems = self._copy(file)
                    refused += problems
                    if not problems:
                        self._seen[file] = version
        except BaseException:
            self.close()
            raise
        return refused

    def close(self) -> None:
        """Close the connections; the next `update` opens others."""
        self._seen.clear()
        if self._storage is not None:
            storage, self._storage = self._storage, None
            storage.remove_session()
            storage.engine.dispose()

    def _copy(self, file: Path) -> list[str]:
        journal = journal_storage(file)
        names = [study.study_name for study in journal.get_all_studies()]
        studies = [optuna.load_study(study_name=name, storage=journal) for name in names]
        return [refused for study in studies if (refused := self._copy_study(study))]

    def _copy_study(self, source: optuna.Study) -> str:
        """Make the copy of a study hold the trials of its journal; return why that cannot be done, or nothing."""
        name, storage = source.study_name, self._opened()
        wanted = {outcome_of(trial): trial for trial in source.get_trials(deepcopy=False)}
        known = name in optuna.get_all_study_names(storage=storage)
        target = optuna.load_study(study_name=name, storage=storage) if known else self._new(source)
        if not target.user_attrs and not target.get_trials(deepcopy=False):  # made, and then interrupted
            self._sign(target, source)
        if target.user_attrs.get(_OWNER) != self._owner():
            return (
                f"the storage {self._database.shown} holds another study of the name {name!r}, which is not touched; "
                "rename this study, or name another storage"
            )
        held = [outcome_of(trial) for trial in target.get_trials(deepcopy=False)]
        same_plan = target.user_attrs.get(PLAN) == source.user_attrs.get(PLAN)
        if not same_plan or len(held) > len(set(held)) or not set(held) <= wanted.keys():
            optuna.delete_study(study_name=name, storage=storage)
            target, held = self._new(source), []
        for outcome in held:
            del wanted[outcome]
        for trial in wanted.values():
            target.add_trial(trial)
            self.added += 1
        return ""

    def _new(self, source: optuna.Study) -> optuna.Study:
        study = optuna.create_study(
            study_name=source.study_name, storage=self._opened(), direction=source.direction
        )
        self._sign(study, source)
        return study

    def _sign(self, target: optuna.Study, source: optuna.Study) -> None:
        target.set_user_attr(_OWNER, self._owner())
        target.set_user_attr(PLAN, source.user_attrs.get(PLAN))

    def _opened(self) -> RDBStorage:
        if self._storage is None:
            self._storage = self._database.open()
        return self._storage

    def _owner(self) -> str:
        """Return the name of this study's folder in the database, which the folder keeps when it is moved."""
        file = self._folder / "storage.json"
        if not file.exists():
            write_json(file, {"id": secrets.token_hex(8)})
        return str(read_json(file)["id"])


class Mirror:
    """Copies the journals of a study into a database while the study runs, in a thread of its own.

    The run waits for it only at its end, and no longer than the database makes progress.

    Args:
        folder: the folder of the study.
        database: where the copies are.
        say: shows a sentence to the user.
        beat: seconds between two looks at the journals.
    """

    def __init__(
        self, folder: Path, database: Database, say: Callable[[str], None], beat: float = _BEAT_SECONDS
    ) -> None:
        self._copies, self._database = JournalCopies(folder, database), database
        self._say, self._beat = say, beat
        self._said: set[str] = set()
        self._over = threading.Event()
        self._interrupted = False
        self._thread = threading.Thread(target=self._work, name="optuna storage", daemon=True)

    @property
    def copied(self) -> int:
        """The number of trials that were copied so far."""
        return self._copies.added

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._interrupted = kind is not None
        self._over.set()
        while self._thread.is_alive() and not self._interrupted:
            before = self._copies.added
            self._thread.join(_PATIENCE_SECONDS)
            if self._thread.is_alive() and self._copies.added == before:
                self._say_once(f"the storage {self._database.shown} does not answer; {_LATER}")
                return

    def _work(self) -> None:
        while not self._over.wait(self._beat):
            self._update("the study goes on, and the storage is brought in line when it can be reached")
        if not self._interrupted:
            self._update(_LATER)
        self._copies.close()

    def _update(self, then: str) -> None:
        try:
            refused = self._copies.update()
        except Exception as error:  # each database and driver has errors of its own
            self._say_once(f"{_problem(self._database, error)}; {then}")
        else:
            self._said -= {text for text in self._said if text not in refused}
            for text in refused:
                self._say_once(text)

    def _say_once(self, text: str) -> None:
        """Show a sentence, unless it was shown since the storage was last in line."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def copy_journals(folder: Path, database: Database) -> None:
    """Copy the journals of a study that has run into a database.

    Raises:
        FusionBenchError: the database cannot be reached or written, or holds another study of the same name.
    """
    copies = JournalCopies(folder, database)
    try:
        refused = copies.update()
    except Exception as error:  # each database and driver has errors of its own
        raise FusionBenchError(
            f"{_problem(database, error)}; the study and its report are not concerned"
        ) from error
    finally:
        copies.close()
    if refused:
        raise FusionBenchError("\n".join(refused))


_LATER = (
    "the next run of the study with the same --storage, or `fusion-bench report` with it, brings it in line"
)


def _problem(database: Database, error: BaseException) -> str:
    """Return the sentence on a database that failed, with the reason that its driver gives and without secrets."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = database.without_secrets(" ".join(str(error).split()) or type(error).__name__)
    return f"the storage {database.shown} cannot be written: {reason[:300]}"

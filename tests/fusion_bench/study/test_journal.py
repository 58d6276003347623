"""The Optuna journal follows the folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest

from fusion_bench.study.journal import Journal, Record

DONE = Record("a", 0, {"arm": "laconv", "kernel_size": 3}, 0.75, None)
FAILED = Record("b", 1, {"arm": "film", "kernel_size": None}, None, "the loss was not finite")
WAITING = Record("c", 0, {"arm": "film", "kernel_size": None}, None, None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.log"


def write(file: Path, *records: Record) -> None:
    Journal(file, "study", maximise=True).update(records)


def trials(file: Path) -> Sequence[optuna.trial.FrozenTrial]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    return optuna.load_study(study_name="study", storage=storage).trials


def test_a_cell_is_a_trial_once_it_has_ended(file: Path) -> None:
    write(file, DONE, FAILED, WAITING)
    done, failed = trials(file)
    assert (done.state.name, done.value, done.params) == ("COMPLETE", 0.75, dict(DONE.factors))
    assert (failed.state.name, failed.user_attrs["failure"]) == ("FAIL", "the loss was not finite")
    assert [(trial.user_attrs["cell"], trial.user_attrs["seed"]) for trial in (done, failed)] == [
        ("a", 0),
        ("b", 1),
    ]


def test_what_it_holds_already_is_not_added_again(file: Path) -> None:
    write(file, DONE, FAILED, WAITING)
    write(file, DONE, FAILED, WAITING)
    assert len(trials(file)) == 2
    finished = Record("c", 0, WAITING.factors, 0.5, None)
    write(file, DONE, FAILED, finished)
    assert [trial.user_attrs["cell"] for trial in trials(file)] == ["a", "b", "c"]


def test_another_plan_is_another_journal(file: Path) -> None:
    write(file, DONE, FAILED)
    write(file, DONE)
    assert [trial.user_attrs["cell"] for trial in trials(file)] == ["a"]


def test_a_damaged_journal_is_made_again(file: Path) -> None:
    write(file, DONE, FAILED)
    file.write_text(file.read_text()[:-40] + "\n{half a line\n")
    write(file, DONE, FAILED)
    assert len(trials(file)) == 2


def test_a_full_disk_is_not_taken_for_a_damaged_journal(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, DONE)
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(optuna, "create_study", full)
    with pytest.raises(OSError, match="No space left"):
        write(file, DONE, FAILED)
    assert file.read_bytes() == before

"""The Optuna journal follows the folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest

from fusion_bench.study.journal import Journal
from fusion_bench.study.trials.record import Record

DONE = Record(("a",), (0,), {"arm": "laconv", "kernel_size": 3}, 0.75, None)
FAILED = Record(("b",), (1,), {"arm": "film", "kernel_size": None}, None, "the loss was not finite")
WAITING = Record(("c",), (0,), {"arm": "film", "kernel_size": None}, None, None)


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
    finished = Record(("c",), (0,), WAITING.factors, 0.5, None)
    write(file, DONE, FAILED, finished)
    assert [trial.user_attrs["cell"] for trial in trials(file)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "now",
    [
        Record(("a",), (0,), DONE.factors, 0.5, None),
        Record(("a",), (0,), DONE.factors, None, "it died"),
        Record(("a",), (0,), DONE.factors, None, None),
    ],
    ids=["another value", "failed", "deleted"],
)
def test_an_outcome_that_was_replaced_leaves_no_trial(file: Path, now: Record) -> None:
    write(file, DONE, FAILED)
    write(file, now, FAILED)
    held = {
        trial.user_attrs["cell"]: (trial.value, trial.user_attrs.get("failure")) for trial in trials(file)
    }
    expected = {"b": (None, FAILED.failure)}
    if (now.value, now.failure) != (None, None):
        expected["a"] = (now.value, now.failure)
    assert held == expected
    assert len(trials(file)) == len(expected)


def test_a_cell_that_ends_a_second_time_replaces_its_trial(file: Path) -> None:
    journal = Journal(file, "study", maximise=True)
    journal.update([DONE, FAILED, WAITING])
    journal.add(Record(("b",), (1,), FAILED.factors, 0.25, None))
    journal.add(Record(("c",), (0,), WAITING.factors, 0.5, None))
    journal.add(Record(("c",), (0,), WAITING.factors, 0.5, None))
    assert sorted((trial.user_attrs["cell"], trial.value) for trial in trials(file)) == [
        ("a", 0.75),
        ("b", 0.25),
        ("c", 0.5),
    ]


def test_a_journal_that_holds_a_cell_twice_is_made_again(file: Path) -> None:
    write(file, DONE, FAILED)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    twice = optuna.load_study(study_name="study", storage=storage)
    twice.add_trial(twice.trials[0])
    assert len(trials(file)) == 3
    write(file, DONE, FAILED)
    assert [trial.user_attrs["cell"] for trial in trials(file)] == ["a", "b"]


def test_two_arms_that_share_a_cell_have_a_trial_each(file: Path) -> None:
    shared = Record(("a",), (0,), {"arm": "other", "kernel_size": 3}, 0.75, None)
    for _ in range(2):
        write(file, DONE, shared)
        assert [trial.params["arm"] for trial in trials(file)] == ["laconv", "other"]


def test_a_journal_is_rebuilt_whole_or_not_at_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, DONE, FAILED)
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(optuna.Study, "add_trial", full)
    with pytest.raises(OSError, match="No space left"):
        write(file, DONE, Record(("b",), (1,), FAILED.factors, 0.25, None))
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


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

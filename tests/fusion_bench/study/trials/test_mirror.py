"""A database holds the trials of the journals, and stops nothing where it cannot be reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from fusion_bench.contract import Float
from fusion_bench.errors import FusionBenchError
from fusion_bench.study.journal import Journal
from fusion_bench.study.trials.database import Database, database_of
from fusion_bench.study.trials.journal_file import journal_storage
from fusion_bench.study.trials.mirror import JournalCopies, Mirror, copy_journals
from fusion_bench.study.trials.record import Record, TrialDetails
from optuna_trials import shown_trials
from postgres_server import UNASKED, PostgresServer, postgres_server

LABELS = ("a", "b", "c", "d", "e", "f")
RECORDS = [
    Record((label,), (number,), {"arm": "laconv", "rate": 0.1**number, "kernel_size": 3}, number / 7, None)
    for number, label in enumerate(LABELS)
]
FAILED = Record(("g",), (0,), {"arm": "film", "rate": 0.1, "kernel_size": None}, None, "it was not finite")
PRUNED = Record(("h", "i"), (0, 0), {"arm": "film", "rate": 0.1, "kernel_size": 5}, 0.25, None, pruned=True)


def journal_in(folder: Path, name: str = "study", file: str = "journal.log") -> Journal:
    return Journal(
        folder / file,
        name,
        maximise=True,
        spaces={"rate": Float(1e-6, 1.0, log=True)},
        details=lambda record: TrialDetails({1: 0.5, 2: 0.75}),
    )


def planned(records: list[Record]) -> list[Record]:
    """Every record of the plan; those that are not among ``records`` have not ended."""
    ended = {record.key for record in records}
    waiting = [Record(item.cells, item.seeds, item.factors, None, None) for item in RECORDS]
    return [*records, *(item for item in waiting if item.key not in ended)]


def assert_in_line(folder: Path, database: Database, name: str = "study", file: str = "journal.log") -> None:
    storage = database.open()
    try:
        assert shown_trials(storage, name) == shown_trials(journal_storage(folder / file), name)
    finally:
        storage.engine.dispose()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return database_of(f"sqlite:///{tmp_path / 'optuna.db'}")


def test_a_copy_is_equal_to_the_journal_and_follows_it(tmp_path: Path, database: Database) -> None:
    journal, copies = journal_in(tmp_path), JournalCopies(tmp_path, database)
    journal.update(planned([RECORDS[0], FAILED, PRUNED]))
    assert copies.update() == []
    assert_in_line(tmp_path, database)
    journal.add(RECORDS[1])
    copies.update()
    assert copies.added == 4, "a trial that is there is not copied again"
    assert_in_line(tmp_path, database)
    journal.update(planned([RECORDS[2]]))  # outcomes were removed: the journal was written anew
    copies.update()
    assert_in_line(tmp_path, database)
    copies.close()


def test_searches_are_copied_under_their_own_names(tmp_path: Path, database: Database) -> None:
    journal_in(tmp_path).update(RECORDS[:2])
    journal_in(tmp_path, "study/laconv", "search/laconv.log").update(RECORDS[2:])
    copy_journals(tmp_path, database)
    assert_in_line(tmp_path, database)
    assert_in_line(tmp_path, database, "study/laconv", "search/laconv.log")


def test_a_study_of_somebody_else_is_not_touched(tmp_path: Path, database: Database) -> None:
    storage = database.open()
    theirs = optuna.create_study(study_name="study", storage=storage)
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    journal_in(tmp_path).update(RECORDS)
    with pytest.raises(FusionBenchError, match="holds another study of the name 'study'"):
        copy_journals(tmp_path, database)
    assert [trial.value for trial in theirs.trials] == [1.0]
    storage.engine.dispose()


def test_a_folder_that_was_moved_is_the_same_study(tmp_path: Path, database: Database) -> None:
    journal_in(tmp_path / "here").update(RECORDS[:2])
    copy_journals(tmp_path / "here", database)
    (tmp_path / "here").rename(tmp_path / "there")
    journal_in(tmp_path / "there").update(RECORDS)
    copy_journals(tmp_path / "there", database)
    assert_in_line(tmp_path / "there", database)


def test_a_copy_that_was_interrupted_at_its_start_is_made(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_in(tmp_path).update(RECORDS)

    def dies(*_: object) -> None:
        raise ConnectionError("the server closed the connection")

    with monkeypatch.context() as patched, pytest.raises(FusionBenchError, match="closed the connection"):
        patched.setattr(optuna.Study, "set_user_attr", dies)
        copy_journals(tmp_path, database)
    copy_journals(tmp_path, database)
    assert_in_line(tmp_path, database)


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_is_copied_while_it_goes_on_and_to_its_end(tmp_path: Path, database: Database) -> None:
    said: list[str] = []
    journal = journal_in(tmp_path)
    with Mirror(tmp_path, database, said.append, beat=0.05) as mirror:
        journal.update(planned(RECORDS[:1]))
        wait_until(lambda: mirror.copied)
        for record in RECORDS[1:]:
            journal.add(record)
    assert_in_line(tmp_path, database)
    assert said == []


def test_a_run_ends_although_the_database_cannot_be_reached(tmp_path: Path) -> None:
    said: list[str] = []
    nowhere = database_of(f"sqlite:///{tmp_path / 'no folder' / 'optuna.db'}")
    with Mirror(tmp_path, nowhere, said.append, beat=0.05):
        journal_in(tmp_path).update(RECORDS)
        wait_until(lambda: said)
    assert "the study goes on" in said[0]
    assert "the next run of the study" in said[-1]
    assert len(said) == 2, "each sentence once"


def test_a_run_does_not_wait_for_a_database_that_hangs(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    monkeypatch.setattr("fusion_bench.study.trials.mirror._PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(Database, "open", lambda self: hangs.wait(60))
    said: list[str] = []
    journal_in(tmp_path).update(RECORDS)
    with Mirror(tmp_path, database, said.append, beat=0.01):
        pass
    assert said == [said[0]]
    assert "does not answer" in said[0]
    hangs.set()


@pytest.mark.parametrize(
    "address", ["postgres", "mystery://host/name", "", "postgresql://a:sesame@host:port/name", "folder/x.db"]
)
def test_an_address_that_is_none_is_told_and_not_shown(address: str) -> None:
    with pytest.raises(FusionBenchError, match="is not the address of a database") as raised:
        database_of(address)
    assert "sesame" not in str(raised.value)


def test_a_driver_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FusionBenchError, match="pip install oracledb") as raised:
        database_of("oracle+oracledb://scott:tiger@host/name")
    assert "tiger" not in str(raised.value)


def test_a_password_is_in_no_text_of_a_database() -> None:
    database = database_of("sqlite://user:sesame@/file.db?password=sesame")
    texts = [repr(database), str(database), database.shown]
    texts.append(database.without_secrets(f"could not open {database.url.render_as_string(False)}: sesame"))
    assert not [text for text in texts if "sesame" in text]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as found:
        yield found


@pytest.mark.slow
def test_postgresql_is_stopped_and_started_in_mid_study(tmp_path: Path, server: PostgresServer) -> None:
    said: list[str] = []
    database, journal = database_of(server.address), journal_in(tmp_path)
    with Mirror(tmp_path, database, said.append, beat=0.1) as mirror:
        journal.update(planned([RECORDS[0], FAILED, PRUNED]))
        wait_until(lambda: mirror.copied == 3)
        server.stop()
        journal.add(RECORDS[1])
        wait_until(lambda: said)
        server.start()
        journal.add(RECORDS[2])
        wait_until(lambda: mirror.copied == 5)
        for record in RECORDS[3:]:
            journal.add(record)
    assert_in_line(tmp_path, database)
    assert [text for text in said if "the study goes on" not in text] == []
    # A server that stays away is brought in line later.
    server.stop()
    journal_in(tmp_path).update([*RECORDS, FAILED])
    with Mirror(tmp_path, database, said.append, beat=0.1):
        pass
    assert "the next run of the study" in said[-1]
    server.start()
    copy_journals(tmp_path, database)
    assert_in_line(tmp_path, database)
    written = [*said, *(file.read_text() for file in tmp_path.rglob("*") if file.is_file())]
    assert not [text for text in written if UNASKED in text or "sesame" in text]

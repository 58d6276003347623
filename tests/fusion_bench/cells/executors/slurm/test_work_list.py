"""What pilots and coordinator tell each other survives half lines, noise and files that are not there."""

from __future__ import annotations

from pathlib import Path

from fusion_bench.cells.events import CellSilent, CellStarted
from fusion_bench.cells.executors.slurm.work_list import (
    EventReader,
    EventWriter,
    PilotEnded,
    WorkFolder,
    WorkList,
)


def test_a_list_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder, work = WorkFolder(tmp_path), WorkList("s", 2, "cell", ("a", "b"), (0, 1))
    assert folder.read() is None
    folder.write(work)
    assert folder.read() == work
    (tmp_path / "list.json").write_text('{"session": 3}')
    assert folder.read() is None


def test_a_list_that_one_pilot_serves_is_served_once(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    first, second = WorkList("s", 1, "prepare", ("a",)), WorkList("s", 2, "measure", ("a",))
    assert not folder.is_served(first)
    folder.mark_served(first)
    assert folder.is_served(first)
    assert not folder.is_served(second)


def test_only_new_whole_lines_are_read_and_noise_is_left_out(tmp_path: Path) -> None:
    folder, work = WorkFolder(tmp_path), WorkList("s", 1, "cell")
    EventWriter(folder, "1").write(CellStarted("before"), work)
    reader, writer = EventReader(folder), EventWriter(folder, "2")
    assert list(reader.new()) == []
    writer.write(CellStarted("a"), work)
    (file,) = folder.events.glob("2-*")
    with file.open("ab") as out:
        out.write(b"s-1\tno event\n\xff\n\ts-1\tPilotEnded [\n" + b's-1\t{"event": "CellSilent", "ce')
    assert list(reader.new()) == [("s-1", CellStarted("a"))]
    with file.open("ab") as out:
        out.write(b'll": "a", "seconds": 300.0}\n')
    writer.write(PilotEnded("why", fault=True))
    assert list(reader.new()) == [("s-1", CellSilent("a", 300.0)), ("", PilotEnded("why", True))]
    assert list(reader.new()) == []


def test_a_disk_that_takes_nothing_costs_the_events_alone(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("no folder")
    EventWriter(WorkFolder(tmp_path), "1").write(CellStarted("a"))

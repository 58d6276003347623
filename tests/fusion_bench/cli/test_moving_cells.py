"""``plan``, ``cells ls`` and ``report`` are right at every moment while another process writes the cells."""

from __future__ import annotations

import errno
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command_line import CommandLine, train
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import CellFolder
from fusion_bench.cells.held_cell import held
from fusion_bench.lease import Lease
from fusion_bench.study.run import study_folder
from toys import study_file


@contextmanager
def written(folders: list[CellFolder]) -> Iterator[threading.Event]:
    """Write the outcomes of cells again and again while the block runs: put aside, failed, finished."""
    outcomes, ended, written_once = (
        [folder.outcome() for folder in folders],
        threading.Event(),
        threading.Event(),
    )

    def write() -> None:
        for folder, outcome in itertools.cycle(zip(folders, outcomes, strict=True)):
            with held(folder) as cell:
                cell.set_aside()
                cell.fail(Failure("for a moment"))
                cell.finish(outcome)
            written_once.set()
            if ended.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written_once
    finally:
        ended.set()
        writer.join()


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_what_is_read_while_it_is_written_is_whole(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, runs = study_file(tmp_path), tmp_path / "runs"
    result = train(file, runs)
    folders = [CellFolder(runs / "cells" / cell.id) for cell in result.cells]
    where = ("--runs", runs)
    with Lease(study_folder(runs, "toy")) as lease, written(folders) as begun:  # a run is going on
        assert begun.wait(60)
        for _ in range(2):
            said = cli("plan", file, *where, "--json")
            found = json.loads(said.out)
            assert (said.code, found["states"]["stale"], found["data_problems"]) == (0, 0, [])
            assert sum(found["states"].values()) == len(folders)
            listed = cli("cells", "ls", file, *where, "--json")
            assert {cell["state"] for cell in json.loads(listed.out)["cells"]} <= {
                "done",
                "failed",
                "missing",
            }
            said = cli("report", file, *where)
            assert said.code == 0 or "no cell of the study" in said.refusal()
        lease.check()
        assert (runs / "cells" / result.cells[0].id / "replaced" / "1").exists()
    said = cli("report", file, *where)
    assert f"Report: {study_folder(runs, 'toy') / 'report' / 'report.md'}" in said.out

    for name in ("mkdir", "touch", "rename", "replace", "unlink"):  # a file system that takes no writes
        monkeypatch.setattr(Path, name, refuse)
    assert json.loads(cli("plan", file, *where, "--json").out)["states"]["done"] == len(folders)
    for command in (("report", file), ("run", file), ("cells", "clean", file, "--yes")):
        assert "Read-only file system; finished cells are kept" in cli(*command, *where).refusal()

"""Finished cells go from one runs folder into another; what is there stays, and every reason is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fusion_bench.cells.folder import CellFolder, cell_folder, cell_folders
from fusion_bench.cells.held_cell import held
from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import read_json, write_json
from fusion_bench.study.folders.merge import merge_cells
from held_cells import fail_cell


@pytest.fixture
def source(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "source"))


def cells(runs: Path) -> list[CellFolder]:
    return list(cell_folders(runs))


def change(cell: CellFolder, name: str, **values: object) -> None:
    write_json(cell.path / name, {**read_json(cell.path / name), **values})


def test_finished_cells_are_copied_and_are_there_the_next_time(source: Path, tmp_path: Path) -> None:
    failed, *finished = cells(source)
    (failed.path / "DONE").unlink()
    fail_cell(failed, "it did not end")
    fail_cell(cell_folder(tmp_path / "runs", finished[0].id), "here it did not end")
    found = merge_cells(source, tmp_path / "runs")
    assert set(found.copied) == {cell.id for cell in finished}
    assert (found.unfinished, found.conflicts, found.refused, found.mixed) == (1, {}, {}, "")
    for cell in finished:
        own = cell_folder(tmp_path / "runs", cell.id)
        assert own.failure is None
        assert own.result() == cell.result()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [
        "cells"
    ]  # nothing half copied, no caches
    assert set(merge_cells(source, tmp_path / "runs").equal) == {cell.id for cell in finished}


@pytest.mark.parametrize(
    ("name", "values", "difference"),
    [
        (
            "provenance.json",
            {"numerics": "0", "torch": "1.0"},
            "its harness's numerics differs, version of torch differs",
        ),
        ("provenance.json", {"data": "0"}, "its data differs"),
        (
            "result.json",
            {"epochs": 1, "best_epoch": 1},
            "its values differ although its sources are the same",
        ),
        ("provenance.json", {"platform": "another", "device": "another", "python": "2"}, ""),
    ],
)
def test_another_result_is_kept_and_told(
    source: Path, tmp_path: Path, name: str, values: dict[str, object], difference: str
) -> None:
    runs = Path(shutil.copytree(source, tmp_path / "runs"))
    theirs, *_ = cells(source)
    change(theirs, name, **values)
    before = (cell_folder(runs, theirs.id).path / name).read_bytes()
    found = merge_cells(source, runs)
    assert found.conflicts == ({theirs.id: difference} if difference else {})
    assert len(found.equal) == (3 if difference else 4)
    assert (cell_folder(runs, theirs.id).path / name).read_bytes() == before


def test_a_damaged_or_busy_cell_stops_no_other(source: Path, tmp_path: Path) -> None:
    damaged, busy, linked, good = cells(source)
    (damaged.path / "samples.parquet").write_bytes(b"half")
    (linked.path / "curves.parquet").unlink()
    (linked.path / "curves.parquet").symlink_to(good.path / "curves.parquet")
    with held(cell_folder(tmp_path / "runs", busy.id)):
        found = merge_cells(source, tmp_path / "runs")
    assert found.copied == (good.id,)
    assert "is damaged" in found.refused[damaged.id]
    assert "is being trained right now" in found.refused[busy.id]
    assert "is a link" in found.refused[linked.id]
    assert not cell_folder(tmp_path / "runs", damaged.id).done


def test_cells_of_another_kind_are_told(source: Path, tmp_path: Path) -> None:
    first, *others = cells(source)
    runs = tmp_path / "runs"
    shutil.copytree(first.path, cell_folder(runs, first.id).path)
    for cell in others:
        change(cell, "provenance.json", device_kind="cuda")
    found = merge_cells(source, runs)
    assert len(found.copied) == 3
    assert ", cuda; there before: 1 with torch" in found.mixed


def test_what_is_no_runs_folder_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match="has no folder 'cells'"):
        merge_cells(tmp_path, tmp_path / "runs")
    with pytest.raises(FusionBenchError, match="are the same folder"):
        merge_cells(source, source / "cells" / "..")

"""Cells are removed that a filter chooses, and none that another process, a run or another study needs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from command_line import paths_of
from fusion_bench.cells.folder import CellFolder, cell_folder, cell_folders
from fusion_bench.cells.held_cell import held
from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import Lease
from fusion_bench.spec.load import read_study
from fusion_bench.storage import read_json, write_json
from fusion_bench.study.cell_status import cell_statuses
from fusion_bench.study.folders.clean import CellFilter, Cleaning, NamedCells, choose_cells, remove_cells
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.run import study_folder
from fusion_bench.training.paths import RunPaths
from held_cells import fail_cell
from toys import study_file

EVERYTHING = CellFilter(days=0)


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def cells(runs: Path) -> list[CellFolder]:
    return list(cell_folders(runs))


def chosen(runs: Path, wanted: CellFilter, study: NamedCells | None = None) -> Cleaning:
    return choose_cells(wanted, study, RunPaths(runs, {}, {}))


def ids(found: Cleaning) -> set[str]:
    return {cell.folder.id for cell in found.chosen}


def toy(runs: Path) -> NamedCells:
    study = read_study(study_file(runs.parent / "file"))
    statuses = cell_statuses(confirm_cells(study.arms, study.seeds), paths_of(study, runs))
    return NamedCells(frozenset({"toy"}), {item.cell.id: item for item in statuses})


def plan_of(runs: Path, name: str, named: list[CellFolder]) -> None:
    """Write the plan of another study."""
    plan = read_json(study_folder(runs, "toy") / "plan.json")
    rows = [row for row in plan["cells"] if row["cell"] in {folder.id for folder in named}]
    write_json(study_folder(runs, name) / "plan.json", {**plan, "study": name, "cells": rows})


def make_stale(folder: CellFolder) -> None:
    write_json(folder.path / "provenance.json", {**read_json(folder.path / "provenance.json"), "module": "0"})


def test_a_state_chooses_and_every_byte_counts(runs: Path) -> None:
    stale, failed, _, done = cells(runs)
    make_stale(stale)
    (failed.path / "DONE").unlink()
    fail_cell(failed, "it did not end")
    assert ids(chosen(runs, CellFilter(stale=True))) == {stale.id}
    assert ids(chosen(runs, CellFilter(failed=True))) == {failed.id}
    both = chosen(runs, CellFilter(stale=True, failed=True))
    assert {cell.state for cell in both.chosen} == {"stale", "failed"}
    size = sum(
        file.stat().st_size for cell in (stale, failed) for file in cell.path.rglob("*") if file.is_file()
    )
    assert sum(cell.size for cell in both.chosen) == size
    assert [folder.path.exists() for folder in cells(runs)] == [True] * 4  # choosing removes nothing
    removed = remove_cells(both.chosen, runs)
    assert ids(removed) == {stale.id, failed.id}
    assert {folder.id for folder in cells(runs)} == {folder.id for folder in (_, done)}
    assert not [*runs.glob(".removed-*")]


def test_a_study_may_compare_its_cells_with_each_other(runs: Path) -> None:
    other = cells(runs)[0]
    recorded = read_json(other.path / "provenance.json")
    write_json(other.path / "provenance.json", {**recorded, "torch": "1.0"})
    assert ids(chosen(runs, CellFilter(stale=True))) == set()
    assert ids(chosen(runs, CellFilter(stale=True), toy(runs))) == {other.id}


def test_the_age_is_that_of_the_newest_file(runs: Path) -> None:
    old, touched, *_ = cells(runs)
    long_ago = time.time() - 10 * 86400
    for folder in (old, touched):
        for file in folder.path.iterdir():
            os.utime(file, (long_ago, long_ago))
    (touched.path / "samples.parquet").touch()
    assert ids(chosen(runs, CellFilter(days=5))) == {old.id}
    assert ids(chosen(runs, CellFilter(days=11))) == set()
    assert len(ids(chosen(runs, EVERYTHING))) == 4


def test_cells_that_no_plan_names_any_more(runs: Path) -> None:
    first, second, *_ = cells(runs)
    plan_of(runs, "other", [second])
    plan_of(runs, "toy", [first])
    left = {folder.id for folder in cells(runs)} - {first.id, second.id}
    assert ids(chosen(runs, CellFilter(unplanned=True))) == left
    (study_folder(runs, "other") / "plan.json").write_text("{")
    with pytest.raises(FusionBenchError, match="is not JSON"):
        chosen(runs, CellFilter(unplanned=True))


def test_a_cell_that_another_study_names_is_kept_unless_asked_for(runs: Path) -> None:
    shared = cells(runs)[0]
    plan_of(runs, "other", [shared])
    found = chosen(runs, CellFilter(), toy(runs))
    assert shared.id not in ids(found) and len(found.chosen) == 3
    assert dict(found.kept) == {"that another study names": 1}
    assert len(chosen(runs, CellFilter(shared=True), toy(runs)).chosen) == 4


def test_what_a_process_holds_is_never_removed(runs: Path) -> None:
    taken, late, *_ = cells(runs)
    with held(taken):
        found = chosen(runs, EVERYTHING)
        assert taken.id not in ids(found) and dict(found.kept) == {"held by a process": 1}
        with held(late):  # since it was chosen
            removed = remove_cells(found.chosen, runs)
        assert late.done and taken.done
        assert (len(removed.chosen), dict(removed.kept)) == (2, {"held by a process": 1})


def test_the_cells_of_a_study_that_is_being_run_are_kept(runs: Path) -> None:
    with Lease(study_folder(runs, "toy")):
        found = chosen(runs, EVERYTHING)
        assert ids(found) == set()
        assert dict(found.kept) == {"of a study that is being run": 4}
    begun = cell_folder(runs, "begun")  # a pilot has no plan
    begun.path.mkdir()
    (begun.path / "config.json").write_text("{}")
    assert dict(chosen(runs, CellFilter(unplanned=True)).kept) == {
        "without a result that a run may be about to train (begun less than a day ago)": 1
    }


def test_what_an_interrupted_removal_left_goes_with_the_next_one(runs: Path) -> None:
    left = runs / ".removed-abc" / "cell"
    left.mkdir(parents=True)
    remove_cells((), runs)
    assert not left.parent.exists()

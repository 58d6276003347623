"""The counts that end a run: every planned cell once, whatever became of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import train
from fusion_bench.cells.folder import cell_folder
from fusion_bench.study.counts import CellCounts, count_cells
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file


@pytest.mark.parametrize(
    ("counts", "line", "complete"),
    [
        (CellCounts(done=24), "24 of 24 cells done", True),
        (CellCounts(done=8, failed=16), "8 of 24 cells done, 16 failed", False),
        (CellCounts(failed=2), "0 of 2 cells done, 2 failed", False),
        (CellCounts(1, 0, 2, 3), "1 of 6 cells done, 2 stale, 3 without a result", False),
        (CellCounts(1200, trials=40), "1,200 of 1,200 cells done", True),
        (CellCounts(4, trials=6, failed_trials=1), "4 of 4 cells done; 1 of 6 search cells failed", True),
    ],
)
def test_the_line_counts_what_has_no_result(counts: CellCounts, line: str, complete: bool) -> None:
    assert (str(counts), counts.complete) == (line, complete)


def test_cells_are_counted_by_their_folders(tmp_path: Path) -> None:
    text = STUDY.replace('"toys:Product", gain: 0.5', '"toys:Explodes"')
    search = "search: {trials: 2, space: {gain: [1.0, 1.0e+300]}}\n"
    ran = train(study_file(tmp_path, text + search), tmp_path / "runs")
    paths = RunPaths(tmp_path / "runs", {}, {})
    counts = count_cells([ran], paths)
    # A trial whose loss overflows fails; every trial of an arm that fails abandons the arm.
    assert (counts.done, counts.failed, counts.stale, counts.missing) == (2, 2, 0, 0)
    assert (counts.trials, counts.failed_trials) == (4, 3)
    assert count_cells([ran], paths, {"weaker"}).complete
    (first, *_) = (cell for cell in ran.cells if cell.arm == "product")
    (cell_folder(paths.runs, first.id).path / "DONE").unlink()
    assert count_cells([ran, ran], paths, {"weaker"}) == CellCounts(2, missing=2, trials=2, failed_trials=1)

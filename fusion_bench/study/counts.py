"""How many cells of a run have a result: the last line of ``fusion-bench run``, which decides its exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fusion_bench.cells.current_inputs import CurrentInputs
from fusion_bench.cells.folder import cell_folder
from fusion_bench.study.cell_status import CellStatus, cell_statuses
from fusion_bench.study.run import RunResult
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class CellCounts:
    """The cells that are compared, by state, and the cells of the searches before them.

    Attributes:
        done: cells with a result.
        failed: cells that failed.
        stale: cells whose result is of other sources, data or weights than today's.
        missing: cells without result or failure: another run trains them, or the disk is full.
        trials: cells of searches.
        failed_trials: those of them that failed; the search chose among the others.
    """

    done: int = 0
    failed: int = 0
    stale: int = 0
    missing: int = 0
    trials: int = 0
    failed_trials: int = 0

    @property
    def complete(self) -> bool:
        """True if every cell that is compared has a result."""
        return not (self.failed or self.stale or self.missing)

    def __str__(self) -> str:
        left = {"failed": self.failed, "stale": self.stale, "without a result": self.missing}
        others = "".join(f", {count:,} {state}" for state, count in left.items() if count)
        planned = self.done + sum(left.values())
        trials = (
            f"; {self.failed_trials:,} of {self.trials:,} search cells failed" if self.failed_trials else ""
        )
        return f"{self.done:,} of {planned:,} cells done{others}{trials}"


def count_cells(runs: Iterable[RunResult], paths: RunPaths, ignored: Collection[str] = ()) -> CellCounts:
    """Count the cells of the runs of a study and its contexts.

    Args:
        runs: what each run left.
        paths: where the cells lie.
        ignored: labels of arms that are not counted.
    """
    states: Counter[str] = Counter()
    inputs = CurrentInputs(paths)  # contexts mostly share data and backbone
    searched = set()
    for ran in runs:
        cells = [cell for cell in ran.cells if cell.arm not in ignored]
        states.update(status.state for status in cell_statuses(cells, paths, inputs))
        searched |= {cell.id for cell in ran.search.search_cells if cell.arm not in ignored}
    failed = sum(cell_folder(paths.runs, cell).failure is not None for cell in searched)
    return CellCounts(
        states["done"], states["failed"], states["stale"], states["missing"], len(searched), failed
    )


def count_statuses(statuses: Iterable[CellStatus]) -> CellCounts:
    """Count the cells of studies without a search."""
    states = Counter(status.state for status in statuses)
    return CellCounts(states["done"], states["failed"], states["stale"], states["missing"])

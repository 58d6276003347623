"""Writes the end of a cell as the worker that holds it does."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import CellFolder
from fusion_bench.cells.held_cell import held
from fusion_bench.cells.result import Outcome


def finish_cell(folder: CellFolder, outcome: Outcome, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write an outcome."""
    with held(folder) as cell:
        cell.finish(outcome, weights)


def fail_cell(folder: CellFolder, reason: str, details: str = "") -> None:
    """Record a failure."""
    with held(folder) as cell:
        cell.fail(Failure(reason, details))

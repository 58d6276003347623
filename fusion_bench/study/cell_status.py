"""The state of each cell, from its folder and from today's source code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.provenance import changed_sources, current_sources
from fusion_bench.cells.warm_start import starting_digest
from fusion_bench.study.plan import PlannedCell
from fusion_bench.training.paths import RunPaths

CellState = Literal["missing", "running", "done", "failed", "stale"]


@dataclass(frozen=True)
class CellStatus:
    """The state of a cell, and the reason if it failed or is stale.

    ``missing`` cells have no result yet; ``stale`` ones have a result of other sources, data or weights than today's.
    """

    cell: PlannedCell
    state: CellState
    reason: str = ""


def cell_status(cell: PlannedCell, paths: RunPaths) -> CellStatus:
    """Return the state of a cell, from its folder and today's source code."""
    if cell.abandoned:
        return CellStatus(cell, "failed", cell.abandoned)
    folder = cell_folder(paths.runs, cell.id)
    if folder.done:
        provenance = folder.provenance()
        changed = changed_sources(provenance, current_sources(cell.config))
        if changed:
            return CellStatus(cell, "stale", f"{_describe(changed)} changed since it was trained")
        start = starting_digest(cell.config, paths.runs)
        if start and start != provenance.start:
            return CellStatus(cell, "stale", "the weights that it starts from changed since it was trained")
        return CellStatus(cell, "done")
    reason = folder.failure
    return CellStatus(cell, "failed", reason) if reason is not None else CellStatus(cell, "missing")


def comparable(statuses: Sequence[CellStatus], paths: RunPaths) -> tuple[CellStatus, ...]:
    """Return the statuses with those done cells marked as stale whose provenance differs from that of most others.

    Cells of a CPU and of a GPU, of two versions of torch or of two states of the data are never compared.
    """
    fingerprints = {
        status.cell.id: cell_folder(paths.runs, status.cell.id).provenance().fingerprint
        for status in statuses
        if status.state == "done"
    }
    if len(set(fingerprints.values())) < 2:
        return tuple(statuses)
    usual, _ = Counter(fingerprints.values()).most_common(1)[0]
    return tuple(
        replace(
            status,
            state="stale",
            reason=f"trained under {fingerprints[status.cell.id]}; most cells under {usual}",
        )
        if fingerprints.get(status.cell.id, usual) != usual
        else status
        for status in statuses
    )


def _describe(changed: Sequence[str]) -> str:
    names = {
        "module": "the module's source",
        "numerics": "the harness's numerics",
        "data": "the data",
    }
    return ", ".join(names.get(name, name) for name in changed)

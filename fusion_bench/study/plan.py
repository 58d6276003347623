"""From a study to its cells, and where each of them stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.provenance import differences, expected_provenance, fingerprint
from fusion_bench.cells.warm_start import starting_digest
from fusion_bench.spec.arms import Arm, Role
from fusion_bench.storage import write_json
from fusion_bench.training.config import CellConfig, Json
from fusion_bench.training.paths import RunPaths

Purpose = Literal["confirm", "search"]
CellState = Literal["missing", "done", "failed", "stale"]


@dataclass(frozen=True)
class PlannedCell:
    """One arm with one seed; ``drawn`` holds what a search drew for it, ``abandoned`` why it is not trained."""

    arm: str
    role: Role
    seed: int
    purpose: Purpose
    config: CellConfig
    drawn: Mapping[str, Json] = field(default_factory=dict)
    abandoned: str = ""

    @property
    def id(self) -> str:
        """The cell's identity, of which the label is no part."""
        return self.config.id


@dataclass(frozen=True)
class CellStatus:
    """Where a cell stands, and why if it failed or is stale."""

    cell: PlannedCell
    state: CellState
    reason: str = ""


def confirm_cells(arms: Sequence[Arm], seeds: Sequence[int]) -> tuple[PlannedCell, ...]:
    """Every arm with every seed, seed by seed: whatever is interrupted leaves paired results behind."""
    return tuple(
        PlannedCell(
            arm.label, arm.role, seed, "confirm", replace(arm.config, seed=seed), abandoned=arm.abandoned
        )
        for seed in seeds
        for arm in arms
    )


def cell_status(cell: PlannedCell, paths: RunPaths) -> CellStatus:
    """Where a cell stands, judged by its folder and today's source."""
    if cell.abandoned:
        return CellStatus(cell, "failed", cell.abandoned)
    folder = cell_folder(paths.runs, cell.id)
    if folder.done:
        changed = differences(folder.provenance(), expected_provenance(cell.config))
        if changed:
            return CellStatus(cell, "stale", f"{_named(changed)} changed since it was trained")
        start = starting_digest(cell.config, paths.runs)
        if start and start != folder.provenance().get("start"):
            return CellStatus(cell, "stale", "the weights that it starts from changed since it was trained")
        return CellStatus(cell, "done")
    reason = folder.failure
    return CellStatus(cell, "failed", reason) if reason is not None else CellStatus(cell, "missing")


def comparable(statuses: Sequence[CellStatus], paths: RunPaths) -> tuple[CellStatus, ...]:
    """Mark as stale the done cells whose circumstances differ from those of most others.

    Cells of a CPU and of a GPU, of two versions of torch or of two states of the data are never paired.
    """
    prints = {
        status.cell.id: fingerprint(cell_folder(paths.runs, status.cell.id).provenance())
        for status in statuses
        if status.state == "done"
    }
    if len(set(prints.values())) < 2:
        return tuple(statuses)
    usual, _ = Counter(prints.values()).most_common(1)[0]
    return tuple(
        replace(item, state="stale", reason=f"trained under {prints[item.cell.id]}; most cells under {usual}")
        if prints.get(item.cell.id, usual) != usual
        else item
        for item in statuses
    )


def _named(changed: Sequence[str]) -> str:
    names = {
        "module": "the module's source",
        "numerics": "the harness's numerics",
        "data": "the data",
    }
    return ", ".join(names.get(name, name) for name in changed)


def write_plan(file: Path, study: str, cells: Sequence[PlannedCell]) -> None:
    """Write ``plan.json``: arm labels, roles, seeds and cell ids, in the order of training."""
    write_json(file, {"study": study, "cells": [plan_row(cell) for cell in cells]})


def plan_row(cell: PlannedCell) -> dict[str, Any]:
    """A planned cell as JSON."""
    return {
        "arm": cell.arm,
        "role": cell.role,
        "seed": cell.seed,
        "purpose": cell.purpose,
        "cell": cell.id,
        **({"drawn": dict(cell.drawn)} if cell.drawn else {}),
    }


def ask_all(cells: Sequence[PlannedCell], runs: Path) -> None:
    """Write every cell's ``config.json``."""
    for cell in cells:
        cell_folder(runs, cell.id).ask(cell.config)

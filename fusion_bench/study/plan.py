"""The plan of a study: one cell for each arm and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.arms import Arm, Role, settings_of
from fusion_bench.storage import write_json
from fusion_bench.training.config import CellConfig, Json

Purpose = Literal["confirm", "search"]


@dataclass(frozen=True)
class PlannedCell:
    """One arm with one seed.

    Attributes:
        arm, role: the arm's label and role.
        seed: the seed.
        purpose: ``confirm`` for the study's own seeds, ``search`` for a trial of a search.
        config: what the cell trains.
        factor_names: the settings by which its arm, or its trial, is told from others (`Arm.factor_names`).
        drawn: the settings that a search drew for this trial.
        abandoned: why the cell is not trained; empty if it is.
    """

    arm: str
    role: Role
    seed: int
    purpose: Purpose
    config: CellConfig
    factor_names: tuple[str, ...] = ()
    drawn: Mapping[str, Json] = field(default_factory=dict)
    abandoned: str = ""

    @property
    def id(self) -> str:
        """The id of the cell, which does not depend on the arm's label."""
        return self.config.id

    @property
    def factors(self) -> dict[str, Json]:
        """The values of ``factor_names`` that the cell trains with."""
        return settings_of(self.config, self.factor_names)


def confirm_cells(arms: Sequence[Arm], seeds: Sequence[int]) -> tuple[PlannedCell, ...]:
    """Return every arm with every seed, seed by seed, so that an interrupted run leaves paired results."""
    return tuple(
        PlannedCell(
            arm.label,
            arm.role,
            seed,
            "confirm",
            replace(arm.config, seed=seed),
            arm.factor_names,
            abandoned=arm.abandoned,
        )
        for seed in seeds
        for arm in arms
    )


def write_plan(file: Path, study: str, cells: Sequence[PlannedCell]) -> None:
    """Write ``plan.json``: arm labels, roles, seeds and cell ids, in the order of training."""
    write_json(file, {"study": study, "cells": [plan_row(cell) for cell in cells]})


def plan_row(cell: PlannedCell) -> dict[str, Any]:
    """Return a planned cell as JSON."""
    return {
        "arm": cell.arm,
        "role": cell.role,
        "seed": cell.seed,
        "purpose": cell.purpose,
        "cell": cell.id,
        **({"drawn": dict(cell.drawn)} if cell.drawn else {}),
    }


def write_configs(cells: Sequence[PlannedCell], runs: Path) -> None:
    """Write the ``config.json`` of every cell."""
    for cell in cells:
        cell_folder(runs, cell.id).write_config(cell.config)

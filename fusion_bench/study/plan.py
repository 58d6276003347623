"""The plan of a study: one cell for each arm and seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.arms import Arm, Role, settings_of
from fusion_bench.spec.study import Study
from fusion_bench.statistics.sequential import Stages
from fusion_bench.storage import digest, write_json
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

    @cached_property
    def id(self) -> str:
        """The id of the cell, which does not depend on the arm's label; hashed once, because a run asks often."""
        return self.config.id

    @property
    def factors(self) -> dict[str, Json]:
        """The values of ``factor_names`` that the cell trains with."""
        return settings_of(self.config, self.factor_names)


def confirm_cells(
    arms: Sequence[Arm], seeds: Sequence[int], counts: Mapping[str, int] | None = None
) -> tuple[PlannedCell, ...]:
    """Return every arm with every seed, seed by seed, so that an interrupted run leaves paired results.

    Args:
        arms: the arms.
        seeds: the seeds.
        counts: how many of the seeds, from the first, each arm has, by label; None for all of them.
    """
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
        for place, seed in enumerate(seeds)
        for arm in arms
        if counts is None or place < counts[arm.label]
    )


@dataclass(frozen=True)
class AskedSeeds:
    """The seeds that a study with looks has asked for.

    Attributes:
        stages: its looks.
        counts: how many of the study's seeds, from the first, each arm and control has, by label.
    """

    stages: Stages
    counts: Mapping[str, int]


def file_name(label: str) -> str:
    """Return a name for a file of an arm: plain letters and digits of its label, and a digest of the whole label.

    A label may have any length and any script; the name has at most 49 characters and suits every file system.
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")[:40]
    return f"{plain}-{digest(label, 8)}".lstrip("-")


def write_plan(file: Path, study: Study, roots: Mapping[str, Path], cells: Sequence[PlannedCell]) -> None:
    """Write ``plan.json``: the study file, how it was read, and its cells, seed by seed.

    Args:
        file: the path of ``plan.json``.
        study: the study.
        roots: the folders of its data sets; those that the study file does not name are kept.
        cells: its cells: arm labels, roles, seeds and ids.
    """
    plan = {
        "study": study.name,
        "file": str(study.path.resolve()),
        "overrides": list(study.overrides),
        "text_digest": study.text_digest,
        "data": {name: str(root) for name, root in roots.items() if study.roots.get(name) != root},
        "cells": [plan_row(cell) for cell in cells],
    }
    write_json(file, plan)


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

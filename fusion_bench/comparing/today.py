"""The sources of a study's cells if they were trained now, for the check before anything is trained."""

from __future__ import annotations

import platform
from dataclasses import replace

import numpy as np
import timm
import torch

from fusion_bench.cells.provenance import device_name, numerics_digest
from fusion_bench.comparing.origins import (
    BUDGET,
    DATA,
    DEVICE_KIND,
    METRIC,
    NO_BUDGET,
    NUMERICS,
    REFERENCE_SEEDS,
    SEARCHED,
    SEEDS,
    WEIGHTS,
    Origin,
    budget_text,
    is_plain,
    known_values,
    searched_text,
    seeds_text,
)
from fusion_bench.comparing.surroundings import ArmSettings
from fusion_bench.spec.budget import UNITS
from fusion_bench.spec.study import Search, Study
from fusion_bench.study.plan import confirm_cells
from fusion_bench.training.inputs import open_data, weights_file_digest
from fusion_bench.training.paths import RunPaths


def origin_of_study(study: Study, search: Search | None, paths: RunPaths) -> Origin:
    """Return what the cells of a study would be made from, but for the data; nothing is made or read.

    Args:
        study: the study, or a context of one.
        search: the search of the study itself, whose choices its contexts share.
        paths: where its weights lie, and on what device it will be trained.
    """
    ranked = [arm for arm in study.arms if arm.role != "control"]
    searched = () if search is None else [key for arm in ranked for key in search.space_of(arm)]
    budget = NO_BUDGET
    if study.budget is not None:
        budget = budget_text(UNITS[study.budget.match], study.budget.target, study.budget.tolerance)
    same_text = [arm for arm in ranked if "text.encoder" not in arm.factor_names] or ranked
    kept = {
        METRIC: [f"{study.primary_split} {study.primary}"],
        SEEDS: [seeds_text(study.seeds[: study.fewest_seeds])],
        REFERENCE_SEEDS: [] if study.arm_seeds is None else [seeds_text(study.seeds)],
        BUDGET: [budget],
        SEARCHED: [searched_text((*searched, *(key for arm in ranked for key in arm.searched)))],
        NUMERICS: [numerics_digest(arm.config) for arm in same_text],
        WEIGHTS: [weights_file_digest(arm.config, paths) for arm in ranked],
        DEVICE_KIND: [torch.device(paths.device).type],
    }
    arms = {arm.label: ArmSettings(arm.config, frozenset(arm.factor_names)) for arm in ranked}
    ids = frozenset() if search is not None else asked_cells(study)
    return Origin(f"the study {study.name}", known_values(kept), arms, {}, ids, _versions(paths.device))


def asked_cells(study: Study) -> frozenset[str]:
    """Return the ids of the cells of a study without a search whose arms differ in their modules alone."""
    plain = [arm for arm in study.arms if is_plain(arm.factor_names, arm.searched)]
    return frozenset(cell.id for cell in confirm_cells(plain, study.seeds, study.seed_counts))


def with_data(origin: Origin, study: Study, paths: RunPaths) -> Origin:
    """Return the same with the data; built-in data are made, other data are looked at.

    Raises:
        FusionBenchError: the data cannot be made or found.
    """
    data = known_values({DATA: [open_data(study.data, paths).manifest()]})
    return replace(origin, kept={**data, **origin.kept})


def _versions(device: str) -> dict[str, frozenset[str]]:
    """Return versions and machine; the name of a GPU that this host does not have is not known."""
    here = torch.device(device).type == "cpu" or torch.cuda.is_available()
    values = {
        "torch": torch.__version__,
        "timm": timm.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "device": device_name(device) if here else "",
    }
    return {name: frozenset({str(value)}) for name, value in values.items()}

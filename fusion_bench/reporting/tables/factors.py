"""The factors of a study: the full factorial among its arms with its effects, and the settings changed alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.statistics.comparison import Question
from fusion_bench.statistics.factorial.design import (
    FactorialDesign,
    SettingLevels,
    full_factorial,
    settings_changed_alone,
)
from fusion_bench.statistics.factorial.effects import factorial_effects
from fusion_bench.statistics.influence import Influences

MODULE = "module"
"""The factor that tells modules apart."""


@dataclass(frozen=True, eq=False)
class FactorTables:
    """The factors of a study.

    Attributes:
        design: the largest full factorial among the ranked arms; None without one.
        effects: its main effects and interactions (`fusion_bench.statistics.factorial.effects.factorial_effects`);
            empty without a design.
        alone: the settings that some arm changes alone against the reference, and that are no factor of the design.
    """

    design: FactorialDesign | None
    effects: pd.DataFrame
    alone: tuple[str, ...]


def factor_tables(results: StudyResults, influences: Influences, question: Question) -> FactorTables:
    """Return the factors of a study, from the arms that have a result.

    Args:
        results: the study.
        influences: on its primary metric and split; of a study with looks, those of the first one.
        question: its comparisons.
    """
    settings = {
        arm.label: written_settings(arm)
        for arm in results.arms
        if arm.role != "control" and not arm.unranked and influences.seeds_of(arm.label).any()
    }
    design = full_factorial(settings, results.reference)
    alone = settings_changed_alone(settings, results.reference)
    if design is None:
        return FactorTables(None, pd.DataFrame(), alone)
    effects = factorial_effects(influences, question, design)
    return FactorTables(design, effects, tuple(name for name in alone if name not in design.factors))


def written_settings(arm: ArmSummary) -> SettingLevels:
    """Return the levels of an arm's settings, but for those that a search or a matched budget chose."""
    chosen = {*arm.searched, arm.matched}
    own = {name: _level(value) for name, value in arm.factors.items() if name not in chosen}
    return {MODULE: arm.component, **own}


def _level(value: Any) -> str:
    """Return the value of a setting as text, also of a list or a mapping."""
    if isinstance(value, str):
        return value
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False, default=str)

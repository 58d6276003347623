"""What a report says about factors and noise: the numbers are recomputed elsewhere, here it is the words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from fusion_bench.reporting.report.ablation.effects import effects_note, effects_table
from fusion_bench.reporting.report.ablation.noise import noise_note, noise_table
from fusion_bench.reporting.tables.factors import written_settings
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.statistics.seeds.noise import ComparisonNoise
from fusion_bench.statistics.sequential import Stages, planned_looks
from read_markdown import read_markdown

Make = Callable[..., StudyResults]
GRID = {
    "laconv": {"size": 3, "norm": None},
    "film": {"size": 5, "norm": None},
    "concat": {"size": 3, "norm": [1, 2]},
    "cross_attention": {"size": 5, "norm": [1, 2]},
}


def study(
    make: Make, factors: Mapping[str, Mapping[str, Any]], **changed: Any
) -> tuple[StudyResults, Tables]:
    """A study whose arms have these settings of one module."""
    results = make(seeds=3, clusters=10, bad_ends=False)
    arms = tuple(
        dataclasses.replace(arm, component="laconv", factors=factors[arm.label], **changed)
        if arm.label in factors
        else arm
        for arm in results.arms
    )
    found = dataclasses.replace(results, arms=arms)
    return found, build_tables(found)


def test_a_grid_shows_its_effects(make_results: Make) -> None:
    _, tables = study(make_results, GRID)
    note, table = effects_note(tables), effects_table(tables)
    assert "4 arms are every combination of `size` (3, 5) x `norm` (null, \\[1, 2\\])" in note
    assert "2 main effects and 1 interaction" in note
    assert table.count("\n") == 4 and "`size` = 5 with `norm` = \\[1, 2\\]" in table


def test_a_study_with_looks_says_which_cells_these_are(make_results: Make) -> None:
    results, _ = study(make_results, GRID)
    said = "The cells are those of the first look"
    for stages in (None, Stages(planned_looks((3, 6)))):
        staged = dataclasses.replace(results, stages=stages)
        tables = build_tables(staged)
        assert [said in note for note in (effects_note(tables), noise_note(staged, tables))] == [
            bool(stages)
        ] * 2


def test_settings_changed_one_at_a_time_have_no_interactions(make_results: Make) -> None:
    alone = {**GRID, "cross_attention": {"size": 7, "norm": None}}
    _, tables = study(make_results, alone)
    note = effects_note(tables)
    assert note.startswith(
        "The arms change `size` and `norm` one at a time, so interactions cannot be estimated"
    )
    assert effects_table(tables) == "" and tables.factors.design is None


def test_modules_that_differ_in_everything_have_no_factors(make_results: Make) -> None:
    results = make_results(seeds=3, clusters=10)
    assert effects_note(build_tables(results)) == ""


def test_what_a_search_or_a_budget_chose_is_no_factor(make_results: Make) -> None:
    chosen = {
        label: {**own, "rate": number, "width": number} for number, (label, own) in enumerate(GRID.items())
    }
    _, tables = study(make_results, chosen, searched={"rate": 1}, matched="width")
    assert tables.factors.design is not None and set(tables.factors.design.factors) == {"size", "norm"}
    arm = ArmSummary(
        "a",
        "arm",
        "film",
        {"n": 1, "rate": 2, "width": 3},
        "",
        "",
        "",
        0,
        0,
        0,
        0,
        searched={"rate": 2},
        matched="width",
    )
    assert written_settings(arm) == {"module": "film", "n": "1"}


def test_settings_from_outside_start_nothing(make_results: Make) -> None:
    bad = "<script>alert(1)</script>|`*"
    _, tables = study(
        make_results, {label: {bad: own["size"], "b": f"{bad}{own['norm']}"} for label, own in GRID.items()}
    )
    for text in (effects_note(tables), effects_table(tables)):
        assert read_markdown(text).html == () and "script" in text
    assert len(set(read_markdown(effects_table(tables)).rows)) == 1


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (ComparisonNoise(4, 3, 100, 0.02, 0.01, 0.1), "more seeds help most"),
        (ComparisonNoise(4, 9, 30, 0.001, 0.2, 0.1), "more images help most, and they cost no training"),
        (ComparisonNoise(4, 3, 100, 0.0, 0.0, 0.3, ("seed", "cluster")), "either helps about as much"),
    ],
)
def test_the_advice_follows_the_shares(make_results: Make, noise: ComparisonNoise, said: str) -> None:
    results, tables = study(make_results, GRID)
    changed = dataclasses.replace(tables, noise=noise)
    note = noise_note(results, changed)
    assert said in note
    assert ("The estimate for seed and image was below zero" in note) == bool(noise.negative)
    assert noise_table(results, changed).count("\n") == 4
    none = dataclasses.replace(tables, noise=None)
    assert noise_table(results, none) == noise_note(results, none) == ""
    still = dataclasses.replace(tables, noise=ComparisonNoise(4, 3, 100, 0.0, 0.0, 0.0))
    assert noise_table(results, still) == "" and np.isnan(still.noise.shares()[0])  # type: ignore[union-attr]


def test_an_effect_on_two_seeds_is_neither_shown_nor_not(make_results: Make) -> None:
    results = make_results(seeds=2, clusters=10, bad_ends=False)
    arms = tuple(
        dataclasses.replace(arm, component="laconv", factors=GRID[arm.label]) if arm.label in GRID else arm
        for arm in results.arms
    )
    rows = read_markdown(effects_table(build_tables(dataclasses.replace(results, arms=arms)))).rows
    assert len(rows) == 4
    assert "| no " not in effects_table(build_tables(dataclasses.replace(results, arms=arms)))

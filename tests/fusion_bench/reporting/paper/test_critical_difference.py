"""The diagram of mean ranks: ranks within seeds, and bars with the members of each tie group."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import SOFT, canvas
from fusion_bench.reporting.paper.critical_difference import diagram_size, draw_diagram, groups, mean_ranks
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.tie_groups import TieGroups, letter_display

Make = Callable[..., StudyResults]


@pytest.fixture(scope="module")
def data(make_results: Make) -> FigureData:
    results = make_results()
    return FigureData.of(results, build_tables(results))


def test_ranks_are_those_within_the_seeds_that_all_arms_have(data: FigureData) -> None:
    ranks, seeds = mean_ranks(data.results, data.tables)
    arms = list(data.tables.ties.arms)
    own = data.results.values
    own = own[(own["split"] == "test") & (own["metric"] == "accuracy") & own["arm"].isin(arms)]
    by_hand: dict[str, list[float]] = {arm: [] for arm in arms}
    for _, cells in own.groupby("seed"):
        value = dict(zip(cells["arm"], cells["value"], strict=True))
        if set(value) != set(arms):
            continue
        for arm in arms:
            better = sum(value[other] > value[arm] for other in arms)
            equal = sum(value[other] == value[arm] for other in arms)
            by_hand[arm].append(better + (equal + 1) / 2)
    assert seeds == len(by_hand[arms[0]]) > 0
    assert ranks.to_dict() == pytest.approx({arm: np.mean(found) for arm, found in by_hand.items()})
    falling = dataclasses.replace(data.results, lower_is_better=("accuracy",))
    turned, _ = mean_ranks(falling, data.tables)
    assert turned.to_dict() == pytest.approx({arm: len(arms) + 1 - rank for arm, rank in ranks.items()})


def test_groups_are_the_arms_that_share_a_letter() -> None:
    generator = np.random.default_rng(3)
    for count in (4, 60):  # more groups than letters have names in brackets
        different = generator.random((count, count)) < 0.5
        different = np.triu(different, 1) | np.triu(different, 1).T
        letters = letter_display(different)
        arms = tuple(map(str, range(count)))
        found = groups(TieGroups(arms, letters, (0,) * count, (0,) * count))
        together = {pair for group in found for pair in itertools.combinations(group, 2)}
        alike = {
            (arms[one], arms[two])
            for one, two in itertools.combinations(range(count), 2)
            if not different[one, two]
        }
        assert together == alike


def test_each_member_of_a_group_has_a_dot_on_its_bar_and_no_other_arm(data: FigureData) -> None:
    arms = ("laconv", "film", "concat")
    ties = TieGroups(arms, ("a", "b", "a"), (1, 0, 1), (0, 0, 0))
    ranked = pd.DataFrame(
        [
            {"split": "test", "metric": "accuracy", "arm": arm, "role": "arm", "seed": 0, "value": value}
            for arm, value in zip(arms, (0.9, 0.8, 0.7), strict=True)
        ]
    )
    tables = dataclasses.replace(data.tables, ties=ties, per_seed=ranked)
    changed = dataclasses.replace(data, tables=tables)
    size = diagram_size(changed)
    assert size is not None
    with canvas(*size) as figure:
        draw_diagram(changed, figure)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o" and line.get_color() == SOFT]
    assert [list(line.get_xdata()) for line in dots] == [[1.0, 3.0]]  # film, of rank 2, has none


def test_without_two_ranked_arms_there_is_no_diagram(data: FigureData) -> None:
    tables = dataclasses.replace(data.tables, ties=TieGroups())
    assert diagram_size(dataclasses.replace(data, tables=tables)) is None

"""Scores as an array for pairing; tables that cannot be paired are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.estimate import Estimate
from fusion_bench.statistics.scores import Scores, Unit


def rows(arms: str = "ab", seeds: int = 3, clusters: int = 4, size: int = 5) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [list(arms), range(seeds), range(clusters * size)], names=["arm", "seed", "sample"]
    )
    table = index.to_frame(index=False)
    table["cluster"] = table["sample"] // size
    table["score"] = np.random.default_rng(0).integers(0, 2, len(table)).astype(float)
    return table


def difference(scores: Scores, unit: Unit = "samples") -> Estimate:
    influences = scores.influences(unit)
    return influences.paired("a", "b", influences.seeds_of("a", "b"))


def test_means_and_differences_are_those_of_the_table_in_any_order() -> None:
    table = rows()
    scores = Scores.of(table.sample(frac=1, random_state=1), ["a", "b"])
    means = table.groupby("arm")["score"].mean()
    assert scores.influences().mean("a").mean == pytest.approx(means["a"])
    assert difference(scores).mean == pytest.approx(means["a"] - means["b"])
    assert np.allclose(
        scores.influences().per_seed(["b"], np.ones(3, dtype=bool))[0],
        table[table["arm"] == "b"].groupby("seed")["score"].mean(),
    )


def test_a_mean_is_the_quotient_of_its_sums_to_the_last_bit() -> None:
    """A report rounds it: 1,257 of 2,000 is 62.85 %, and a bit less is shown as 62.8 %."""
    table = rows("ab", 3, 40, 50)
    influences = Scores.of(table, ["a", "b"]).influences()
    right = table.groupby(["arm", "seed"])["score"].sum().to_numpy().reshape(2, 3)
    assert np.array_equal(influences.per_seed(["a", "b"], np.ones(3, dtype=bool)), right / 2000)
    assert float(influences.mean("a").mean) == (right[0] / 2000).mean()


def test_consistency_is_the_share_of_clusters_wholly_right() -> None:
    table = rows(size=2)
    by_hand = table.groupby(["arm", "seed", "cluster"])["score"].min().groupby("arm").mean()
    scores = Scores.of(table, ["a", "b"])
    assert scores.influences("clusters").mean("a").mean == pytest.approx(by_hand["a"])
    assert difference(scores, "clusters").mean == pytest.approx(by_hand["a"] - by_hand["b"])


def test_a_difference_pairs_only_the_seeds_that_both_arms_have() -> None:
    table = rows()
    scores = Scores.of(table[(table["arm"] == "a") | (table["seed"] > 0)], ["a", "b"])
    assert scores.influences().seeds_of("a", "b").tolist() == [False, True, True]
    paired = table[table["seed"] > 0].groupby("arm")["score"].mean()
    assert difference(scores).mean == pytest.approx(paired["a"] - paired["b"])


def test_a_slice_keeps_its_own_clusters() -> None:
    table = rows()
    scores = Scores.of(table, ["a", "b"])
    part = scores.where(scores.cluster >= 2)
    expected = table[(table["cluster"] >= 2) & (table["arm"] == "a")]["score"].mean()
    assert part.clusters() == 2
    assert part.influences().mean("a").mean == pytest.approx(expected)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: pd.concat([table, table.iloc[[5]]]), "arm a, seed 0 scores sample 5 twice"),
        (lambda table: table.drop(index=25), "arm a, seed 1 scores sample 5 not at all"),
        (lambda table: table.assign(cluster=table.index % 7), "two clusters"),
        (lambda table: table.assign(score=np.nan), r"not a number in \[0, 1\]"),
        (lambda table: table.assign(score=1.5), r"not a number in \[0, 1\]"),
    ],
)
def test_scores_that_cannot_be_paired_are_refused(damage, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FusionBenchError, match=message):
        Scores.of(damage(rows()), ["a", "b"])


@pytest.mark.parametrize("owned", ["large", "3", 7.0, -1.0])
def test_a_column_of_the_data_set_named_size_is_no_weight(owned: object) -> None:
    table = rows()
    other = table.assign(size=[owned if row % 2 else 5 for row in range(len(table))])
    plain, found = Scores.of(table, ["a", "b"]), Scores.of(other, ["a", "b"])
    assert found.sizes is None
    assert np.array_equal(found.influences().table, plain.influences().table)


def test_weights_are_the_column_that_the_metric_names() -> None:
    """A ratio of sums of columns of any name, in a table that owns columns named score and size too."""
    table = rows()
    generator = np.random.default_rng(1)
    union = generator.integers(1, 9, len(table)).astype(float)
    table = table.assign(union=union, overlap=union * table["score"], size=100.0)
    found = Scores.of(table, ["a", "b"], score="overlap", size="union").influences()
    sums = table.groupby(["arm", "seed"])[["overlap", "union"]].sum()
    ratio = (sums["overlap"] / sums["union"]).to_numpy().reshape(2, 3)
    assert found.per_seed(["a", "b"], np.ones(3, dtype=bool)) == pytest.approx(ratio)
    assert Scores.of(table, ["a", "b"]).influences().mean("a").mean == pytest.approx(
        table[table["arm"] == "a"]["score"].mean()
    )


def test_no_rows_are_no_finished_seeds() -> None:
    scores = Scores.of(rows().iloc[:0], ["a", "b"])
    assert not scores.influences().seeds_of("a").any()

"""The order of the arms agrees with the verdicts, whatever seeds each arm has finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest

from fusion_bench.reporting.report.answer import answer_sentences
from fusion_bench.reporting.report.answer_table import answer_note
from fusion_bench.reporting.tables.answer_rows import answer_rows
from fusion_bench.reporting.tables.tables import Tables, build_tables, primary_comparison, records
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.differences import Differences

Make = Callable[..., StudyResults]
Lost = Mapping[str, tuple[int, ...]]


def without(results: StudyResults, lost: Lost) -> StudyResults:
    """The study where these cells failed."""
    results = dataclasses.replace(results, cells=results.cells.copy())
    for arm, seeds in lost.items():
        cells = (results.cells["arm"] == arm) & results.cells["seed"].isin(seeds)
        results.cells.loc[cells, ["state", "reason"]] = ["failed", "the loss was not finite"]
        kept = {}
        for name in ("values", "samples", "curves"):
            table = getattr(results, name)
            kept[name] = table[~((table["arm"] == arm) & table["seed"].isin(seeds))].reset_index(drop=True)
        results = dataclasses.replace(results, **kept)
    return results


def answering(results: StudyResults, arm: str, seed: int, right: float) -> None:
    """Let a cell answer this share of the samples of each split rightly."""
    samples = results.samples
    for split in samples["split"].unique():
        own = samples.index[(samples["arm"] == arm) & (samples["seed"] == seed) & (samples["split"] == split)]
        score = pd.Series(0.0, own)
        score.iloc[: round(right * len(own))] = 1.0
        samples.loc[own, "score"] = score
        rows = samples.loc[own]
        found = {
            "accuracy": rows["score"].mean(),
            "consistency": rows.groupby("cluster")["score"].min().mean(),
        }
        values = results.values
        cell = (values["arm"] == arm) & (values["seed"] == seed) & (values["split"] == split)
        for metric, value in found.items():
            values.loc[cell & (values["metric"] == metric), "value"] = value


def assert_no_contradiction(results: StudyResults, tables: Tables) -> None:
    place = {arm: number for number, arm in enumerate(tables.order)}
    for row in records(tables.comparisons):
        if row["verdict"] in {"better", "worse"}:
            assert (row["estimate"] > 0) == (place[row["arm"]] < place[results.reference]), row
    influences, question = primary_comparison(results)
    differences = Differences(influences, question.arms(), question.reference)
    for one in tables.ties.arms:
        for other in tables.ties.arms:
            found = differences.of(one, other)
            if found is not None and not set(tables.ties.of(one)) & set(tables.ties.of(other)):
                assert (float(found.estimate.mean) > 0) == (place[one] < place[other]), (one, other)


def study(make_results: Make, lost: Lost) -> StudyResults:
    return without(make_results(seeds=5, clusters=40, bad_ends=False), lost)


def test_a_seed_that_the_comparisons_leave_out_moves_no_arm(make_results: Make) -> None:
    """Concat has a fifth seed, which the reference and film lack, and fails there completely."""
    results = study(make_results, {"laconv": (4,), "film": (4,), "cross_attention": (4,)})
    shorter = without(results, {"concat": (4,)})
    before = build_tables(shorter)
    answering(results, "concat", 4, 0.0)
    tables = build_tables(results)
    assert tables.order == before.order and tables.ties == before.ties
    assert_no_contradiction(results, tables)
    for name in ("means", "slices", "floors"):
        table, other = getattr(tables, name), getattr(before, name)
        assert (table["arm"] == "concat").any()
        pd.testing.assert_frame_equal(table, other)
    assert set(tables.means.loc[tables.means["arm"] == "concat", "seeds"]) == {4}
    assert len(tables.per_seed[(tables.per_seed["arm"] == "concat")]["seed"].unique()) == 5
    (row,) = [row for row in answer_rows(results, tables) if row.arm == "concat"]
    assert row.mean["estimate"] > 0.7
    assert "finished seeds beyond these are left out" in answer_note(results, tables)
    assert "left out" not in answer_note(shorter, before)


def test_an_arm_that_lacks_seeds_is_placed_by_its_difference_on_common_seeds(make_results: Make) -> None:
    """All arms are bad with the first two seeds, which film lacks: its mean is high, its difference is not."""
    results = study(make_results, {"film": (0, 1)})
    for arm in ("laconv", "concat", "cross_attention"):
        for seed in (0, 1):
            answering(results, arm, seed, 0.55)
    tables = build_tables(results)
    means = tables.means[(tables.means["split"] == "test") & (tables.means["metric"] == "accuracy")]
    estimate = means.set_index("arm")["estimate"]
    film = tables.comparisons.set_index("arm").loc["film"]
    assert estimate["film"] > estimate["laconv"] and film["estimate"] < 0
    assert tables.order.index("film") > tables.order.index("laconv")
    assert_no_contradiction(results, tables)
    best = answer_rows(results, tables)[0]
    assert best.arm != "film"
    assert f"**`{best.arm}`** has place 1 by the differences" in answer_sentences(results, tables)[0]
    assert "Places follow the differences" in answer_note(results, tables)


def test_arms_whose_means_differ_in_the_last_bit_are_equal(make_results: Make) -> None:
    results = study(make_results, {})
    tables = build_tables(results)
    assert "has the highest test accuracy" in answer_sentences(results, tables)[0]
    best, second = tables.order[:2]
    means = tables.means.copy()
    row = (means["split"] == "test") & (means["metric"] == "accuracy") & (means["arm"] == second)
    top = (means["split"] == "test") & (means["metric"] == "accuracy") & (means["arm"] == best)
    means.loc[row, "estimate"] = np.nextafter(means.loc[top, "estimate"].item(), 1.0)
    sentences = answer_sentences(results, dataclasses.replace(tables, means=means))
    assert "has the highest test accuracy" in sentences[0]


def test_an_order_that_contradicts_another_pair_is_not_told_as_a_lead(make_results: Make) -> None:
    """Film lacks two seeds with which concat is bad: it stands above concat, which is better on common seeds."""
    results = study(make_results, {"film": (0, 1)})
    right = {"laconv": 0.6, "cross_attention": 0.3, "concat": 0.8, "film": 0.7}
    for arm, share in right.items():
        for seed in range(5):
            answering(results, arm, seed, 0.05 if arm == "concat" and seed < 2 else share + 0.005 * seed)
    tables = build_tables(results)
    assert tables.order.index("film") < tables.order.index("concat")
    best = answer_rows(results, tables)[0]
    assert best.arm == "film" and best.tied is not None and best.ahead is not None
    influences, question = primary_comparison(results)
    pair = question.differences(influences).of("film", "concat")
    assert pair is not None and float(pair.estimate.mean) < 0
    first = answer_sentences(results, tables)[0]
    assert "differs from every other." not in first
    assert best.ahead < len(tables.ties.arms) - 1


def test_all_seeds_of_a_reference_with_many_more_count(make_results: Make) -> None:
    lost = dict.fromkeys(("film", "concat", "cross_attention", "question_only"), (3, 4))
    results = study(make_results, lost)
    answering(results, "laconv", 4, 0.2)
    tables = build_tables(results)
    assert_no_contradiction(results, tables)
    assert {row.arm: row.mean["seeds"] for row in answer_rows(results, tables)} == {
        "laconv": 5,
        **dict.fromkeys(("film", "concat", "cross_attention"), 3),
    }
    assert set(tables.comparisons.loc[tables.comparisons["role"] == "arm", "reference_seeds"]) == {5}
    note = answer_note(results, tables)
    assert "Places follow" not in note and "left out" not in note


@pytest.mark.parametrize(
    "lost",
    [
        {"laconv": (0,), "concat": (3,)},
        {"film": (0, 2, 4), "concat": (1,)},
        {"film": (2, 3, 4), "concat": (2, 3, 4), "cross_attention": (2, 3, 4)},
        {"laconv": (0, 1, 2, 3, 4)},
        {"concat": (0, 1, 2, 3, 4), "question_only": (4,)},
        {"film": (2, 3, 4), "laconv": (0, 1)},
    ],
)
def test_no_order_contradicts_a_verdict_or_a_letter(make_results: Make, lost: Lost) -> None:
    results = study(make_results, lost)
    for number, (arm, seed) in enumerate((arm.label, seed) for arm in results.arms for seed in range(5)):
        if (number + seed) % 3 == 0:
            answering(results, arm, seed, 0.5 + 0.05 * (number % 7))
    tables = build_tables(results)
    assert_no_contradiction(results, tables)
    places = [row.place for row in answer_rows(results, tables) if row.place is not None]
    assert places == sorted(places)

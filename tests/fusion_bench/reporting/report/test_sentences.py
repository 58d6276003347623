"""The sentences of the report, and the claims that they must not make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from fusion_bench.reporting.report.answer import answer_sentences
from fusion_bench.reporting.report.answer_table import answer_note
from fusion_bench.reporting.report.limits import answer_limits
from fusion_bench.reporting.report.report_tables import controls_table
from fusion_bench.reporting.report.sentences import verdict_sentences
from fusion_bench.reporting.tables.answer_rows import answer_rows
from fusion_bench.reporting.tables.formatting import points, points_range, unsigned_points
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]


def sentences_of(results: StudyResults) -> str:
    return "\n".join(verdict_sentences(results, build_tables(results)))


def test_a_real_difference_is_stated_with_its_numbers_and_its_limit(make_results: Make) -> None:
    text = sentences_of(make_results(clusters=400, bad_ends=False))
    (line,) = [line for line in text.splitlines() if "`film` is worse than `laconv`" in line]
    assert line.startswith("At this budget, **`film` is worse than `laconv`**: ")
    assert "points (95 % interval \N{MINUS SIGN}" in line and "Holm p = 0.0" in line and ", 3 seeds." in line


def test_few_seeds_are_told_once_with_what_they_cannot_show(make_results: Make) -> None:
    few = sentences_of(make_results(bad_ends=False))
    assert few.count("**Few seeds**: the intervals are about new trainings and rest on 3 trainings") == 1
    assert "**Few seeds**" not in sentences_of(make_results(seeds=5, bad_ends=False))
    assert "**Few seeds**" not in sentences_of(make_results(seeds=2, bad_ends=False)), "there is no verdict"


def test_the_reference_losing_is_said_like_anything_else(make_results: Make) -> None:
    """Film and LaConv exchange their answers, so that the reference loses."""
    results = make_results(clusters=400, bad_ends=False)
    swap = {"film": "laconv", "laconv": "film"}
    for table in (results.samples, results.values, results.curves, results.cells):
        table["arm"] = table["arm"].replace(swap)
    assert "**`film` is better than `laconv`**" in sentences_of(results)


def test_an_undecided_difference_claims_nothing_and_says_what_could_have_been_found(
    make_results: Make,
) -> None:
    results = dataclasses.replace(make_results(bad_ends=False), margin=None)
    (line,) = [line for line in sentences_of(results).splitlines() if "`concat` " in line]
    assert line.startswith("At this budget, **no difference from `laconv` is shown** for 3 arms")
    tables = build_tables(results)
    detectable = tables.comparisons["detectable"].dropna().unique()
    assert len(detectable) == 1
    assert answer_sentences(results, tables)[-1].endswith(
        f"and 3 open; with 80 % probability, a comparison finds a true difference of "
        f"{unsigned_points(detectable[0])} points."
    )
    assert "which is no proof of equality" in answer_note(results, tables)


def test_arms_that_answer_alike_are_said_to(make_results: Make) -> None:
    results = dataclasses.replace(make_results(bad_ends=False), margin=None)
    for table, columns in ((results.samples, ["prediction", "score"]), (results.values, ["value"])):
        same = table.loc[table["arm"] == "laconv", columns].to_numpy()
        table.loc[table["arm"] == "concat", columns] = same
    assert "**`concat` and `laconv` score the same** on every image with every seed." in sentences_of(results)


@pytest.mark.parametrize(("seeds", "why"), [(1, "one training"), (2, "two trainings")])
def test_too_few_seeds_give_no_verdict_and_the_reason(make_results: Make, seeds: int, why: str) -> None:
    text = sentences_of(make_results(seeds=seeds, bad_ends=False))
    assert f"**No verdict ({seeds} seed" in text and why in text
    assert "is worse" not in text and "is better" not in text and "equivalent" not in text


def test_equivalence_needs_a_margin(make_results: Make) -> None:
    results = make_results(seeds=5, clusters=150, bad_ends=False)
    with_margin = dataclasses.replace(results, margin=0.05)
    assert "**`concat` and `laconv` are equivalent** within the study's margin of 5.0 points" in sentences_of(
        with_margin
    )
    assert "equivalent" not in sentences_of(dataclasses.replace(results, margin=None))


def outside(results: StudyResults) -> StudyResults:
    """The same study with parameters matched, and film far from the budget."""
    arms = tuple(
        dataclasses.replace(arm, budget_distance=0.124, unranked="no hidden comes nearer")
        if arm.label == "film"
        else dataclasses.replace(arm, budget_distance=-0.012)
        for arm in results.arms
    )
    return dataclasses.replace(results, arms=arms, budget="parameters", tolerance=0.05)


def test_an_arm_outside_the_budget_is_shown_and_not_ranked(make_results: Make) -> None:
    results = make_results(clusters=400, bad_ends=False)
    text = sentences_of(outside(results))
    assert "is shown** for 2 arms" in text
    assert "`film` is worse" in sentences_of(results) and "`film` is worse" not in text
    (line,) = [line for line in text.splitlines() if "Not ranked" in line]
    assert line.startswith(
        "**Not ranked**: the study matches parameters to those of `laconv` within 5.0 %. Outside this "
        "tolerance, the size alone may explain a difference: `film`, +12.4 % (no hidden comes nearer), \N{MINUS SIGN}"
    )
    assert "Not ranked" not in sentences_of(results) and "Not compared" not in text


def test_the_family_of_verdicts_leaves_unranked_arms_out(make_results: Make) -> None:
    results = make_results(clusters=150, bad_ends=False)
    tables, ranked = build_tables(outside(results)), build_tables(results)
    film = tables.comparisons.set_index("arm").loc["film"]
    assert (film["verdict"], film["role"]) == ("", "arm")
    assert film["p_holm"] != film["p_holm"], "not a number"
    assert film["estimate"] == ranked.comparisons.set_index("arm").loc["film", "estimate"]
    assert "film" in set(tables.controls["arm"]), "it may still be compared with the controls"
    assert "film" not in set(tables.controls["control"])
    # Fewer tests, a milder correction; film still tells how arms scatter, so p itself is the same.
    concat = tables.comparisons.set_index("arm").loc["concat"]
    of_all = ranked.comparisons.set_index("arm").loc["concat"]
    assert concat["p"] == pytest.approx(of_all["p"])
    assert concat["p_holm"] <= of_all["p_holm"] + 1e-12


def test_an_arm_that_does_not_beat_its_control_is_called_out(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    blind = results.samples["arm"] == "image_only"
    answers_of_blind = results.samples.loc[blind, ["prediction", "score"]].to_numpy()
    results.samples.loc[results.samples["arm"] == "film", ["prediction", "score"]] = answers_of_blind
    same = results.values[results.values["arm"] == "image_only"]["value"].to_numpy()
    results.values.loc[results.values["arm"] == "film", "value"] = same
    text = sentences_of(results)
    (line,) = [line for line in text.splitlines() if "not shown to beat the control `image_only`" in line]
    assert line.startswith("**1 arm is not shown") and "`film` 0.0 (" in line


def test_arms_above_every_control_are_said_to_beat_them(make_results: Make) -> None:
    assert "Each arm with a result beats every control" in sentences_of(
        make_results(clusters=150, bad_ends=False)
    )


@pytest.mark.parametrize("lost", [{"prior"}, {"prior", "image_only"}])
def test_a_control_without_a_result_is_named_and_not_beaten(make_results: Make, lost: set[str]) -> None:
    results = make_results(clusters=150, bad_ends=False)
    kept = {name: getattr(results, name) for name in ("values", "samples", "curves")}
    kept = {name: table[~table["arm"].isin(lost)] for name, table in kept.items()}
    results.cells.loc[results.cells["arm"].isin(lost), "state"] = "failed"
    results = dataclasses.replace(results, **kept)
    tables = build_tables(results)
    text = "\n".join(verdict_sentences(results, tables))
    names = "`image_only` and `prior` have" if len(lost) > 1 else "`prior` has"
    assert f"{names} no result, so no arm is shown to beat every control" in text
    assert "beats every control" not in text
    assert "Each arm with a result beats each control that it is compared with (corrected" in text
    assert {row.beats for row in answer_rows(results, tables)} == {False}
    assert f"{names} no result" in answer_note(results, tables)
    limits = "; ".join(answer_limits(results, tables))
    assert "4 arms, the best among them, are not shown to beat every control; " in limits
    assert f"{len(lost)} control{'s have' if len(lost) > 1 else ' has'} no result" in limits
    assert "(+)" not in controls_table(tables)


def test_an_arm_without_a_common_seed_with_a_control_is_said_not_to_beat_it(make_results: Make) -> None:
    results = make_results(seeds=7, clusters=40, bad_ends=False)
    lost = {"concat": {0, 1, 2}, "prior": {3, 4, 5, 6}}
    for arm, seeds in lost.items():
        kept = {name: getattr(results, name) for name in ("values", "samples", "curves")}
        kept = {
            name: table[~((table["arm"] == arm) & table["seed"].isin(seeds))] for name, table in kept.items()
        }
        results = dataclasses.replace(results, **kept)
    text = sentences_of(results)
    assert "`concat` is not compared with the control `prior`, because no seed is finished in both" in text
    assert "beats every control" not in text
    beats = {row.arm: row.beats for row in answer_rows(results, build_tables(results))}
    assert beats.pop("concat") is False and all(beats.values())


def test_where_no_control_has_a_result_nothing_is_said_to_beat_them(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    lost = {"prior", "image_only", "question_only"}
    kept = {name: getattr(results, name) for name in ("values", "samples", "curves")}
    kept = {name: table[~table["arm"].isin(lost)] for name, table in kept.items()}
    results = dataclasses.replace(results, **kept)
    tables = build_tables(results)
    text = "\n".join(verdict_sentences(results, tables))
    assert "`question_only`, `image_only` and `prior` have no result" in text
    assert "beats" not in text and {row.beats for row in answer_rows(results, tables)} == {False}


def test_arms_not_above_a_floor_are_called_out(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    assert "All arms lie above the floor *most frequent answer* (36.0 % on test)" in sentences_of(results)
    results.floors["accuracy"] = 0.9
    assert "Not shown to lie above the floor *most frequent answer* (90.0 % on test)" in sentences_of(results)


def test_a_floor_on_another_split_is_spoken_of_only_where_the_judged_one_has_none(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    assert "*wording*" not in sentences_of(results)
    alone = results.floors[results.floors["name"] == "wording"]
    assert "the floor *wording* (45.0 % on val)" in sentences_of(dataclasses.replace(results, floors=alone))


def test_arms_that_were_still_learning_are_named(make_results: Make) -> None:
    (line,) = [
        line for line in sentences_of(make_results()).splitlines() if line.startswith("**Not converged**")
    ]
    assert "`film`" in line and "`question_only`" not in line


def test_an_arm_without_a_common_seed_is_named(make_results: Make) -> None:
    assert "Not compared: `cross_attention`, `image_only` and `prior`" in sentences_of(make_results(seeds=1))


def test_open_comparisons_share_a_sentence_with_every_number(make_results: Make) -> None:
    results = dataclasses.replace(make_results(bad_ends=False), margin=None)
    tables = build_tables(results)
    undecided = tables.comparisons[tables.comparisons["verdict"] == "underpowered"]
    assert len(undecided) > 1
    (line,) = [
        line for line in verdict_sentences(results, tables) if "difference from `laconv` is shown" in line
    ]
    assert line.startswith("At this budget, **no difference")
    for row in undecided.itertuples():
        assert f"`{row.arm}` {points(row.estimate)} ({points_range(row.low, row.high)})" in line
    assert line.endswith("This is no proof of equality.")


def test_arms_behind_a_control_share_a_sentence(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    better = results.samples["arm"] == "question_only"
    results.samples.loc[better, "score"] = 1.0
    results.samples.loc[better, "prediction"] = results.samples.loc[better, "truth"]
    results.values.loc[results.values["arm"] == "question_only", "value"] = 1.0
    lines = [line for line in sentences_of(results).splitlines() if "the control" in line]
    assert lines[0].startswith(
        "**4 arms are not shown to beat the control `question_only`** (points, 95 % interval): "
    )
    assert all(f"`{arm}` " in lines[0] for arm in ("laconv", "film", "concat", "cross_attention"))


def test_a_lead_over_the_controls_needs_three_seeds(make_results: Make) -> None:
    (line,) = [
        line
        for line in sentences_of(make_results(seeds=2, clusters=150, bad_ends=False)).splitlines()
        if "beat every control" in line
    ]
    assert line.endswith(": a lead is shown from 3 seeds on.")

"""The start of a report: three sentences, the limits as counts, and the table of arms with its tie groups."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion_bench.reporting.report.answer import answer_sentences
from fusion_bench.reporting.report.answer_table import answer_note, answer_table
from fusion_bench.reporting.report.limits import answer_limits
from fusion_bench.reporting.report.report import write_report
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.results import StudyResults
from read_markdown import read_markdown

Make = Callable[..., StudyResults]


def answer(results: StudyResults) -> str:
    return " ".join(answer_sentences(results, build_tables(results)))


def limits(results: StudyResults) -> str:
    return "; ".join(answer_limits(results, build_tables(results)))


def shown_table(results: StudyResults) -> dict[str, dict[str, str]]:
    """The rows of the answer's table by arm: heading -> text."""
    lines = [line.strip("|").split("|") for line in answer_table(results, build_tables(results)).splitlines()]
    head, _, *rows = [[cell.strip().strip("`*") for cell in line] for line in lines]
    return {row[1]: dict(zip(head, row, strict=True)) for row in rows}


def restricted(results: StudyResults, arms: list[str]) -> StudyResults:
    """The study with some of its arms only."""
    tables = {
        name: getattr(results, name)[getattr(results, name)["arm"].isin(arms)].reset_index(drop=True)
        for name in ("cells", "values", "samples", "curves", "expected")
    }
    return dataclasses.replace(results, arms=tuple(a for a in results.arms if a.label in arms), **tables)


def grown(results: StudyResults, count: int) -> StudyResults:
    """The study with ``count`` arms, controls aside: film under further names, with its seeds shifted."""
    missing = count - sum(arm.role != "control" for arm in results.arms)
    film = next(arm for arm in results.arms if arm.label == "film")
    arms, tables = list(results.arms), {}
    seeds = results.cells["seed"].nunique()
    for name in ("cells", "values", "samples", "curves"):
        table = getattr(results, name)
        own = table[table["arm"] == "film"]
        copies = [
            own.assign(arm=f"film {number}", seed=(own["seed"] + 1 + number) % seeds)
            for number in range(missing)
        ]
        tables[name] = pd.concat([table, *copies], ignore_index=True)
    arms += [dataclasses.replace(film, label=f"film {number}") for number in range(missing)]
    return dataclasses.replace(results, arms=tuple(arms), **tables)


def limited_in_every_way(results: StudyResults) -> StudyResults:
    """The study with every warning at once."""
    results = dataclasses.replace(results, cells=results.cells.copy())
    blind = results.samples["arm"] == "question_only"
    results.samples.loc[blind, "prediction"] = results.samples.loc[blind, "truth"]
    results.samples.loc[blind, "score"] = 1.0
    results.values.loc[results.values["arm"] == "question_only", "value"] = 1.0
    results.floors["accuracy"] = 0.95
    results.curves.loc[results.curves["arm"] == "laconv", "samples_seen"] = 1  # no rise is known
    lost = "cross_attention" if "cross_attention" in set(results.cells["arm"]) else "film"
    rows = (results.cells["arm"] == lost) & (results.cells["seed"] < 2)
    results.cells.loc[rows, ["state", "reason"]] = ["failed", "the loss was not finite"]
    tables = {
        name: table[~((table["arm"] == lost) & (table["seed"] < 2))]
        for name in ("values", "samples", "curves")
        for table in [getattr(results, name)]
    }
    outside = {"film 1", "concat"}
    arms = tuple(
        dataclasses.replace(arm, budget_distance=0.4, unranked="it has no width")
        if arm.label in outside
        else arm
        for arm in results.arms
    )
    limited = dataclasses.replace(results, arms=arms, budget="multiply-adds", tolerance=0.1, **tables)
    return dataclasses.replace(limited, cluster="sentence group")


def words_before_the_table(page: str) -> int:
    start = page.split("## Answer\n", 1)[1].split("\n| place", 1)[0]
    return len(read_markdown(start).text.split())


@pytest.mark.parametrize("arms", [2, 5, 34])
@pytest.mark.parametrize(
    "prepare", [lambda results: results, limited_in_every_way], ids=["as it is", "limited"]
)
def test_at_most_150_words_stand_before_the_table(
    arms: int,
    prepare: Callable[[StudyResults], StudyResults],
    make_results: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = make_results(clusters=20, bad_ends=False)
    if arms == 2:
        results = restricted(results, ["laconv", "film", "question_only", "image_only", "prior"])
    results = prepare(grown(results, arms))
    monkeypatch.setattr("fusion_bench.reporting.report.report.draw_figures", lambda *_: {})
    page = write_report(dataclasses.replace(results, pictures=results.pictures.head(0)), tmp_path).read_text()
    assert 30 < words_before_the_table(page) <= 150
    rows = page.split("\n| place", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    assert len(rows) == sum(arm.role != "control" for arm in results.arms)
    sentences = re.findall(
        r"[A-Z*][^|.!\n]{30,}(?:\.\d[^|.!\n]*)*\.(?=\s)", re.sub(r"```.*?```", "", page, flags=re.S)
    )
    repeated = {sentence for sentence in sentences if sentences.count(sentence) > 1}
    assert not repeated


def test_three_sentences_name_the_best_arm_the_reference_and_the_verdicts(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    tables = build_tables(results)
    best, reference, verdicts = answer_sentences(results, tables)
    assert re.fullmatch(
        r"Of 4 arms, \*\*`concat`\*\* has the highest test accuracy: 80\.8 % \(95 % interval [\d.]+ to [\d.]+\) over "
        r"3 seeds and 60 images; no difference from the 3 others is shown\.",
        best,
    )
    assert re.fullmatch(r"The reference `laconv` has place 2 with 80\.0 % \([\d.]+ to [\d.]+\)\.", reference)
    assert re.fullmatch(
        r"Against it, 0 arms are better, 0 worse, 0 equivalent within 2 points and 3 open; with 80 % probability, a "
        r"comparison finds a true difference of [\d.]+ points\.",
        verdicts,
    )


def test_the_best_arm_may_be_the_reference_and_may_differ_from_the_other(make_results: Make) -> None:
    results = restricted(make_results(seeds=5, clusters=150, bad_ends=False), ["laconv", "film"])
    best, second, verdicts = answer_sentences(results, build_tables(results))
    assert best.startswith("Of 2 arms, the reference **`laconv`** has the highest")
    assert best.endswith("150 images."), "the verdicts say what differs"
    assert second.startswith("The next is `film` with ")
    assert verdicts.startswith(
        "Against `laconv`, 0 arms are better, 1 worse, 0 equivalent within 2 points and 0 open;"
    )
    table = shown_table(results)
    assert [(row["place"], row["verdict"], row["ties"]) for row in table.values()] == [
        ("1", "reference", "a"),
        ("2", "worse", "b"),
    ]


def test_without_a_margin_nothing_is_said_of_equivalence(make_results: Make) -> None:
    text = answer(dataclasses.replace(make_results(bad_ends=False), margin=None))
    assert "0 worse and 3 open" in text and "equivalent" not in text


def test_the_lowest_value_is_best_where_lower_is_better(make_results: Make) -> None:
    results = dataclasses.replace(make_results(bad_ends=False), lower_is_better=("accuracy",))
    assert "**`film`** has the lowest test accuracy" in answer(results)
    assert [*shown_table(results)] == ["film", "cross_attention", "laconv", "concat"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_give_numbers_and_no_verdict_letters_or_power(make_results: Make, seeds: int) -> None:
    results = make_results(seeds=seeds, bad_ends=False)
    text = answer(results)
    assert text.endswith("3 arms are without a verdict, which needs 3 seeds.")
    assert "told apart" not in text and "80 %" not in text.replace("80.", "")
    assert {row["ties"] for row in shown_table(results).values()} == {"\N{EN DASH}"}
    assert [row["place"] for row in shown_table(results).values()] == ["1", "2", "3", "4"]


def test_one_image_gives_no_verdict_and_the_reason(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    results.samples["cluster"] = results.samples["split"] + "-one"
    assert answer(results).endswith("3 arms are without a verdict, which needs several images.")
    assert "No verdict: fewer than 3 seeds, or a single image." in answer_note(results, build_tables(results))


def test_a_study_of_one_arm_has_one_sentence(make_results: Make) -> None:
    text = answer(restricted(make_results(bad_ends=False), ["laconv", "question_only"]))
    assert text.startswith(
        "The only arm with a result, the reference **`laconv`**, has a test accuracy of 80.0 %"
    )
    assert "Against" not in text and "next" not in text


def test_a_reference_without_a_result_is_said_to_be_so(make_results: Make) -> None:
    results = make_results()
    lost = {name: getattr(results, name) for name in ("values", "samples", "curves")}
    lost = {name: table[table["arm"] != "laconv"] for name, table in lost.items()}
    results.cells.loc[results.cells["arm"] == "laconv", "state"] = "failed"
    results = dataclasses.replace(results, **lost)
    assert answer(results).endswith(
        "The reference `laconv` has no result. No ranked arm is compared with it."
    )
    assert {row["verdict"] for row in shown_table(results).values()} == {"not compared"}
    assert limits(results).endswith("not shown to beat every control; 6 of 21 cells gave no result")


def test_an_arm_without_a_common_seed_is_counted(make_results: Make) -> None:
    assert limits(make_results(seeds=1)).endswith(
        "1 arm is not compared with the reference; 3 of 7 cells gave no result"
    )


def test_an_arm_without_enough_seeds_or_outside_the_budget_has_no_place(make_results: Make) -> None:
    results = make_results()
    arms = tuple(
        dataclasses.replace(arm, unranked="it has no width", budget_distance=0.3)
        if arm.label == "concat"
        else arm
        for arm in results.arms
    )
    results = dataclasses.replace(results, arms=arms, budget="parameters", tolerance=0.05)
    table = shown_table(results)
    assert [*table] == ["concat", "laconv", "cross_attention", "film"]
    assert [row["place"] for row in table.values()] == ["\N{EN DASH}", "1", "\N{EN DASH}", "2"]
    assert [row["verdict"] for row in table.values()] == [
        "not ranked",
        "reference",
        "no verdict",
        "underpowered",
    ]
    assert [row["seeds"] for row in table.values()] == ["3", "3", "2 of 3", "3"]
    assert answer(results).startswith("Of the 2 ranked arms, the reference **`laconv`** has the highest")
    assert "No place: outside the budget, or fewer than 3 seeds" in answer_note(
        results, build_tables(results)
    )
    assert "1 arm is outside the budget" in limits(results)


def test_limits_are_counts_without_names(make_results: Make) -> None:
    results = limited_in_every_way(make_results(bad_ends=False))
    assert limits(results) == (
        "3 of 4 arms had not converged (1 unknown), so their results hold at this budget only; 4 arms, the best "
        "among them, are not shown to beat every control, 4 to lie above every floor; 1 arm is outside the budget; "
        "verdicts rest on 3 trainings of an arm; 2 of 21 cells gave no result"
    )
    assert limits(make_results(seeds=5, clusters=150, bad_ends=False)).count("; ") == 0


def test_no_limit_is_said_where_there_is_none(make_results: Make) -> None:
    results = restricted(make_results(seeds=5, clusters=150, bad_ends=False), ["laconv", "question_only"])
    assert limits(results) == ""


def test_the_rows_follow_the_means_and_show_the_numbers_of_the_tables(make_results: Make) -> None:
    results = make_results(bad_ends=False)
    tables = build_tables(results)
    means = tables.means[(tables.means["split"] == "test") & (tables.means["metric"] == "accuracy")]
    means = means[means["role"] != "control"].set_index("arm")
    assert [*shown_table(results)] == [*means["estimate"].sort_values(ascending=False).index]
    film, compared = shown_table(results)["film"], tables.comparisons.set_index("arm").loc["film"]
    assert film["test accuracy, % (95 % interval)"].startswith(f"{100 * means.loc['film', 'estimate']:.1f} (")
    assert film["Holm p"] == f"{compared['p_holm']:.3f}"
    assert film["converged"] == "no" and film["beats every control"] == "yes"
    order = [*tables.order]
    for table in (tables.comparisons, tables.learning, tables.controls.drop_duplicates("arm")):
        assert [*table["arm"]] == [arm for arm in order if arm in set(table["arm"])]
    for _, part in tables.slices.groupby(["slice", "value"]):
        assert [*part["arm"]] == order
    roles = [next(arm.role for arm in results.arms if arm.label == label) == "control" for label in order]
    assert roles == sorted(roles)


def test_an_arm_without_the_letter_of_the_reference_has_a_verdict(make_results: Make) -> None:
    for seed_count in (3, 5):
        results = make_results(seeds=seed_count, clusters=150, bad_ends=False)
        tables = build_tables(results)
        reference = set(tables.ties.of("laconv"))
        for row in tables.comparisons.itertuples():
            if row.role != "control" and not reference & set(tables.ties.of(row.arm)):
                assert row.verdict in {"better", "worse", "equivalent"}
    assert np.isfinite(tables.comparisons["p_holm"].min())

"""The start of a report: three sentences, the limits as counts, and the table of arms with its tie groups."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion_bench.reporting.report.answer import answer_limits, answer_sentences
from fusion_bench.reporting.report.answer_table import answer_note, answer_table
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
    """The study with further arms until it has ``count``, controls aside: film under other names, its seeds shifted."""
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
    results = make_results(bad_ends=False)
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

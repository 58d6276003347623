"""Every number of ``report.md`` and ``report.html``, once more from the files beside them, in plain pandas and numpy.

Each table of both pages must be recomputed by one of the checks below: a table that none knows fails the test.
"""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.results import StudyResults
from read_html import SeenPage
from recomputed import Recomputed
from recomputed_tables import CHECKS, Table, check_of, holds, is_p, same, tables_of

Make = Callable[..., StudyResults]


@pytest.fixture(scope="module")
def crossed_report(make_results: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a 2 x 2 of settings with every cell, a search, and a context in which two arms change places."""
    results = make_results(seeds=3, clusters=20, bad_ends=False)
    places = {"laconv": (3, 0), "film": (3, 1), "concat": (5, 0), "cross_attention": (5, 1)}
    arms = tuple(
        dataclasses.replace(
            arm,
            component="laconv",
            factors={"kernel": places[arm.label][0], "drop": places[arm.label][1], "rate": 0.01},
            searched={"rate": 0.01},
            search_trials=12,
            search_importances={"rate": 0.71, "other": 0.29},
        )
        if arm.label in places
        else arm
        for arm in results.arms
    )
    results = dataclasses.replace(results, arms=arms, pictures=results.pictures.head(0))
    swapped = {"film": "concat", "concat": "film"}
    deep = {
        name: getattr(results, name).assign(arm=getattr(results, name)["arm"].replace(swapped))
        for name in ("cells", "values", "samples", "curves")
    }
    context = dataclasses.replace(results, **deep)
    return write_report(
        dataclasses.replace(results, contexts={"deep": context}), tmp_path_factory.mktemp("crossed")
    )


@pytest.fixture(scope="module", params=["some cells lack", "crossed"])
def report(request: pytest.FixtureRequest) -> Path:
    name = "invented_report" if request.param == "some cells lack" else "crossed_report"
    return Path(request.getfixturevalue(name))


def test_every_table_of_the_markdown_is_recomputed(report: Path) -> None:
    found, checked = Recomputed(report.parent), set()
    for table in tables_of(report.read_text(encoding="utf-8")):
        key = check_of(table)
        contexts = [Recomputed(report.parent / folder) for folder in found.study["contexts"].values()]
        CHECKS[key](table, found, *(contexts if key[0].startswith("Does") else ()))
        checked.add(key)
    whole = not found.study["contexts"]
    rare = {
        key for key in CHECKS if key[0] in {"Factors", "Does the ranking hold?"} or key[1] == "arm chosen"
    }
    assert checked == {*CHECKS} - (rare if whole else {("Cells without a result", "arm")})


def test_every_row_of_the_page_is_one_of_the_markdown_or_recomputed(report: Path) -> None:
    text, page = (
        report.read_text(encoding="utf-8"),
        report.with_name("report.html").read_text(encoding="utf-8"),
    )

    def plain(cell: str) -> str:
        return re.sub(r"\\(.)", r"\1", cell.replace("`", "").replace("*", "")).replace(" ", "")

    known = {
        tuple(map(plain, line.strip("|").split(" |"))) for line in text.splitlines() if line.startswith("|")
    }
    found, rows = Recomputed(report.parent), SeenPage.of(page).rows
    start = next(place for place, row in enumerate(rows) if row[:2] == ["place", "arm"])
    order = [*found.order(), *sorted(found.controls(), key=lambda arm: -found.mean(arm).mean)]
    verdicts, compared = found.verdicts(), found.compared()
    for place, row in enumerate(rows):
        if not start < place <= start + len(order):
            assert place == start or tuple(map(plain, row)) in known, row
            continue
        _, arm, mean, difference, p, verdict, _, seeds, _, parameters, adds, latency = row
        assert arm == order[place - start - 1] or arm in found.controls()
        assert same(mean, found.mean(arm)) and int(seeds) == len(found.shared(arm, found.reference))
        if arm != found.reference:
            word, p_holm, _ = verdicts.get(arm, ("control", np.nan, np.nan))
            assert same(difference, compared[arm]) and is_p(p, p_holm)
            assert verdict == {"underpowered": "open"}.get(word, word)
        own = found.arms[arm]
        for shown, name in (
            (parameters, "fusion_parameters"),
            (adds, "fusion_multiply_adds"),
            (latency, "latency_ms"),
        ):
            size = {"k": 1e3, "M": 1e6, "G": 1e9}.get(shown[-1], 1.0)
            assert float(shown.split()[0]) * size == pytest.approx(own[name], rel=0.006)


def test_every_number_in_the_charts_of_the_page_is_recomputed(report: Path) -> None:
    found = Recomputed(report.parent)
    page = report.with_name("report.html").read_text(encoding="utf-8")
    charts = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(charts) > 5
    compared, kinds = found.compared(), set()
    for chart in charts:
        label, *titles = (html.unescape(text) for text in re.findall(r"<title>(.*?)</title>", chart))
        if label.startswith("Paired differences"):
            said = dict(text.split(": ", 1) for text in titles)
            assert {*said} == {*compared}
            assert all(same(text, compared[arm]) for arm, text in said.items())
        elif "in per cent by" in label:
            name = label.split(" by ")[1].split(",")[0]
            values = [
                found.mean(arm, chosen=found.samples[name] == value).mean
                for value in sorted({*found.samples[name]})
                for arm in found.order()
            ]
            shown = [float(text.split(": ")[1].split(" %")[0]) for text in titles]
            assert sorted(shown) == pytest.approx(sorted(100 * value for value in values), abs=0.0501)
        elif " against " in label:
            cost = (
                "latency_ms"
                if "milliseconds" in label
                else "fusion_parameters"
                if "parameters" in label
                else "fusion_multiply_adds"
            )
            for arm, text in (title.split(": ", 1) for title in titles):
                mean, amount = text.split(" %, ")
                size = {"k": 1e3, "M": 1e6, "G": 1e9}.get(amount.split()[1], 1.0)
                assert holds(mean, found.mean(arm).mean)
                assert float(amount.split()[0]) * size == pytest.approx(found.arms[arm][cost], rel=0.006)
        else:
            assert label.startswith("Learning curves") and {*titles} == {*found.arms}
        kinds.add(label.split()[0])
    assert {"Paired", "Learning"} <= kinds


def test_every_answer_in_the_page_is_recomputed(report: Path) -> None:
    found = Recomputed(report.parent)
    data = json.loads(SeenPage.of(report.with_name("report.html").read_text(encoding="utf-8")).scripts[1])
    test = found.samples[found.samples["split"] == "test"].set_index("sample")
    cells = [(data["arms"][arm], seed) for arm, seed in data["cells"]]
    assert {*cells} == {(arm, seed) for arm, seeds in found.seeds.items() for seed in seeds}
    assert data["total"] == len(test) and data["controls"] == len(found.controls())
    browsed = pd.read_parquet(report.parent / "browsed.parquet").set_index("sample")
    assert [sample["id"] for sample in data["samples"]] == [*browsed.index]
    for sample in data["samples"]:
        row = test.loc[sample["id"]]
        assert (sample["truth"], sample["text"]) == (row["truth"], browsed.loc[sample["id"], "text"])
        for (arm, seed), answer, right in zip(cells, sample["answers"], sample["right"], strict=True):
            assert data["answers"][answer] == row[f"prediction/{arm}/{seed}"]
            assert right == str(int(row[f"prediction/{arm}/{seed}"] == row["truth"]))
        for (name, values), place in zip(data["slices"].items(), sample["slices"], strict=True):
            assert values[place] == row[name]


def test_a_table_that_nobody_recomputes_fails() -> None:
    with pytest.raises(AssertionError, match="no check recomputes"):
        check_of(Table("A new section", "", ("arm", "number"), {}, []))

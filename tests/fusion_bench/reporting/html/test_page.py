"""The HTML page of a report: its numbers are those of the published tables, and it needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fusion_bench import load_report
from fusion_bench.reporting.html.page import PAGE
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.report.report import to_publish
from read_html import SeenPage


@pytest.fixture(scope="module")
def folder(invented_report: Path) -> Path:
    return invented_report.parent


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / PAGE).read_text()


@pytest.fixture(scope="module")
def seen(text: str) -> SeenPage:
    return SeenPage.of(text)


@pytest.fixture(scope="module")
def data(seen: SeenPage) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(seen.scripts[1])
    return found


def test_the_page_is_whole_and_loads_nothing(text: str, seen: SeenPage) -> None:
    assert seen.problems == []
    assert all(re.fullmatch(r"href=#[a-z]+", target) for target in seen.loaded)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|import\(|eval\(|innerHTML", text)


def test_its_policy_allows_its_own_style_and_script_alone(text: str, seen: SeenPage) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    for rule, content in (("style-src", seen.scripts[0]), ("script-src", seen.scripts[2])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def in_points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def test_every_number_of_the_table_of_arms_is_that_of_the_published_tables(
    folder: Path, seen: SeenPage
) -> None:
    report = load_report(folder)
    means = report.means.query("split == 'test' and metric == 'accuracy'").set_index("arm")
    compared = report.comparisons.set_index("arm")
    heading = next(number for number, row in enumerate(seen.rows) if row[:2] == ["place", "arm"])
    rows = {row[1]: row for row in seen.rows[heading + 1 : heading + 1 + len(means)]}
    assert set(rows) == set(means.index)
    for arm, row in rows.items():
        mean = means.loc[arm]
        assert row[2] == f"{100 * mean.estimate:.1f} ({100 * mean.low:.1f} to {100 * mean.high:.1f})"
        assert row[7] == str(mean.seeds)
        if arm == report.reference:
            assert row[5] == "reference"
            continue
        own = compared.loc[arm]
        assert row[3] == f"{in_points(own.estimate)} ({in_points(own.low)} to {in_points(own.high)})"
        verdict = {"underpowered": "open", "": "control"}.get(own.verdict, own.verdict)
        assert row[5] == verdict


def test_the_browser_holds_every_answer_of_its_samples(folder: Path, data: dict[str, Any]) -> None:
    results = load(folder)
    assert len(data["samples"]) == len(results.browsed) == 50
    assert data["total"] == results.samples.query("split == 'test'")["sample"].nunique()
    by_cell = results.samples.query("split == 'test'").set_index(["arm", "seed", "sample"])
    counted = 0
    for sample in data["samples"]:
        for cell, (arm, seed) in enumerate(data["cells"]):
            row = by_cell.loc[data["arms"][arm], seed, sample["id"]]
            assert data["answers"][sample["answers"][cell]] == row["prediction"]
            assert sample["right"][cell] == str(int(row["score"] > 0.5))
            assert sample["truth"] == row["truth"]
            counted += 1
    assert counted == 50 * len(by_cell.groupby(["arm", "seed"]))
    assert [sample["picture"] for sample in data["samples"][:4]] == [0, 1, 2, -1]
    assert all(picture.startswith("data:image/webp;base64,") for picture in data["pictures"])
    kinds = list(data["slices"])
    assert kinds == ["kind", "length"]
    questions = results.samples.drop_duplicates("sample").set_index("sample")
    for sample in data["samples"]:
        found = [data["slices"][name][place] for name, place in zip(kinds, sample["slices"], strict=True)]
        assert found == [questions.loc[sample["id"], name] for name in kinds]


def test_pictures_of_other_peoples_data_are_not_published(make_results: Callable[..., Any]) -> None:
    results = make_results(seeds=2, clusters=6)
    assert to_publish(results).thumbnails.equals(results.thumbnails)
    foreign = to_publish(
        replace(results, shares_pictures=False, contexts={"other": replace(results, shares_pictures=False)})
    )
    for published in (foreign, foreign.contexts["other"]):
        assert published.thumbnails.empty and (published.browsed["image"] == -1).all()
        assert isinstance(published.browsed, pd.DataFrame) and len(published.browsed) == len(results.browsed)

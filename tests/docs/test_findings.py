"""The numbers of ``docs/findings.md`` are those of the reports that it cites, and of the tables beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n([\s\S]*?)(?=^## |\Z)", TEXT, re.MULTILINE))
CITED = re.compile(r"`(reports/[\w/]+)/report\.md`")
NUMBER = re.compile(r"\d+\.\d+")
COMPUTE = "What it cost"
AGAIN = "Tested again"
ANSWER = re.compile(
    r"^\| \S+ +\| `([^`]+)` +\|[^|]+\| *([^|(]+?) \(.*?\) \|[^|]+\| +\**([a-z ]+?)\** \|", re.MULTILINE
)
"""A row of a report's table of arms: the arm, its difference in points, the verdict."""


@pytest.mark.parametrize("title", [title for title in SECTIONS if title != COMPUTE])
def test_every_number_stands_in_a_report_that_its_section_cites(title: str) -> None:
    text = SECTIONS[title]
    reports = [(ROOT / folder / "report.md").read_text(encoding="utf-8") for folder in CITED.findall(text)]
    shown = {number for report in reports for number in NUMBER.findall(report)}
    assert {*NUMBER.findall(text)} <= shown


def core_seconds(folder: Path) -> float:
    """The time of every finished cell of a published study: of its seeds, its contexts and its search."""
    cells = pd.read_parquet(folder / "results.parquet").drop_duplicates("cell")
    total = float(cells["seconds"].sum())
    searched = folder / "search_cells.parquet"
    if searched.is_file():
        timings = pd.read_parquet(searched)["timing.json"]
        total += sum(
            sum(json.loads(text)[f"{part}_seconds"] for part in ("train", "evaluation")) for text in timings
        )
    return total + sum(core_seconds(context) for context in (folder / "contexts").glob("*"))


def test_the_compute_of_each_study_is_that_of_its_cells() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", SECTIONS[COMPUTE], re.MULTILINE)
    assert rows
    for name, hours in rows:
        assert float(hours) == pytest.approx(core_seconds(ROOT / "reports" / name) / 3600, abs=0.051), name


def answers(study: str) -> dict[str, tuple[str, str]]:
    """Return verdict and difference of each arm in the report of a study, by the arm's name."""
    text = (ROOT / "reports" / study / "report.md").read_text(encoding="utf-8")
    return {arm: (verdict, difference) for arm, difference, verdict in ANSWER.findall(text)}


def test_every_decided_arm_was_tested_again_and_the_share_that_holds_is_told() -> None:
    stated = re.findall(
        r"^\| `(\w+)` \| (\w+), (\S+) \| (\w+), (\S+) \| (yes|no) \|", SECTIONS[AGAIN], re.MULTILINE
    )
    first, again = answers("line_up"), answers("line_up_again")
    decided = {arm for arm, (verdict, _) in first.items() if verdict in {"better", "worse"}}
    assert {arm for arm, *_ in stated} == decided
    for arm, verdict, difference, verdict_again, difference_again, holds in stated:
        assert (verdict, difference) == first[arm]
        open_again = again[arm][0] not in {"better", "worse", "equivalent"}
        assert (verdict_again, difference_again) == ("open" if open_again else again[arm][0], again[arm][1])
        assert holds == ("yes" if verdict_again == verdict else "no")
    hold = sum(holds == "yes" for *_, holds in stated)
    assert f"{hold} of {len(stated)} verdicts hold" in SECTIONS[AGAIN]

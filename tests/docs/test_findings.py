"""The numbers of ``docs/findings.md`` are those of the reports that it cites, and of the tables beside them."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from fusion_bench.api.report import load_report
from fusion_bench.reporting.tables.formatting import points, points_range

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n([\s\S]*?)(?=^## |\Z)", TEXT, re.MULTILINE))
CITED = re.compile(r"`(reports/[\w/]+)/report\.md`")
NUMBER = re.compile(r"\d+\.\d+")
LINE_UP, AGAIN, COMPUTE = "The line-up", "Tested again", "What it cost"
FAMILIES = ("simple", "modulation", "bilinear", "attention", "reasoning", "dynamic_convolution")
DECIDED = {"better", "worse", "equivalent"}
WORDS = {"": "not ranked", "underpowered": "open", "no verdict": "open"}
"""How the page calls a verdict of a report that decides nothing."""


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


@cache
def compared(study: str) -> pd.DataFrame:
    """Return difference, interval and verdict of each arm in a report, computed from its cells."""
    table = load_report(ROOT / "reports" / study).comparisons
    table = table[table["role"] != "control"]
    return table.assign(verdict=table["verdict"].replace(WORDS)).set_index("arm")


@cache
def in_families() -> dict[str, str]:
    """Return the verdict of each arm in the family that it is of."""
    return {arm: text for name in FAMILIES for arm, text in compared(f"line_up_{name}")["verdict"].items()}


def test_the_table_of_the_line_up_is_that_of_its_reports() -> None:
    stated = re.findall(
        r"^\| `(\w+)` \| ([\w ]+) \| ([\w ]+) \| (\S+) \((.+)\) \|", SECTIONS[LINE_UP], re.MULTILINE
    )
    whole = compared("line_up").sort_values("estimate", ascending=False)
    assert stated == [
        (
            arm,
            in_families()[arm],
            row["verdict"],
            points(row["estimate"]),
            points_range(row["low"], row["high"]),
        )
        for arm, row in whole.iterrows()
    ]


def test_every_decided_arm_was_tested_again_and_the_share_that_holds_is_told() -> None:
    stated = re.findall(
        r"^\| `(\w+)` \| (all|its family) \| (\w+), (\S+) \| (\w+), (\S+) \| (yes|no) \|",
        SECTIONS[AGAIN],
        re.MULTILINE,
    )
    whole, again = compared("line_up").sort_values("estimate", ascending=False), compared("line_up_again")
    expected = []
    for arm, row in whole.iterrows():
        among_all = row["verdict"] in DECIDED
        first = row["verdict"] if among_all else in_families()[arm]
        if first in DECIDED:
            found = again.loc[arm]
            where, holds = "all" if among_all else "its family", "yes" if found["verdict"] == first else "no"
            expected.append(
                (
                    arm,
                    where,
                    first,
                    points(row["estimate"]),
                    found["verdict"],
                    points(found["estimate"]),
                    holds,
                )
            )
    assert stated == expected
    for where, start in (("all", "Of the verdicts among all"), ("its family", "Of those of a family alone")):
        of_it = [row for row in stated if row[1] == where]
        held = sum(row[-1] == "yes" for row in of_it)
        assert f"{start}, {held} of {len(of_it)} hold" in " ".join(SECTIONS[AGAIN].split())

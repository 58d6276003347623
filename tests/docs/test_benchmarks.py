"""The committed benchmarks say why a target was missed, and the page on growth shows the committed table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_bench.bench.growth.curve import Curve, GrowthPoint
from fusion_bench.bench.targets import Line
from fusion_bench.cli.bench.everything import as_table
from fusion_bench.cli.bench.growth import growth_table

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "reports" / "benchmarks"
LINES = [Line(**line) for line in json.loads((BENCHMARKS / "benchmarks.json").read_text())]


def test_the_table_is_that_of_the_lines() -> None:
    assert as_table(LINES) in (BENCHMARKS / "benchmarks.md").read_text()


@pytest.mark.parametrize("line", [line for line in LINES if not line.reached], ids=lambda line: line.item)
def test_a_missed_target_has_a_note(line: Line) -> None:
    # The time in an item's name differs from run to run.
    assert f"**{line.item.partition(', ')[0]}" in (BENCHMARKS / "README.md").read_text()


def test_the_page_on_growth_shows_the_measured_curves() -> None:
    stored = json.loads((BENCHMARKS / "growth.json").read_text())
    curves = [
        Curve(curve["quantity"], curve["axis"], tuple(GrowthPoint(**point) for point in curve["points"]))
        for curve in stored
    ]
    table = growth_table(curves)
    assert table in (BENCHMARKS / "growth.md").read_text()
    assert table in (ROOT / "docs" / "scaling.md").read_text()
    assert (ROOT / "docs" / "growth.png").read_bytes() == (BENCHMARKS / "growth.png").read_bytes()

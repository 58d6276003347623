"""Writes the ranks of arms over several reports: a page, a table and a diagram."""

from __future__ import annotations

from pathlib import Path

from fusion_bench.reporting.across.comparison import AcrossReports
from fusion_bench.reporting.across.diagram import draw_critical_differences
from fusion_bench.reporting.across.text import across_markdown
from fusion_bench.storage import write_text


def write_across(found: AcrossReports, folder: Path) -> Path:
    """Write ``across.md``, ``across.csv`` and the diagram (PNG, SVG and PDF), and return the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "across.csv", found.table().to_csv(index=False))
    draw_critical_differences(
        dict(zip(found.complete.arms, found.tests.mean_ranks.tolist(), strict=True)),
        found.tests.nemenyi,
        found.tests.critical_difference,
        folder / "critical_difference",
    )
    write_text(folder / "across.md", across_markdown(found))
    return folder / "across.md"

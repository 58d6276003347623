"""The command ``fusion-bench across``: ranks of arms over several reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from fusion_bench.reporting.across.comparison import compare_across
from fusion_bench.reporting.across.text import caution_lines, power_lines, rank_sentences, ranks_table
from fusion_bench.reporting.across.write import write_across


def rank_and_say(reports: Sequence[Path], out: Path | None) -> None:
    """Rank the arms of reports, print what was found, and write it into ``out`` if there is one."""
    found = compare_across(reports)
    typer.echo(ranks_table(found))
    typer.echo()
    for line in (*rank_sentences(found), *caution_lines(found), *power_lines(found)):
        typer.echo(line)
    if out is not None:
        typer.echo(f"written: {write_across(found, out)}")

"""The commands ``fusion-bench compare`` and ``leaderboard``: they call the comparison or the index and print it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from fusion_bench.comparing.compare import compare_reports
from fusion_bench.comparing.comparison_text import comparison_markdown, write_comparison
from fusion_bench.comparing.leaderboard.board import read_board
from fusion_bench.comparing.leaderboard.pages import write_board
from fusion_bench.reporting.progress import parts_shown
from fusion_bench.reporting.tables.formatting import join_words


def compare_and_say(
    reports: Sequence[Path], reference: str | None, out: Path | None, fail_if: str | None
) -> None:
    """Print the comparison of reports and write its files.

    Raises:
        FusionBenchError: see `fusion_bench.comparing.compare.compare_reports`.
        typer.Exit: with code 3, if ``fail_if`` is ``worse`` and a new arm is decided to be worse.
    """
    comparison = compare_reports(reports, reference)
    typer.echo(comparison_markdown(comparison), nl=False)
    if out is not None:
        for file in write_comparison(comparison, out):
            typer.echo(f"wrote {file}", err=True)
    if fail_if is not None:
        fail_if_worse(comparison.worse, comparison.joined.results.reference)


def fail_if_worse(worse: Sequence[str], reference: str) -> None:
    """End with exit code 3 and one sentence if arms are decided to be worse than the reference."""
    if worse:
        typer.echo(f"worse than {reference}: {join_words(list(worse))}", err=True)
        raise typer.Exit(3)


def leaderboard_and_say(folder: Path) -> None:
    """Write the index of the reports in a folder and print its paths and the reports that could not be read.

    Raises:
        FusionBenchError: the folder does not exist or holds no report, or a file would be overwritten that this
            command did not write.
    """
    with parts_shown(Console(stderr=True)) as notify:
        board = read_board(folder, notify)
    for unread in board.unread:
        typer.echo(f"not listed: {unread.name}: {unread.reason}", err=True)
    for file in write_board(board, folder):
        typer.echo(f"wrote {file}")

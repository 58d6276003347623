"""The commands ``fusion-bench compare`` and ``fusion-bench leaderboard``: their options, and the call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_bench.cli.options import FailIfOption


def compare_command(
    reports: Annotated[
        list[Path],
        typer.Argument(
            metavar="REPORT...",
            help="Published folders such as reports/nlvr, or runs/studies/NAME; the first holds the reference.",
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(metavar="ARM", help="The reference; by default that of the first report."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write comparison.md, .parquet and .csv there."),
    ] = None,
    fail_if: FailIfOption = None,
) -> None:
    """Compare the arms of reports, paired by sample and seed; nothing is trained.

    Reports whose arms cannot be paired are refused with what differs. The exit code is 2 then, and 3 if --fail-if
    worse finds an arm that the first report does not have (of a single report: any arm) decided to be worse.
    """
    from fusion_bench.cli.reports.compare import compare_and_say  # noqa: PLC0415 - imports torch

    compare_and_say(reports, reference, out, fail_if)


def leaderboard(
    folder: Annotated[Path, typer.Argument(help="A folder of reports, such as reports.")],
) -> None:
    """Write an index of the reports in a folder: README.md and index.html, one row per arm."""
    from fusion_bench.cli.reports.compare import leaderboard_and_say  # noqa: PLC0415 - imports torch

    leaderboard_and_say(folder)

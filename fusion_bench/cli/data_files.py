"""Behind ``fusion-bench data``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import track

from fusion_bench.cli.open_study import data_config
from fusion_bench.data.verify import checksums, verify
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.figures.contact_sheet import draw_contact_sheet
from fusion_bench.samples.dataset import DataSet
from fusion_bench.storage import write_json


def verify_data(name: str, root: Path, settings: Sequence[str], manifest: Path | None) -> None:
    """Print what a folder holds and what is wrong with it.

    Raises:
        FusionBenchError: there is no such data set, or it takes no such settings.
        typer.Exit: with code 1, if something is wrong.
    """
    verified = verify(_constructed(name, root, settings), _track, os.cpu_count() or 1)
    for split, counts in verified.found.items():
        typer.echo(f"{split}: {counts.samples:,} samples on {counts.images:,} images")
    for note in verified.notes:
        typer.echo(f"note: {note}")
    for problem in verified.problems:
        typer.echo(f"problem: {problem}", err=True)
    if manifest is not None:
        write_json(manifest, checksums(root, _track))
        typer.echo(f"Checksums: {manifest}")
    if verified.problems:
        raise typer.Exit(1)
    typer.echo("all as published" if verified.published else "all whole")


def make_data(name: str, out: Path, settings: Sequence[str]) -> None:
    """Make a built-in data set and say what it holds.

    Raises:
        FusionBenchError: it is not built in, or the folder holds something else.
    """
    data = _constructed(name, out, settings)
    if not data.built_in:
        raise FusionBenchError(f"{data.name} is not built in; its files are published at {data.homepage}")
    data.prepare(os.cpu_count() or 1)
    for split in (data.splits.train, data.splits.select, *data.splits.evaluate):
        made = data.split(split)
        typer.echo(f"{split}: {len(made):,} samples on {len(made.images):,} images")
    typer.echo(f"Made: {out}")


def show_data(
    name: str, root: Path, settings: Sequence[str], out: Path, *, split: str | None, count: int
) -> None:
    """Write a sheet of samples.

    Raises:
        FusionBenchError: there is no such split, its files are damaged, or ``out`` is no PNG.
    """
    if out.suffix.lower() != ".png":
        raise FusionBenchError(f"--out {out}: a PNG is written; let the name end in .png")
    data = _constructed(name, root, settings)
    shown = data.split(split or data.splits.evaluate[0])
    draw_contact_sheet(shown.spread(count), out)
    typer.echo(f"{shown.name}: {min(count, len(shown))} of {len(shown):,} samples. Picture: {out}")


def _constructed(name: str, root: Path, settings: Sequence[str]) -> DataSet:
    component = data_config(name, settings).adapter
    adapter: Any = component.target.load()
    data: DataSet = adapter(root, **component.settings)
    return data


def _track(items: Sequence[Path], what: str) -> Iterable[Path]:
    return track(items, description=what, console=Console(stderr=True), transient=True)

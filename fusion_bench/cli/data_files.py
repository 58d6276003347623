"""The implementation of the commands ``fusion-bench data``."""

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
    """Print the contents of the folder of a data set and its problems.

    Raises:
        FusionBenchError: the data set does not exist, or it does not accept the settings.
        typer.Exit: with code 1, if a problem is found.
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
    typer.echo("complete, with the published counts" if verified.published else "complete")


def make_data(name: str, out: Path, settings: Sequence[str]) -> None:
    """Make a built-in data set and print the sizes of its splits.

    Raises:
        FusionBenchError: the data set is not built in, or the folder contains something else.
    """
    data = _constructed(name, out, settings)
    if not data.built_in:
        raise FusionBenchError(f"{data.name} is not built in; download its files from {data.homepage}")
    data.prepare(os.cpu_count() or 1)
    for split in (data.splits.train, data.splits.select, *data.splits.evaluate):
        made = data.split(split)
        typer.echo(f"{split}: {len(made):,} samples on {len(made.images):,} images")
    typer.echo(f"Made: {out}")


def show_data(
    name: str, root: Path, settings: Sequence[str], out: Path, *, split: str | None, count: int
) -> None:
    """Draw samples into one PNG.

    Raises:
        FusionBenchError: the split does not exist, its files are damaged, or ``out`` is not a PNG.
    """
    if out.suffix.lower() != ".png":
        raise FusionBenchError(f"--out {out}: the output is a PNG; write a name that ends in .png")
    data = _constructed(name, root, settings)
    shown = data.split(split or data.splits.evaluate[0])
    draw_contact_sheet(shown.evenly_spaced(count), out)
    typer.echo(f"{shown.name}: {min(count, len(shown))} of {len(shown):,} samples. Picture: {out}")


def _constructed(name: str, root: Path, settings: Sequence[str]) -> DataSet:
    component = data_config(name, settings).adapter
    adapter: Any = component.target.load()
    data: DataSet = adapter(root, **component.settings)
    return data


def _track(items: Sequence[Path], what: str) -> Iterable[Path]:
    return track(items, description=what, console=Console(stderr=True), transient=True)

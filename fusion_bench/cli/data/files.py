"""The implementation of the commands ``fusion-bench data``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import track

from fusion_bench.cli.open_study import data_config, open_study
from fusion_bench.data.verify import checksums, verify
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.figures.contact_sheet import draw_contact_sheet
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.load import is_study_file
from fusion_bench.storage import write_json
from fusion_bench.training.paths import RunPaths, default_root, no_root


@dataclass(frozen=True)
class DataPlace:
    """A data set as a command names it.

    Attributes:
        name: a registered name, ``package.module:Class``, ``file.py[:Class]``, or a study file.
        settings: ``KEY=VALUE`` texts; for a study, changes to its key ``data``.
        root: the folder of its files; None where the study, the environment or the runs folder decides.
        runs: the runs folder, in which built-in data sets lie.
    """

    name: str
    settings: tuple[str, ...] = ()
    root: Path | None = None
    runs: Path = Path("runs")


def verify_data(place: DataPlace, manifest: Path | None) -> None:
    """Print the contents of the folder of a data set and its problems.

    Raises:
        FusionBenchError: the data set does not exist, it does not accept the settings, or its folder is not known.
        typer.Exit: with code 1, if a problem is found.
    """
    data, root = _opened(place, small=True)
    if data.built_in and place.root is None and not root.is_dir():
        raise FusionBenchError(
            f"{data.name} with these settings is not made yet: there is no {root}; fusion-bench data show makes it, "
            "and so does a run; or name its folder with --root"
        )
    verified = verify(data, _track, os.cpu_count() or 1)
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


def make_data(place: DataPlace) -> None:
    """Make a built-in data set in ``place.root`` and print the sizes of its splits.

    Raises:
        FusionBenchError: the data set is not built in, or the folder contains something else.
    """
    data, root = _opened(place)
    if not data.built_in:
        raise FusionBenchError(f"{data.name} is not built in; download its files from {data.homepage}")
    data.prepare(os.cpu_count() or 1)
    for split in (data.splits.train, data.splits.select, *data.splits.evaluate):
        made = data.split(split)
        typer.echo(f"{split}: {len(made):,} samples on {len(made.images):,} images")
    typer.echo(f"Made: {root}")


def show_data(place: DataPlace, out: Path | None, *, split: str | None, count: int) -> None:
    """Draw samples into one PNG; a built-in data set of the runs folder is made there first.

    Raises:
        FusionBenchError: the split does not exist, the files are damaged or their folder is not known, or ``out`` is
            not a PNG.
    """
    if out is not None and out.suffix.lower() != ".png":
        raise FusionBenchError(f"--out {out}: the output is a PNG; write a name that ends in .png")
    data, _ = _opened(place, small=True)
    if data.built_in and place.root is None:
        data.prepare(os.cpu_count() or 1)
    shown = data.split(split or data.splits.evaluate[0])
    file = out or Path(re.sub(r"[^\w.+-]+", "_", f"{data.name}-{shown.name}") + ".png")
    draw_contact_sheet(shown.evenly_spaced(count), file)
    typer.echo(f"{shown.name}: {min(count, len(shown))} of {len(shown):,} samples. Picture: {file}")


def _opened(place: DataPlace, *, small: bool = False) -> tuple[DataSet, Path]:
    """Return a data set and its folder; nothing is read or made yet.

    Args:
        place: the data set.
        small: a built-in data set has its toy settings where ``place`` gives none.

    Raises:
        FusionBenchError: the data set does not exist, it does not accept the settings, or its folder is not known.
    """
    if is_study_file(place.name):
        study = open_study(Path(place.name), [f"data.{pair}" for pair in place.settings])
        config, roots = study.data, study.roots
    else:
        config, roots = data_config(place.name, place.settings, small=small), {}
    adapter: Any = config.adapter.target.load()
    root = place.root
    if root is None and not adapter.built_in and roots.get(config.name) is None:
        root = default_root(config.name, adapter)
        if root is None:
            raise FusionBenchError(no_root(config.name, adapter, ["pass --root FOLDER"]))
    root = root or RunPaths(place.runs.expanduser().resolve(), roots, {}).root(config)
    try:
        data: DataSet = adapter(root, **config.adapter.settings)
    except (ValueError, TypeError) as error:  # an adapter of somebody else may refuse its settings so
        raise FusionBenchError(f"{config.name} refuses these settings: {error}") from error
    return data, root


def _track(items: Sequence[Path], what: str) -> Iterable[Path]:
    return track(items, description=what, console=Console(stderr=True), transient=True)

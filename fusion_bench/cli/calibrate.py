"""The command ``fusion-bench calibrate``: how often the statistics err, in general or for one study."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import typer
from rich.console import Console

from fusion_bench.calibration.grid import cases_of_looks, cases_of_shape, standard_cases
from fusion_bench.calibration.own_cells import OwnCells, split_own_cells
from fusion_bench.calibration.run import FinishedCases, run_cases
from fusion_bench.calibration.shape import arms_left_out, shape_of
from fusion_bench.calibration.written import Calibration, write_calibration
from fusion_bench.cli.open_study import open_as_last_run
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.progress import parts_shown
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.tables.markdown_text import code
from fusion_bench.reporting.tables.staged import compared, first_seeds
from fusion_bench.reporting.tables.tables import primary_comparison
from fusion_bench.results.collect import collect
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import Question
from fusion_bench.statistics.influence import Influences

_SPLITS = 400


@dataclass(frozen=True)
class CalibrateOptions:
    """The source, size and folders of a calibration.

    Attributes:
        source: a study file, ``runs/studies/NAME`` or a published report; None for the standard cases.
        runs: the runs folder.
        overrides: ``KEY=VALUE`` texts.
        data: ``NAME=FOLDER`` texts.
        studies: the number of simulated studies of each case.
        workers: the number of processes; None for one per core.
        out: the folder to write; None for one in the runs folder.
    """

    source: Path | None
    runs: Path
    overrides: tuple[str, ...]
    data: tuple[str, ...]
    studies: int
    workers: int | None
    out: Path | None


def calibrate_and_say(options: CalibrateOptions, *, as_json: bool) -> None:
    """Calibrate, write the files, and print what was found.

    Raises:
        FusionBenchError: the source is no study, or its cells cannot be compared.
    """
    console = Console(stderr=True)
    workers = options.workers or os.cpu_count() or 1
    name = "standard"
    own: OwnCells | str | None = None
    left_out: tuple[str, ...] = ()
    if options.source is None:
        title, cases = "Calibration of the statistics", standard_cases()
    else:
        results = _results(options.source, options.runs, options.overrides, options.data, console)
        name, title = results.name, f"Calibration of {results.name}"
        influences, question = primary_comparison(results)
        stages = results.stages
        table = compared(influences, question, stages)
        detectable = 100 * float(table["detectable"][table["look"] == table["look"].max()].max())
        influences = first_seeds(influences, stages)  # those that all arms have
        shape = shape_of(influences, question)
        own, left_out = _own_cells(influences, question), arms_left_out(influences, question)
        cases = (
            cases_of_shape(shape, detectable)
            if stages is None
            else cases_of_looks(shape, tuple(look.seeds for look in stages.planned), detectable)
        )
    folder = options.out or options.runs / "calibration" / name
    finished = FinishedCases(options.runs / "cache" / "calibration")
    with parts_shown(console) as notify:
        found = run_cases(cases, options.studies, workers, finished, notify)
    calibration = Calibration(title, found, own, tuple(map(code, left_out)))
    written = write_calibration(calibration, folder)
    if as_json:
        shown = {
            "title": title,
            "own_cells": _own_json(own),
            "left_out": list(left_out),
            "cases": [result.row() for result in found],
            "written": str(written),
        }
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(calibration.count())
    if isinstance(own, str):
        typer.echo(f"Own cells: not compared with themselves; {own}.")
    typer.echo(f"Calibration: {written}")


def _results(
    source: Path, runs: Path, overrides: Sequence[str], data: Sequence[str], console: Console
) -> StudyResults:
    if (source / "study.json").exists():
        return load(source)
    if source.is_dir() and not (source / "plan.json").exists():
        raise FusionBenchError(
            f"{source} is no published report (it has no study.json) and no study that has run (it has no "
            "plan.json); name one, such as reports/nlvr or runs/studies/nlvr, or a study file"
        )
    opened = open_as_last_run(source, runs, overrides, data, device="cpu", data_workers=1)
    with parts_shown(console) as notify:
        return collect(opened.study, replace(opened.paths, notify=notify))


def _own_cells(influences: Influences, question: Question) -> OwnCells | str:
    """Return the comparison of the study with itself, or why there is none."""
    try:
        return split_own_cells(influences, question, _SPLITS, np.random.default_rng(0))
    except FusionBenchError as error:
        return str(error)


def _own_json(own: OwnCells | str | None) -> object:
    if not isinstance(own, OwnCells):
        return own
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(own).items()
    }

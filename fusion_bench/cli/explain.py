"""The implementation of ``fusion-bench explain``: explain a finished cell and draw the explanation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import typer

from fusion_bench.cli.open_study import open_as_last_run
from fusion_bench.errors import FusionBenchError
from fusion_bench.explain.explain import ExplainedCell, ExplainedInput, ExplainRequest, explain
from fusion_bench.reporting.figures.explanation import draw_explained
from fusion_bench.storage import digest
from fusion_bench.study.run import study_folder


@dataclass(frozen=True)
class ExplainOptions:
    """The options of ``explain``; the help of the command describes them."""

    study: Path
    arm: str
    sample: str | None
    image: Path | None
    sentence: str | None
    seed: int | None
    copy: int | None
    out: Path | None
    runs: Path
    overrides: tuple[str, ...]
    data: tuple[str, ...]


def explain_and_draw(options: ExplainOptions) -> None:
    """Write one PNG; print its path and the answer of the cell.

    Raises:
        FusionBenchError: see `fusion_bench.explain.explain.explain`; or the input or the output file is not given
            correctly.
    """
    explained_input = _input(options)
    if options.out is not None and options.out.suffix.lower() != ".png":
        raise FusionBenchError(f"--out {options.out}: the output is a PNG; write a name that ends in .png")
    opened = open_as_last_run(
        options.study, options.runs, options.overrides, options.data, device="cpu", data_workers=1
    )
    study, paths = opened.study, opened.paths
    explained = explain(
        study, ExplainRequest(options.arm, explained_input, options.seed, options.copy), paths
    )
    path = options.out or study_folder(paths.runs, study.name) / "explained" / _file_name(explained)
    draw_explained(explained, path)
    typer.echo(_summary(explained))
    typer.echo(f"Picture: {path}")


def _input(options: ExplainOptions) -> ExplainedInput | str:
    own_input = (options.image, options.sentence)
    if options.sample is not None and own_input == (None, None):
        return options.sample
    if options.sample is None and options.image is not None and options.sentence is not None:
        return ExplainedInput(options.image, options.sentence)
    if options.sample is not None:
        raise FusionBenchError(
            f"--sample {options.sample} has its own image and sentence: leave --image and --sentence out"
        )
    raise FusionBenchError("nothing to explain: give --sample ID, or both --image FILE and --sentence TEXT")


def _file_name(explained: ExplainedCell) -> str:
    """Return a file name that is different for each explanation of a study, whatever its labels are."""
    given = explained.explained_input
    sample = given.sample or ""
    readable = re.fullmatch(r"\w[\w.-]{0,60}", sample, re.ASCII)
    label = sample if readable else digest([sample, str(given.image), given.text], 12)
    return f"{explained.cell}-copy{explained.copy}-{label}.png"


def _summary(explained: ExplainedCell) -> str:
    explained_input, answer = explained.explained_input, explained.answer
    cell = f"{explained.arm}, seed {explained.seed}, copy {explained.copy} of {explained.copies}"
    given = "" if answer is None else f" -> {answer.text} ({100 * answer.probability:.0f} %)"
    truth = "" if explained_input.truth is None else f", truth {explained_input.truth}"
    return f"{cell}: {explained_input.text}{given}{truth}"

"""Behind ``fusion-bench explain``: ask a finished cell what it listens to, and draw it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import typer

from fusion_bench.cli.open_study import open_study, paths_of
from fusion_bench.errors import FusionBenchError
from fusion_bench.explain.explain import ExplainedCell, ExplainedInput, ExplainRequest, explain
from fusion_bench.reporting.figures.explanation import draw_explained
from fusion_bench.storage import digest
from fusion_bench.study.run import study_folder


@dataclass(frozen=True)
class ExplainOptions:
    """What the user asked of ``explain``; see the command's help."""

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


def explain_and_draw(request: ExplainOptions) -> None:
    """Write one PNG and say where it is and what was answered.

    Raises:
        FusionBenchError: see `study.explain.explain`; or what to ask about, or where to write, is unclear.
    """
    about = _about(request)
    if request.out is not None and request.out.suffix.lower() != ".png":
        raise FusionBenchError(f"--out {request.out}: a PNG is written; let the name end in .png")
    study = open_study(request.study, request.overrides)
    paths = paths_of(study, request.runs, request.data, device="cpu", making=1)
    explained = explain(study, ExplainRequest(request.arm, about, request.seed, request.copy), paths)
    path = request.out or study_folder(paths.runs, study.name) / "explained" / _file_name(explained)
    draw_explained(explained, path)
    typer.echo(_answered(explained))
    typer.echo(f"Picture: {path}")


def _about(request: ExplainOptions) -> ExplainedInput | str:
    given = (request.image, request.sentence)
    if request.sample is not None and given == (None, None):
        return request.sample
    if request.sample is None and request.image is not None and request.sentence is not None:
        return ExplainedInput(request.image, request.sentence)
    if request.sample is not None:
        raise FusionBenchError(
            f"--sample {request.sample} brings its own picture and sentence: leave --image and --sentence out"
        )
    raise FusionBenchError("say what to ask about: --sample ID, or both --image FILE and --sentence TEXT")


def _file_name(explained: ExplainedCell) -> str:
    """A name that tells the pictures of a study apart."""
    subject = explained.subject
    about = subject.sample or f"{subject.image.stem}-{digest(subject.text, 6)}"
    name = f"{explained.arm}-seed{explained.seed}-copy{explained.copy}-{about}"
    return re.sub(r"[^\w.=-]+", "_", name) + ".png"


def _answered(explained: ExplainedCell) -> str:
    subject, answer = explained.subject, explained.answer
    asked = (
        f"{explained.arm}, seed {explained.seed}, copy {explained.copy} of {explained.copies}: {subject.text}"
    )
    said = "" if answer is None else f" -> {answer.text} ({100 * answer.probability:.0f} %)"
    truth = "" if subject.truth is None else f", truth {subject.truth}"
    return f"{asked}{said}{truth}"

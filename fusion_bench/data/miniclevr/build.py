"""Making the files: scenes, then pictures and questions, spread over processes.

What is made depends on the edition alone. Scenes and pictures are drawn in pieces of fixed size, each from
streams named by seed, split and index; the questions of a split, whose answers are balanced over all of
it, are one piece of work that runs beside the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from fusion_bench.data.miniclevr.layout import (
    image_path,
    scene_record,
    write_questions,
    write_scenes,
)
from fusion_bench.data.miniclevr.parallel import map_in_processes
from fusion_bench.data.miniclevr.placement import draw_scenes
from fusion_bench.data.miniclevr.questions.generate import generate_questions
from fusion_bench.data.miniclevr.render.render import render
from fusion_bench.data.miniclevr.scenes.scenes import Scene
from fusion_bench.data.miniclevr.settings import SceneSettings
from fusion_bench.data.programs import Facts

_PIECE = 64
"""Scenes or pictures made at a time."""


@dataclass(frozen=True, kw_only=True)
class Edition(SceneSettings):
    """What to make: the settings of one miniclevr.

    Attributes:
        questions_per_image: at most so many.
        kinds: question kinds.
    """

    questions_per_image: int
    kinds: tuple[str, ...]


def build_clevr(edition: Edition, root: Path, workers: int) -> None:
    """Write CLEVR's layout under ``root``.

    Args:
        edition: what to make.
        root: folder that does not exist yet.
        workers: processes; 1 works in this one.
    """
    for split, _ in edition.images:
        image_path(root, split, 0).parent.mkdir(parents=True)
    drawn = draw_split_scenes(edition, workers)
    scenes: dict[str, list[Scene]] = {split: [] for split, _ in edition.images}
    for split, some in drawn:
        scenes[split].extend(some)
    annotating = [
        partial(_annotate, edition, root, split, tuple(of_split)) for split, of_split in scenes.items()
    ]
    painting = [
        partial(render_images, some, edition.size, [image_path(root, split, scene.index) for scene in some])
        for split, some in drawn
    ]
    map_in_processes([*annotating, *painting], workers)


def draw_split_scenes(settings: SceneSettings, workers: int) -> list[tuple[str, tuple[Scene, ...]]]:
    """The scenes of every split, in pieces: splits with some of their scenes, all in order."""
    pieces = [
        (split, range(start, min(start + _PIECE, count)))
        for split, count in settings.images
        for start in range(0, count, _PIECE)
    ]
    drawn = map_in_processes(
        [partial(draw_scenes, settings.recipe(split), piece) for split, piece in pieces], workers
    )
    return [(split, tuple(some)) for (split, _), some in zip(pieces, drawn, strict=True)]


def _annotate(edition: Edition, root: Path, split: str, scenes: Sequence[Scene]) -> None:
    records = [scene_record(scene, split) for scene in scenes]
    write_scenes(root, split, records)
    stream = f"miniclevr questions {edition.seed} {split}"
    asked = generate_questions(
        [Facts.of(record) for record in records], edition.kinds, edition.questions_per_image, stream
    )
    write_questions(root, split, ((scene.index, some) for scene, some in zip(scenes, asked, strict=True)))


def render_images(scenes: Sequence[Scene], size: tuple[int, int], paths: Sequence[Path]) -> None:
    """Write the pictures of scenes as files."""
    for path, picture in zip(paths, render(scenes, size), strict=True):
        Image.fromarray(picture).save(path)

"""Generation of the files of miniclevr_refer: scenes with distractors, images, outlines and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from fusion_bench.data.miniclevr.build import draw_split_scenes, ended_jobs, render_images
from fusion_bench.data.miniclevr.layout import scene_record
from fusion_bench.data.miniclevr.parallel import processes
from fusion_bench.data.miniclevr.placement import SceneRecipe
from fusion_bench.data.miniclevr.referring.expressions import generate_expressions
from fusion_bench.data.miniclevr.referring.layout import (
    AnnotatedImage,
    outlines,
    refer_image_path,
    write_refer,
)
from fusion_bench.data.miniclevr.render.render import object_ids
from fusion_bench.data.miniclevr.scenes.scenes import Scene
from fusion_bench.data.miniclevr.settings import SceneSettings
from fusion_bench.data.programs import Facts
from fusion_bench.samples.counting import Notify, say_nothing

_DISTRACTORS = 0.5
"""Probability that an object is a distractor, which differs from an earlier object in one attribute."""


@dataclass(frozen=True, kw_only=True)
class MiniClevrReferSettings(SceneSettings):
    """The settings of one miniclevr_refer data set.

    Attributes:
        expressions_per_image: the greatest number of sentences about an image.
        relations: True if objects may be annotated by their relation to another object.
    """

    expressions_per_image: int
    relations: bool

    def recipe(self, split: str) -> SceneRecipe:
        """Return the recipe of a split's scenes."""
        return replace(super().recipe(split), distractors=_DISTRACTORS)


def build_refer(
    settings: MiniClevrReferSettings, name: str, root: Path, workers: int, notify: Notify = say_nothing
) -> None:
    """Generate a data set and write it in REFER's layout under ``root``.

    Args:
        settings: the settings of the data set.
        name: name of the data set.
        root: a folder that does not exist yet.
        workers: number of processes; 1 uses the current process.
        notify: is told how many images are rendered.
    """
    refer_image_path(root, 1).parent.mkdir(parents=True)
    jobs, sizes, number = [], [], 1
    with processes(workers) as pool:
        for split, scenes in draw_split_scenes(settings, pool, notify):
            jobs.append(partial(_annotate_scenes, settings, root, split, scenes, number))
            sizes.append(len(scenes))
            number += len(scenes)
        ended = ended_jobs("rendering images", sizes, notify)
        annotated = [image for chunk in pool.map(jobs, ended) for image in chunk]
    write_refer(root, name, settings.size, annotated)


def _annotate_scenes(
    settings: MiniClevrReferSettings, root: Path, split: str, scenes: Sequence[Scene], first: int
) -> list[AnnotatedImage]:
    """Render scenes as images with numbers from ``first`` on, and return the images with their sentences."""
    render_images(
        scenes,
        settings.size,
        [refer_image_path(root, number) for number, _ in enumerate(scenes, start=first)],
    )
    annotated = []
    for scene, ids in zip(scenes, object_ids(scenes, settings.size), strict=True):
        # Every scene has its own random stream, so that sentences do not depend on the number of processes.
        random = Random(f"miniclevr_refer {settings.seed} {split} {scene.index}")  # noqa: S311 - no secrets
        facts = Facts.of(scene_record(scene, split))
        sentences = generate_expressions(
            facts, settings.expressions_per_image, settings.relations, random, settings.attributes
        )
        shapes = tuple(thing.shape for thing in scene.things)
        annotated.append(AnnotatedImage(split, shapes, outlines(ids, len(shapes)), tuple(sentences)))
    return annotated

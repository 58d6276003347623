"""Making the files of the referring expressions: scenes with distractors, pictures, outlines and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

from fusion_bench.data.miniclevr.build import draw_split_scenes, render_images
from fusion_bench.data.miniclevr.layout import scene_record
from fusion_bench.data.miniclevr.parallel import map_in_processes
from fusion_bench.data.miniclevr.placement import Recipe
from fusion_bench.data.miniclevr.referring.expressions import generate_expressions
from fusion_bench.data.miniclevr.referring.layout import Described, outlines, refer_image_path, write
from fusion_bench.data.miniclevr.render.render import object_ids
from fusion_bench.data.miniclevr.scenes.scenes import Scene
from fusion_bench.data.miniclevr.settings import SceneSettings
from fusion_bench.data.programs import Facts

_ALIKE = 0.5
"""How many of the things are placed as distractors that differ from another one in one attribute."""


@dataclass(frozen=True, kw_only=True)
class ReferEdition(SceneSettings):
    """What to make: the settings of one miniclevr_refer.

    Attributes:
        expressions_per_image: at most so many sentences.
        relations: whether things may be described by where they stand.
    """

    expressions_per_image: int
    relations: bool

    def recipe(self, split: str) -> Recipe:
        """What the scenes of a split are drawn from."""
        return replace(super().recipe(split), alike=_ALIKE)


def build_refer(edition: ReferEdition, name: str, root: Path, workers: int) -> None:
    """Write REFER's layout under ``root``.

    Args:
        edition: what to make.
        name: of the data set.
        root: folder that does not exist yet.
        workers: processes; 1 works in this one.
    """
    refer_image_path(root, 1).parent.mkdir(parents=True)
    jobs, number = [], 1
    for split, scenes in draw_split_scenes(edition, workers):
        jobs.append(partial(_describe, edition, root, split, scenes, number))
        number += len(scenes)
    described = [image for some in map_in_processes(jobs, workers) for image in some]
    write(root, name, edition.size, described)


def _describe(
    edition: ReferEdition, root: Path, split: str, scenes: Sequence[Scene], first: int
) -> list[Described]:
    """Paint scenes as images from number ``first`` on, and say what is in them."""
    render_images(
        scenes, edition.size, [refer_image_path(root, number) for number, _ in enumerate(scenes, start=first)]
    )
    described = []
    for scene, ids in zip(scenes, object_ids(scenes, edition.size), strict=True):
        # Every scene has a stream of its own, so that no sentence depends on how the work is spread.
        random = Random(f"miniclevr_refer {edition.seed} {split} {scene.index}")  # noqa: S311 - no secrets
        facts = Facts.of(scene_record(scene, split))
        sentences = generate_expressions(facts, edition.expressions_per_image, edition.relations, random)
        shapes = tuple(thing.shape for thing in scene.things)
        described.append(Described(split, shapes, outlines(ids, len(shapes)), tuple(sentences)))
    return described

"""Generation of the files of miniclevr: first scenes, then images and questions, in several processes.

The files depend on the settings only. Scenes and images are generated in chunks of fixed size, from random streams
that are named by seed, split and index. The questions of a split are one job, because their answers are balanced over
the whole split; it runs in parallel with the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from fusion_bench.data.miniclevr.parallel import Processes, processes
from fusion_bench.data.miniclevr.placement import draw_scenes
from fusion_bench.data.miniclevr.questions.generate import generate_questions
from fusion_bench.data.miniclevr.questions.templates import Wordings
from fusion_bench.data.miniclevr.render.render import render
from fusion_bench.data.miniclevr.scenes.scenes import Scene
from fusion_bench.data.miniclevr.settings import SceneSettings
from fusion_bench.data.programs import Facts
from fusion_bench.samples.counting import Notify, say_nothing

_CHUNK = 64
"""Number of scenes or images per job."""


@dataclass(frozen=True, kw_only=True)
class MiniClevrSettings(SceneSettings):
    """The settings of one miniclevr data set.

    Attributes:
        questions_per_image: the greatest number of questions about an image.
        kinds: the question kinds.
        wordings: the sentences of the questions.
    """

    questions_per_image: int
    kinds: tuple[str, ...]
    wordings: Wordings = "all"


def build_clevr(settings: MiniClevrSettings, root: Path, workers: int, notify: Notify = say_nothing) -> None:
    """Generate a data set and write it in CLEVR's layout under ``root``.

    Args:
        settings: the settings of the data set.
        root: a folder that does not exist yet.
        workers: number of processes; 1 uses the current process.
        notify: is told how many images are rendered.
    """
    for split, _ in settings.images:
        image_path(root, split, 0).parent.mkdir(parents=True)
    with processes(workers) as pool:
        drawn = draw_split_scenes(settings, pool, notify)
        scenes: dict[str, list[Scene]] = {split: [] for split, _ in settings.images}
        for split, chunk_scenes in drawn:
            scenes[split].extend(chunk_scenes)
        question_jobs = [
            partial(_annotate, settings, root, split, tuple(split_scenes))
            for split, split_scenes in scenes.items()
        ]
        image_jobs = [
            partial(
                render_images,
                chunk_scenes,
                settings.size,
                [image_path(root, split, scene.index) for scene in chunk_scenes],
            )
            for split, chunk_scenes in drawn
        ]
        sizes = [0] * len(question_jobs) + [len(chunk_scenes) for _, chunk_scenes in drawn]
        pool.map([*question_jobs, *image_jobs], ended_jobs("rendering images", sizes, notify))


def draw_split_scenes(
    settings: SceneSettings, pool: Processes, notify: Notify = say_nothing
) -> list[tuple[str, tuple[Scene, ...]]]:
    """Return the scenes of every split in chunks, in order: pairs of split name and scenes."""
    chunks = [
        (split, range(start, min(start + _CHUNK, count)))
        for split, count in settings.images
        for start in range(0, count, _CHUNK)
    ]
    drawn = pool.map(
        [partial(draw_scenes, settings.recipe(split), chunk) for split, chunk in chunks],
        ended_jobs("placing the objects of scenes", [len(chunk) for _, chunk in chunks], notify),
    )
    return [(split, tuple(chunk_scenes)) for (split, _), chunk_scenes in zip(chunks, drawn, strict=True)]


def ended_jobs(what: str, sizes: Sequence[int], notify: Notify) -> Callable[[int], None]:
    """Return what takes the number of each job that ends and tells how much of all is done.

    Args:
        what: the name of what is counted.
        sizes: how many each job makes.
        notify: is told the sum over the jobs that have ended.
    """
    total, done = sum(sizes), 0

    def ended(number: int) -> None:
        nonlocal done
        done += sizes[number]
        if sizes[number]:
            notify(what, done, total)

    return ended


def _annotate(settings: MiniClevrSettings, root: Path, split: str, scenes: Sequence[Scene]) -> None:
    records = [scene_record(scene, split) for scene in scenes]
    write_scenes(root, split, records)
    stream = f"miniclevr questions {settings.seed} {split}"
    questions = generate_questions(
        [Facts.of(record) for record in records],
        settings.kinds,
        settings.questions_per_image,
        stream,
        wordings=settings.wordings,
        attributes=settings.attributes,
        things=settings.things[1],
    )
    write_questions(
        root, split, ((scene.index, asked) for scene, asked in zip(scenes, questions, strict=True))
    )


def render_images(scenes: Sequence[Scene], size: tuple[int, int], paths: Sequence[Path]) -> None:
    """Render the scenes and write each image to its path; ``size`` is height and width in pixels."""
    for path, pixels in zip(paths, render(scenes, size), strict=True):
        Image.fromarray(pixels).save(path)

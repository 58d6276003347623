"""Making the files: scenes, then pictures and questions, spread over processes.

What is made depends on the edition alone. Scenes and pictures are drawn in pieces of fixed size, each from
streams named by seed, split and index; the questions of a split, whose answers are balanced over all of
it, are one piece of work that runs beside the pictures.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image

from fusion_bench.data.miniclevr.layout import (
    image_path,
    scene_record,
    write_questions,
    write_scenes,
)
from fusion_bench.data.miniclevr.placement import Recipe, draw_scenes
from fusion_bench.data.miniclevr.questions.asking import ask
from fusion_bench.data.miniclevr.render import render
from fusion_bench.data.miniclevr.scenes import Scene
from fusion_bench.data.programs import Facts

T = TypeVar("T")

_PIECE = 64
"""Scenes or pictures made at a time."""


@dataclass(frozen=True)
class Edition:
    """What to make: the settings of one miniclevr.

    Attributes:
        seed: of everything.
        images: splits and how many images each has.
        questions_per_image: at most so many.
        kinds: question kinds.
        size: height and width of the pictures.
        things: least and most objects of a scene.
    """

    seed: int
    images: tuple[tuple[str, int], ...]
    questions_per_image: int
    kinds: tuple[str, ...]
    size: tuple[int, int]
    things: tuple[int, int]


def make(edition: Edition, root: Path, workers: int) -> None:
    """Write CLEVR's layout under ``root``.

    Args:
        edition: what to make.
        root: folder that does not exist yet.
        workers: processes; 1 works in this one.
    """
    pieces = [
        (split, range(start, min(start + _PIECE, count)))
        for split, count in edition.images
        for start in range(0, count, _PIECE)
    ]
    for split, _ in edition.images:
        image_path(root, split, 0).parent.mkdir(parents=True)
    drawn = _spread([partial(_draw, edition, split, piece) for split, piece in pieces], workers)
    scenes: dict[str, list[Scene]] = {split: [] for split, _ in edition.images}
    for (split, _), some in zip(pieces, drawn, strict=True):
        scenes[split].extend(some)
    annotate = [
        partial(_annotate, edition, root, split, tuple(of_split)) for split, of_split in scenes.items()
    ]
    paint = [
        partial(_paint, edition, root, split, tuple(some))
        for (split, _), some in zip(pieces, drawn, strict=True)
    ]
    _spread([*annotate, *paint], workers)


def _draw(edition: Edition, split: str, indices: range) -> list[Scene]:
    return draw_scenes(Recipe(edition.seed, split, edition.size, edition.things), indices)


def _annotate(edition: Edition, root: Path, split: str, scenes: Sequence[Scene]) -> None:
    records = [scene_record(scene, split) for scene in scenes]
    write_scenes(root, split, records)
    stream = f"miniclevr questions {edition.seed} {split}"
    asked = ask([Facts.of(record) for record in records], edition.kinds, edition.questions_per_image, stream)
    write_questions(root, split, ((scene.index, some) for scene, some in zip(scenes, asked, strict=True)))


def _paint(edition: Edition, root: Path, split: str, scenes: Sequence[Scene]) -> None:
    for scene, picture in zip(scenes, render(scenes, edition.size), strict=True):
        Image.fromarray(picture).save(image_path(root, split, scene.index))


def _spread(jobs: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """Results in the order of ``jobs``."""
    if workers <= 1 or len(jobs) <= 1:
        return [job() for job in jobs]
    # Spawned, since forking a process that runs threads (torch's, MLflow's) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_start) as pool:
        futures = [pool.submit(job) for job in jobs]
        return [future.result() for future in futures]


def _start() -> None:
    """One torch thread a process; and a process whose parent is killed must not go on writing."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)

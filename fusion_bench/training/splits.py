"""Reads splits for cells: samples that cannot be used are left out and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fusion_bench.data.images import damaged_images
from fusion_bench.errors import DataError
from fusion_bench.registries import TASKS
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Split
from fusion_bench.tasks.task import Task
from fusion_bench.training.config import DataConfig


@dataclass(frozen=True, eq=False)
class ReadSplit:
    """A split without its unusable samples, and the numbers of those.

    Attributes:
        split: the samples that cells use.
        damaged: number of samples that were left out because their image is damaged and the study skips such images.
        repeated: number of samples that were left out because an earlier sample has the same id.
        of_task: numbers of samples by kind (`Task.check_samples`): those that the task leaves out, and further ones.
    """

    split: Split
    damaged: int = 0
    repeated: int = 0
    of_task: Mapping[str, int] = field(default_factory=dict)


def task_class(config: DataConfig) -> type[Task]:
    """Return the class of the task that a study asks for on a data set."""
    adapter: type[DataSet] = config.adapter.target.load()
    return TASKS.load(adapter.task(config.task))


def read_split(data: DataSet, name: str, config: DataConfig, workers: int = 1) -> ReadSplit:
    """Return one split as a study uses it: cut to the configured limit, with the slices of its task.

    Args:
        data: the data set, opened.
        name: the name of the split.
        config: the settings of the data set.
        workers: number of threads that may search for damaged images.

    Raises:
        DataError: the data set has no such split, its files are damaged, or no sample of it can be used.
    """
    split = data.split(name)
    usable = np.ones(len(split), dtype=bool)
    if config.on_bad_image == "skip":
        damaged = damaged_images(split.images, data.cache, workers, data.notify)
        usable = ~np.array([image in damaged for image in split.images], dtype=bool)[split.table["image"]]
    repeated = split.table["sample"].duplicated().to_numpy() & usable
    if not usable.all() or repeated.any():
        split = split.rows(np.flatnonzero(usable & ~repeated))
    task = task_class(config)
    check = task.check_samples(split)
    left_out = np.logical_or.reduce([np.zeros(len(split), dtype=bool), *check.left_out.values()])
    if left_out.all():
        reason = check.problem or "no image can be read, or every sentence is empty"
        raise DataError(f"no sample of the split {name!r} of {data.name} can be used: {reason}")
    if left_out.any():
        split = split.rows(np.flatnonzero(~left_out))
    if config.limit is not None:
        split = split.evenly_spaced(config.limit)
    counts = {kind: int(rows.sum()) for kind, rows in check.left_out.items()} | dict(check.counts)
    of_task = {kind: count for kind, count in counts.items() if count}
    return ReadSplit(task.add_slices(split), int((~usable).sum()), int(repeated.sum()), of_task)


def known_texts(data: DataSet, train: Split, config: DataConfig) -> list[str]:
    """Return the texts whose words form the vocabulary.

    They are the texts of the training split ``train``; with ``vocabulary: published``, those of the selection and
    evaluation splits too.
    """
    texts: list[str] = train.table["text"].tolist()
    if config.vocabulary == "published":
        for name in (data.splits.select, *data.splits.evaluate):
            texts += data.split(name).table["text"].tolist()
    return texts


def shared_images(data: DataSet, digests: Mapping[str, tuple[bytes, ...]]) -> dict[str, int]:
    """Return, for each other split that shares images with the training split, the number of those images.

    Args:
        data: the data set.
        digests: digests of the content of every image, by split.

    Raises:
        DataError: splits share images and the data set is not published, so that the user can split it by image.
    """
    train = frozenset(digests[data.splits.train])
    counts = {
        name: sum(digest in train for digest in images)
        for name, images in digests.items()
        if name != data.splits.train
    }
    shared = {name: count for name, count in counts.items() if count}
    if shared and not data.published:
        named = " and ".join(f"{count} of {name}" for name, count in shared.items())
        raise DataError(
            f"images of the split {data.splits.train} of {data.name} are also in other splits ({named}); split the "
            "data by image, so that no model is evaluated on images that it was trained on"
        )
    return shared

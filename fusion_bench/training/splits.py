"""Splits as cells use them: samples that cannot be used are left out, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    """A split, and how many of its samples are no part of it.

    Attributes:
        split: what cells use.
        damaged: samples about images that do not open, where the study skips them.
        repeated: samples whose id stands before them already.
    """

    split: Split
    damaged: int = 0
    repeated: int = 0


def task_class(config: DataConfig) -> type[Task]:
    """What is asked of the data set."""
    adapter: type[DataSet] = config.adapter.target.load()
    return TASKS.load(adapter.task(config.task))


def read_split(data: DataSet, name: str, config: DataConfig, workers: int = 1) -> ReadSplit:
    """One split of a data set as a study uses it, cut to the configured limit, with the slices of its task.

    Args:
        data: opened.
        name: of the split.
        config: says whether samples of damaged images are skipped.
        workers: threads that may look for those.

    Raises:
        DataError: there is no such split, or its files are damaged.
    """
    split = data.split(name)
    fit = np.ones(len(split), dtype=bool)
    if config.on_bad_image == "skip":
        bad = damaged_images(split.images, data.cache, workers)
        fit = ~np.array([image in bad for image in split.images], dtype=bool)[split.table["image"]]
    repeated = split.table["sample"].duplicated().to_numpy() & fit
    if not fit.all() or repeated.any():
        split = split.rows(np.flatnonzero(fit & ~repeated))
    if config.limit is not None:
        split = split.spread(config.limit)
    return ReadSplit(task_class(config).sliced(split), int((~fit).sum()), int(repeated.sum()))


def known_texts(data: DataSet, train: Split, config: DataConfig) -> list[str]:
    """The texts whose words are known: of the training split; of all that judge too where the study asks so."""
    texts: list[str] = train.table["text"].tolist()
    if config.vocabulary == "published":
        for name in (data.splits.select, *data.splits.evaluate):
            texts += data.split(name).table["text"].tolist()
    return texts


def shared_images(data: DataSet, digests: Mapping[str, tuple[bytes, ...]]) -> dict[str, int]:
    """How many images of each judging split are in the training split too, where there are any.

    Args:
        data: its splits are either published as they are, or the user's own.
        digests: of the content of every image, by split.

    Raises:
        DataError: splits of the user's own share images.
    """
    trained = frozenset(digests[data.splits.train])
    counts = {
        name: sum(digest in trained for digest in found)
        for name, found in digests.items()
        if name != data.splits.train
    }
    shared = {name: count for name, count in counts.items() if count}
    if shared and not data.published:
        named = " and ".join(f"{count} of {name}" for name, count in shared.items())
        raise DataError(
            f"images of {data.name} are in {data.splits.train} and judged on as well ({named}); split it by image, "
            "so that nothing is judged on what was trained on"
        )
    return shared

"""Opens the data set and builds the task and the initial backbone of a cell."""

from __future__ import annotations

from typing import Any

from fusion_bench.encoders.vision import Backbone, build_backbone
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.split import Split
from fusion_bench.tasks.task import Task
from fusion_bench.training.config import CellConfig, DataConfig
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.pretext_weights import (
    PretextTask,
    PretextWeights,
    make_pretext_weights,
    read_pretext_weights,
)
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.splits import known_texts, read_split, task_class

UNIT_NORMALISATION = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""Mean and standard deviation per colour channel that leave the values in [0, 1]."""


def open_data(config: DataConfig, paths: RunPaths) -> DataSet:
    """Return the data set, opened: a built-in one generates its files, any other one checks them.

    Raises:
        FusionBenchError: the folder of the data set is not known.
        DataError: files of the data set are missing or damaged.
    """
    adapter: type[DataSet] = config.adapter.target.load()
    settings = {key: _to_tuple(value) for key, value in config.adapter.settings.items()}
    data: DataSet = adapter(paths.root(config), **settings)  # type: ignore[call-arg]
    data.cache = paths.cache / "data"
    data.notify = paths.notify
    data.prepare(paths.workers)
    return data


def resizing_of(config: DataConfig) -> Resizing:
    """Return how images are resized to the input of the network."""
    return Resizing(*config.image_size, config.resize == "letterbox")


def make_task(config: CellConfig, train: Split) -> Task:
    """Return the task of a cell; its answers come from the training split ``train``."""
    return task_class(config.data)(train, resizing_of(config.data), config.head.kind)


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def initial_backbone(config: CellConfig, paths: RunPaths, pretext: PretextWeights | None) -> Backbone | None:
    """Return the backbone of a cell with its initial weights; None for an end-to-end network.

    Random weights come from the stream ``init/backbone`` of the cell's seed.

    Args:
        config: the settings of the cell.
        paths: paths on this machine.
        pretext: the pretext weights; None if the cell asks for other weights.

    Raises:
        FusionBenchError: the path of the weights file is not known.
        WeightsError: the weights cannot be read or downloaded, or do not fit.
    """
    settings = config.backbone
    if settings is None:
        return None
    weights_file = None
    if settings.weights == "file":
        weights_file = paths.weight_files.get(settings.weights_sha256 or "")
        if weights_file is None:
            raise FusionBenchError(
                f"the weights of the backbone {settings.name} are the file with SHA-256 {settings.weights_sha256}, "
                f"whose path is not known; pass --weights {settings.weights_sha256}=PATH"
            )
    if pretext is not None:
        weights_file = pretext.file
    with seeded_rng("init/backbone", config.seed):
        backbone = build_backbone(
            settings.name,
            layer=settings.layer,
            weights=settings.weights,
            weights_file=weights_file,
            image_size=config.data.image_size,
            frozen=settings.frozen,
        )
    return set_normalisation(backbone, config.data)


def set_normalisation(backbone: Backbone, config: DataConfig) -> Backbone:
    """Return the same backbone after setting the mean and standard deviation of its images as a study asks."""
    if config.normalise == "none":
        backbone.mean, backbone.std = UNIT_NORMALISATION
    return backbone


def make_pretext(config: CellConfig, paths: RunPaths) -> None:
    """Train the pretext backbone that a cell starts from, if the cell asks for one and the cache lacks it."""
    task = _pretext_task(config)
    if task is not None:
        make_pretext_weights(task, paths.cache, paths.notify)


def read_pretext(config: CellConfig, paths: RunPaths) -> PretextWeights | None:
    """Return the pretext weights for a cell's backbone and data; None if the cell asks for other weights.

    Raises:
        WeightsError: the cache does not hold them; `make_pretext` trains them.
    """
    task = _pretext_task(config)
    return None if task is None else read_pretext_weights(task, paths.cache)


def _pretext_task(config: CellConfig) -> PretextTask | None:
    backbone = config.backbone
    if backbone is None or backbone.weights != "pretext":
        return None
    adapter: type[DataSet] = config.data.adapter.target.load()
    return PretextTask(
        backbone.name, backbone.layer, config.data.image_size, condition=adapter.pretext_condition
    )


def vocabulary_sources(
    config: CellConfig, data: DataSet, train: Split, paths: RunPaths
) -> tuple[Split, list[str]]:
    """Return the training split that a cell's answers come from, and the texts that its vocabulary comes from.

    A cell that starts from another cell's weights uses the answers and the vocabulary of the first cell of that
    chain.

    Args:
        config: the settings of the cell.
        data: the cell's own data set, opened.
        train: the training split of ``data``.
        paths: paths on this machine.

    Raises:
        FusionBenchError: the first cell's data set cannot be opened.
    """
    first = config
    while first.start is not None:
        first = first.start
    if first is not config:
        data = open_data(first.data, paths)
        train = read_split(data, data.splits.train, first.data, paths.workers).split
    return train, known_texts(data, train, first.data)

"""The data set, task and initial backbone of a cell, opened or built."""

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
from fusion_bench.training.pretext_weights import PretextWeights, pretext_weights
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.splits import known_texts, read_split, task_class

NOT_NORMALISED = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""Mean and deviation that leave values in [0, 1]."""


def open_data(config: DataConfig, paths: RunPaths) -> DataSet:
    """Construct the adapter and make or check its files."""
    adapter: type[DataSet] = config.adapter.target.load()
    settings = {key: _frozen(value) for key, value in config.adapter.settings.items()}
    data: DataSet = adapter(paths.root(config), **settings)  # type: ignore[call-arg]
    data.cache = paths.cache / "data"
    data.prepare(paths.workers)
    return data


def resizing_of(config: DataConfig) -> Resizing:
    """How pictures come to the network's input."""
    return Resizing(*config.image_size, config.resize == "letterbox")


def make_task(config: CellConfig, train: Split) -> Task:
    """The task of a cell, from the training split."""
    return task_class(config.data)(train, resizing_of(config.data), config.head.kind)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def starting_backbone(config: CellConfig, paths: RunPaths, pretext: PretextWeights | None) -> Backbone | None:
    """The backbone with its initial weights, drawn from the seed's own stream where they are random."""
    asked = config.backbone
    if asked is None:
        return None
    weights_file = None
    if asked.weights == "file":
        weights_file = paths.weight_files.get(asked.weights_sha256 or "")
        if weights_file is None:
            raise FusionBenchError(f"no file with SHA-256 {asked.weights_sha256} was named for {asked.name}")
    if pretext is not None:
        weights_file = pretext.file
    with seeded_rng("init/backbone", config.seed):
        backbone = build_backbone(
            asked.name,
            layer=asked.layer,
            weights=asked.weights,
            weights_file=weights_file,
            image_size=config.data.image_size,
            frozen=asked.frozen,
        )
    return normalising(backbone, config.data)


def normalising(backbone: Backbone, config: DataConfig) -> Backbone:
    """The backbone, told what its images are centred and divided by."""
    if config.normalise == "none":
        backbone.mean, backbone.std = NOT_NORMALISED
    return backbone


def weights_of_pretext(config: CellConfig, paths: RunPaths) -> PretextWeights | None:
    """What the pretext task made for a cell's backbone and data; None if the cell asks for other weights."""
    asked = config.backbone
    if asked is None or asked.weights != "pretext":
        return None
    adapter: type[DataSet] = config.data.adapter.target.load()
    return pretext_weights(
        asked.name,
        asked.layer,
        config.data.image_size,
        paths.cache,
        condition=adapter.pretext_condition,
    )


def vocabulary_sources(
    config: CellConfig, data: DataSet, train: Split, paths: RunPaths
) -> tuple[Split, list[str]]:
    """The training split that a cell's answers come from, and the texts that its words come from.

    They are those of the cell at the beginning of the chain for one that starts from another's weights.
    """
    first = config
    while first.start is not None:
        first = first.start
    if first is not config:
        data = open_data(first.data, paths)
        train = read_split(data, data.splits.train, first.data, paths.workers).split
    return train, known_texts(data, train, first.data)

"""Everything that a cell trains on, ready to be gathered by row: tokens, targets, and images or cached maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.contract import Tokenizer
from fusion_bench.data.images import decoded_images, image_digests
from fusion_bench.encoders.features import TextVectors, frozen_features, frozen_vectors
from fusion_bench.encoders.vision import Backbone, weights_digest
from fusion_bench.samples.dataset import DataSet, Splits
from fusion_bench.samples.split import Split
from fusion_bench.storage import digest
from fusion_bench.tasks.task import Targets, Task
from fusion_bench.training.config import CellConfig
from fusion_bench.training.inputs import (
    NOT_NORMALISED,
    make_task,
    open_data,
    starting_backbone,
    vocabulary_sources,
    weights_of_pretext,
)
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.splits import ReadSplit, read_split, shared_images
from fusion_bench.training.text_encoder import NOTHING_READ, text_encoder, tokenizer_of


@dataclass(frozen=True, eq=False)
class EncodedSplit:
    """One split, gathered by row.

    Attributes:
        split: its table.
        tokens: ``[N, T]`` word ids; ``lengths``: ``[N]`` words of each.
        targets: ``N`` of them, as the task defines.
        visual: ``[I, H, W, 3]`` uint8 images or ``[I, C, h, w]`` cached maps, one per image.
        image: ``[N]`` row in ``visual``.
        vectors: what a frozen text encoder made of each sample's tokens; None where it is part of the model.
    """

    split: Split
    tokens: Tensor
    lengths: Tensor
    targets: Targets
    visual: npt.NDArray[Any]
    image: npt.NDArray[np.int64]
    vectors: TextVectors | None = None


@dataclass(frozen=True, eq=False)
class CellData:
    """Everything that cells of one data set, backbone and seed share.

    Attributes:
        metrics: names of the task's metrics that the data set wants, the primary one first.
        backbone: the trained backbone's twin to start from; None when maps are cached or the arm is a network.
        map_shape: (C, h, w) of the map that a slot reads.
        weights_sha256: digest of the backbone's initial weights.
        files: what settings of the text encoder name by SHA-256.
        doubts: what a report must tell of the data, by split: samples left out for a ``damaged_image`` or a
            ``repeated_id``, and images of a ``shared_image`` with the training split.
    """

    data: DataSet
    splits: Splits
    task: Task
    metrics: tuple[str, ...]
    vocabulary: Tokenizer
    encoded: Mapping[str, EncodedSplit]
    backbone: Backbone | None
    map_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights_sha256: str
    manifest: str
    files: Mapping[str, Path] = field(default_factory=dict)
    data_warnings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def longest(self) -> int:
        """Words of the longest training sentence."""
        return int(self.encoded[self.splits.train].tokens.shape[1])


def cell_data_key(config: CellConfig, *, shared: bool = False) -> str:
    """Equal for cells that need the same materials; with ``shared``, the same files in the cache.

    Random weights differ by seed; they change a cached file only where their maps are cached.
    """
    asked = config.backbone
    by_seed = asked is not None and asked.weights == "random" and (asked.frozen or not shared)
    written = config.to_json()
    parts = [written["data"], written["backbone"], written["text"], config.kind]
    parts.append(None if shared else config.head.kind)
    if config.start is not None:
        parts.append(written["start"])
    return digest([*parts, config.evaluate, config.seed if by_seed else None])


def load_cell_data(config: CellConfig, paths: RunPaths) -> CellData:
    """Open, decode, encode and cache whatever a cell needs; what is already cached is only opened."""
    # Whatever cannot be had is told of before anything is made: the data's folder, then the weights.
    paths.root(config.data)
    pretext = weights_of_pretext(config, paths)
    backbone = starting_backbone(config, paths, pretext)
    text = text_encoder(config, NOTHING_READ, paths.weight_files)
    data = open_data(config.data, paths)
    names = [data.splits.train, data.splits.select]
    if config.evaluate:
        names += (*data.splits.evaluate, *data.splits.predict)
    read = {name: read_split(data, name, config.data, paths.workers) for name in names}
    splits = {name: found.split for name, found in read.items()}
    digests = {
        name: image_digests(split.images, paths.workers, paths.cache / "data")
        for name, split in splits.items()
    }
    shared = shared_images(data, digests)
    train = splits[data.splits.train]
    taught, texts = vocabulary_sources(config, data, train, paths)
    task = make_task(config, taught)
    vocabulary = tokenizer_of(text, texts)
    manifest = data.manifest()
    weights = weights_digest(backbone) if backbone is not None else ""
    frozen = backbone is not None and config.backbone is not None and config.backbone.frozen
    visuals: dict[str, npt.NDArray[Any]] = {}
    for name, split in splits.items():
        images = decoded_images(
            split.images,
            config.data.image_size,
            paths.cache / "data",
            paths.workers,
            digests[name],
            letterbox=config.data.resize == "letterbox",
        )
        if pretext is not None:
            pretext.refuse_seen(images, name)
        if frozen:
            assert backbone is not None  # noqa: S101 - the study file demands one for modules
            key = {"images": hashlib.sha256(images.data).hexdigest()}
            visuals[name] = frozen_features(backbone, images, key, paths.cache / "features")
        else:
            visuals[name] = images
    reader = text.frozen_part()
    encoded = {}
    for name, split in splits.items():
        tokens = vocabulary.encode(list(split.table["text"]), config.data.longest_text)
        vectors = None
        if reader is not None and text.vector_dim is not None:
            vectors = frozen_vectors(reader, text.vector_dim, tokens, paths.cache / "features")
        encoded[name] = _encoded(split, task, tokens, visuals[name], vectors)
    if config.kind == "network":
        shape = (3, *config.data.image_size)
    else:
        assert backbone is not None  # noqa: S101 - the study file demands one for modules
        shape = (backbone.channels, *backbone.map_size)
    return CellData(
        data=data,
        splits=data.splits,
        task=task,
        metrics=data.tasks[data.task(config.data.task)],
        vocabulary=vocabulary,
        encoded=encoded,
        backbone=None if frozen else backbone,
        map_shape=shape,
        mean=NOT_NORMALISED[0] if backbone is None else backbone.mean,
        std=NOT_NORMALISED[1] if backbone is None else backbone.std,
        weights_sha256=weights,
        manifest=manifest,
        files=paths.weight_files,
        data_warnings=_data_warnings(read, shared),
    )


def _data_warnings(read: Mapping[str, ReadSplit], shared: Mapping[str, int]) -> dict[str, dict[str, int]]:
    counted = {
        "damaged_image": {name: found.damaged for name, found in read.items() if found.damaged},
        "repeated_id": {name: found.repeated for name, found in read.items() if found.repeated},
        "shared_image": dict(shared),
    }
    return {what: counts for what, counts in counted.items() if counts}


def _encoded(
    split: Split,
    task: Task,
    tokens: npt.NDArray[np.int64],
    visual: npt.NDArray[Any],
    vectors: TextVectors | None,
) -> EncodedSplit:
    return EncodedSplit(
        split=split,
        tokens=torch.from_numpy(tokens),
        lengths=torch.from_numpy((tokens != 0).sum(1)),
        targets=task.targets(split),
        visual=visual,
        image=split.table["image"].to_numpy(np.int64),
        vectors=vectors,
    )

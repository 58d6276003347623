"""What a cell trains on, ready to be gathered by row: words, targets, and images or cached maps."""

from __future__ import annotations

import hashlib
import os
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
from fusion_bench.encoders.vision import Backbone, build_backbone, weights_digest
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples import DataSet, Resizing, Split, Splits
from fusion_bench.storage import digest
from fusion_bench.tasks.task import Targets, Task
from fusion_bench.training.config import CellConfig, DataConfig
from fusion_bench.training.seeds import drawing
from fusion_bench.training.splits import ReadSplit, known_texts, read_split, shared_images, task_class
from fusion_bench.training.weights import PretextWeights, pretext_weights
from fusion_bench.training.wording import NOTHING_READ, text_encoder, tokenizer_of

NOT_NORMALISED = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""Mean and deviation that leave values in [0, 1]."""


@dataclass(frozen=True)
class Places:
    """Where things lie on this machine; never part of a cell's identity.

    Attributes:
        runs: the folder with cells, studies and caches.
        roots: folder of each data set that is not built in, by name.
        weight_files: backbone weight files, and what text encoders read, by SHA-256.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        workers: processes that may make and decode data.
    """

    runs: Path
    roots: Mapping[str, Path]
    weight_files: Mapping[str, Path]
    device: str = "cpu"
    workers: int = 1

    @property
    def cache(self) -> Path:
        """Everything that can be made again."""
        return self.runs / "cache"

    def root(self, config: DataConfig) -> Path:
        """The folder of a data set.

        Raises:
            FusionBenchError: nobody said where it is.
        """
        adapter: type[DataSet] = config.adapter.target.load()
        if adapter.built_in:
            return (
                self.cache
                / "data"
                / f"{config.name}-{digest([config.version, dict(config.adapter.settings)])}"
            )
        variable = f"FUSION_BENCH_DATA_{config.name.upper().replace('+', '_PLUS')}"
        root = self.roots.get(config.name) or os.environ.get(variable)
        if root is None:
            raise FusionBenchError(
                f"where is the data set {config.name!r}? Write data.root in the study, pass "
                f"--data {config.name}=FOLDER, or set {variable} (published at {adapter.homepage})"
            )
        return Path(root)


def open_data(config: DataConfig, places: Places) -> DataSet:
    """Construct the adapter and make or check its files."""
    adapter: type[DataSet] = config.adapter.target.load()
    settings = {key: _frozen(value) for key, value in config.adapter.settings.items()}
    data: DataSet = adapter(places.root(config), **settings)  # type: ignore[call-arg]
    data.cache = places.cache / "data"
    data.prepare(places.workers)
    return data


def resizing_of(config: DataConfig) -> Resizing:
    """How pictures come to the network's input."""
    return Resizing(*config.image_size, config.resize == "letterbox")


def make_task(config: CellConfig, train: Split) -> Task:
    """The task of a cell, from the training split."""
    return task_class(config.data)(train, resizing_of(config.data), config.head.kind)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, eq=False)
class Examples:
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
class Materials:
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
    examples: Mapping[str, Examples]
    backbone: Backbone | None
    map_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights_sha256: str
    manifest: str
    files: Mapping[str, Path] = field(default_factory=dict)
    doubts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def longest(self) -> int:
        """Words of the longest training sentence."""
        return int(self.examples[self.splits.train].tokens.shape[1])


def starting_backbone(config: CellConfig, places: Places, pretext: PretextWeights | None) -> Backbone | None:
    """The backbone with its initial weights, drawn from the seed's own stream where they are random."""
    asked = config.backbone
    if asked is None:
        return None
    weights_file = None
    if asked.weights == "file":
        weights_file = places.weight_files.get(asked.weights_sha256 or "")
        if weights_file is None:
            raise FusionBenchError(f"no file with SHA-256 {asked.weights_sha256} was named for {asked.name}")
    if pretext is not None:
        weights_file = pretext.file
    with drawing("init/backbone", config.seed):
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


def weights_of_pretext(config: CellConfig, places: Places) -> PretextWeights | None:
    """What the pretext task made for a cell's backbone and data; None if the cell asks for other weights."""
    asked = config.backbone
    if asked is None or asked.weights != "pretext":
        return None
    adapter: type[DataSet] = config.data.adapter.target.load()
    return pretext_weights(
        asked.name,
        asked.layer,
        config.data.image_size,
        places.cache,
        condition=adapter.pretext_condition,
    )


def materials_key(config: CellConfig, *, shared: bool = False) -> str:
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


def learnt_from(config: CellConfig, data: DataSet, train: Split, places: Places) -> tuple[Split, list[str]]:
    """The training split that a cell's answers come from, and the texts that its words come from.

    They are those of the cell at the beginning of the chain for one that starts from another's weights.
    """
    first = config
    while first.start is not None:
        first = first.start
    if first is not config:
        data = open_data(first.data, places)
        train = read_split(data, data.splits.train, first.data, places.workers).split
    return train, known_texts(data, train, first.data)


def load_materials(config: CellConfig, places: Places) -> Materials:
    """Open, decode, encode and cache whatever a cell needs; what is already cached is only opened."""
    # Whatever cannot be had is told of before anything is made: the data's folder, then the weights.
    places.root(config.data)
    pretext = weights_of_pretext(config, places)
    backbone = starting_backbone(config, places, pretext)
    text = text_encoder(config, NOTHING_READ, places.weight_files)
    data = open_data(config.data, places)
    names = [data.splits.train, data.splits.select]
    if config.evaluate:
        names += (*data.splits.evaluate, *data.splits.predict)
    read = {name: read_split(data, name, config.data, places.workers) for name in names}
    splits = {name: found.split for name, found in read.items()}
    digests = {
        name: image_digests(split.images, places.workers, places.cache / "data")
        for name, split in splits.items()
    }
    shared = shared_images(data, digests)
    train = splits[data.splits.train]
    taught, texts = learnt_from(config, data, train, places)
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
            places.cache / "data",
            places.workers,
            digests[name],
            letterbox=config.data.resize == "letterbox",
        )
        if pretext is not None:
            pretext.refuse_seen(images, name)
        if frozen:
            assert backbone is not None  # noqa: S101 - only a backbone can be frozen
            key = {"images": hashlib.sha256(images.data).hexdigest()}
            visuals[name] = frozen_features(backbone, images, key, places.cache / "features")
        else:
            visuals[name] = images
    reader = text.frozen_part()
    examples = {}
    for name, split in splits.items():
        tokens = vocabulary.encode(list(split.table["text"]), config.data.longest_text)
        vectors = None
        if reader is not None and text.vector_dim is not None:
            vectors = frozen_vectors(reader, text.vector_dim, tokens, places.cache / "features")
        examples[name] = _examples(split, task, tokens, visuals[name], vectors)
    if config.kind == "network":
        shape = (3, *config.data.image_size)
    else:
        assert backbone is not None  # noqa: S101 - the study file demands one for modules
        shape = (backbone.channels, *backbone.map_size)
    return Materials(
        data=data,
        splits=data.splits,
        task=task,
        metrics=data.tasks[data.task(config.data.task)],
        vocabulary=vocabulary,
        examples=examples,
        backbone=None if frozen else backbone,
        map_shape=shape,
        mean=NOT_NORMALISED[0] if backbone is None else backbone.mean,
        std=NOT_NORMALISED[1] if backbone is None else backbone.std,
        weights_sha256=weights,
        manifest=manifest,
        files=places.weight_files,
        doubts=_doubts(read, shared),
    )


def _doubts(read: Mapping[str, ReadSplit], shared: Mapping[str, int]) -> dict[str, dict[str, int]]:
    counted = {
        "damaged_image": {name: found.damaged for name, found in read.items() if found.damaged},
        "repeated_id": {name: found.repeated for name, found in read.items() if found.repeated},
        "shared_image": dict(shared),
    }
    return {what: counts for what, counts in counted.items() if counts}


def _examples(
    split: Split,
    task: Task,
    tokens: npt.NDArray[np.int64],
    visual: npt.NDArray[Any],
    vectors: TextVectors | None,
) -> Examples:
    return Examples(
        split=split,
        tokens=torch.from_numpy(tokens),
        lengths=torch.from_numpy((tokens != 0).sum(1)),
        targets=task.targets(split),
        visual=visual,
        image=split.table["image"].to_numpy(np.int64),
        vectors=vectors,
    )

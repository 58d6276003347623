"""Loads the data of a cell in four steps: inputs, splits, images and texts.

Data that is already in the cache is only opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fusion_bench.contract import TextEncoder, Tokenizer
from fusion_bench.data.images import decoded_images, image_digests
from fusion_bench.encoders.features import TextVectors, frozen_features, frozen_vectors
from fusion_bench.encoders.vision import Backbone, weights_digest
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Split
from fusion_bench.training.cell_data import CellData, EncodedSplit, cell_data_key
from fusion_bench.training.config import CellConfig
from fusion_bench.training.inputs import (
    UNIT_NORMALISATION,
    check_named_files,
    data_contents,
    initial_backbone,
    make_task,
    open_data,
    read_pretext,
    vocabulary_sources,
    weights_file_digest,
)
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.pretext.weights import PretextWeights
from fusion_bench.training.splits import ReadSplit, read_split, shared_images
from fusion_bench.training.text_encoder import EMPTY_VOCABULARY, build_text_encoder, tokenizer_of


@dataclass(frozen=True, eq=False)
class CellInputs:
    """The parts of a cell that are opened or built before any sample is read.

    Attributes:
        data: the data set, opened.
        backbone: the backbone with its initial weights; None for an end-to-end network.
        pretext: the pretext weights of the backbone; None for other weights.
        text: the text encoder with an empty vocabulary.
    """

    data: DataSet
    backbone: Backbone | None
    pretext: PretextWeights | None
    text: TextEncoder


@dataclass(frozen=True, eq=False)
class CellSplits:
    """The splits of a cell, by name.

    Attributes:
        read: every split with the numbers of samples that were left out.
        digests: SHA-256 of the content of each image, by split.
        shared: number of images that are also in the training split, for each split that has such images.
    """

    read: Mapping[str, ReadSplit]
    digests: Mapping[str, tuple[bytes, ...]]
    shared: Mapping[str, int]

    def warnings(self) -> dict[str, dict[str, int]]:
        """Return `CellData.data_warnings`."""
        counted = {
            "damaged_image": {name: found.damaged for name, found in self.read.items() if found.damaged},
            "repeated_id": {name: found.repeated for name, found in self.read.items() if found.repeated},
            "shared_image": dict(self.shared),
        }
        for name, found in self.read.items():
            for kind, count in found.of_task.items():
                counted.setdefault(kind, {})[name] = count
        return {kind: counts for kind, counts in counted.items() if counts}


@dataclass(frozen=True, eq=False)
class EncodedText:
    """The texts of one split.

    Attributes:
        tokens: ``[N, T]`` int64 word ids, 0 for padding.
        vectors: a frozen text encoder's vectors of the tokens; None where the encoder is part of the model.
    """

    tokens: npt.NDArray[np.int64]
    vectors: TextVectors | None


def load_cell_data(config: CellConfig, paths: RunPaths) -> CellData:
    """Return the data that a cell trains on.

    Raises:
        FusionBenchError: the data set, the weights or a file of the text encoder is missing or damaged.
    """
    inputs = resolve_inputs(config, paths)
    # Before anything is read: a file that changes while it is read makes the cell stale, not wrongly fresh.
    contents, manifest = data_contents(config, paths), inputs.data.manifest()
    initial_weights = weights_file_digest(config, paths)
    splits = read_splits(config, inputs.data, paths)
    train = splits.read[inputs.data.splits.train].split
    answers, texts = vocabulary_sources(config, inputs.data, train, paths)
    task = make_task(config, answers)
    vocabulary = tokenizer_of(inputs.text, texts)
    images = encode_images(config, inputs, splits, paths)
    words = encode_text(config, inputs.text, vocabulary, splits, paths)
    backbone = inputs.backbone
    return CellData(
        data=inputs.data,
        splits=inputs.data.splits,
        task=task,
        metrics=inputs.data.tasks[inputs.data.task(config.data.task)],
        vocabulary=vocabulary,
        encoded={
            name: EncodedSplit(
                split=found.split,
                tokens=torch.from_numpy(words[name].tokens),
                lengths=torch.from_numpy((words[name].tokens != 0).sum(1)),
                targets=task.targets(found.split),
                visual=images[name],
                image=found.split.table["image"].to_numpy(np.int64),
                vectors=words[name].vectors,
            )
            for name, found in splits.read.items()
        },
        backbone=None if _is_frozen(config) else backbone,
        map_shape=_map_shape(config, backbone),
        mean=UNIT_NORMALISATION[0] if backbone is None else backbone.mean,
        std=UNIT_NORMALISATION[1] if backbone is None else backbone.std,
        weights_sha256="" if backbone is None else weights_digest(backbone),
        manifest=manifest,
        contents=contents,
        weights_file_sha256=initial_weights,
        files=paths.weight_files,
        data_warnings=splits.warnings(),
    )


def resolve_inputs(config: CellConfig, paths: RunPaths) -> CellInputs:
    """Return the data set, backbone and text encoder of a cell.

    Paths and weights are checked first, so that a missing one is an error before the data set generates any file.

    Raises:
        FusionBenchError: the folder of the data set is not known, or weights or another file are missing.
    """
    paths.root(config.data)
    check_named_files(config, paths)
    pretext = read_pretext(config, paths)
    backbone = initial_backbone(config, paths, pretext)
    text = build_text_encoder(config, EMPTY_VOCABULARY, paths.weight_files)
    return CellInputs(open_data(config.data, paths), backbone, pretext, text)


def read_splits(config: CellConfig, data: DataSet, paths: RunPaths) -> CellSplits:
    """Return the training and selection splits and, unless the cell belongs to a search, the evaluation splits.

    Raises:
        DataError: a split is damaged, or splits that are not published share images.
    """
    names = [data.splits.train, data.splits.select]
    if config.evaluate:
        names += (*data.splits.evaluate, *data.splits.predict)
    read = {name: read_split(data, name, config.data, paths.workers) for name in names}
    digests = {
        name: image_digests(found.split.images, paths.workers, paths.cache / "data", paths.notify)
        for name, found in read.items()
    }
    return CellSplits(read, digests, shared_images(data, digests))


def encode_images(
    config: CellConfig, inputs: CellInputs, splits: CellSplits, paths: RunPaths
) -> dict[str, npt.NDArray[Any]]:
    """Return, for each split, images ``[I, H, W, 3]`` uint8, or a frozen backbone's maps ``[I, C, h, w]``.

    Raises:
        DataError: an image is damaged, or the pretext backbone was trained on it.
    """
    encoded: dict[str, npt.NDArray[Any]] = {}
    for name, found in splits.read.items():
        images = decoded_images(
            found.split.images,
            config.data.image_size,
            paths.cache / "data",
            paths.workers,
            splits.digests[name],
            letterbox=config.data.resize == "letterbox",
            notify=paths.notify,
            annotated=None if found.split.referents is None else found.split.referents.sizes,
        )
        if inputs.pretext is not None:
            inputs.pretext.check_unseen(images, name)
        if inputs.backbone is not None and _is_frozen(config):
            key = {"images": hashlib.sha256(images.data).hexdigest()}
            encoded[name] = frozen_features(
                inputs.backbone,
                images,
                key,
                paths.cache / "features",
                notify=paths.notify,
                workers=max(1, paths.workers // config.threads),
            )
        else:
            encoded[name] = images
    return encoded


def encode_text(
    config: CellConfig, text: TextEncoder, vocabulary: Tokenizer, splits: CellSplits, paths: RunPaths
) -> dict[str, EncodedText]:
    """Return the tokens of each split and, for a frozen text encoder, its vectors of them."""
    frozen = text.frozen_part()
    encoded: dict[str, EncodedText] = {}
    for name, found in splits.read.items():
        tokens = vocabulary.encode(_texts(found.split), config.data.longest_text)
        vectors = None
        if frozen is not None and text.vector_dim is not None:
            vectors = frozen_vectors(
                frozen, text.vector_dim, tokens, paths.cache / "features", notify=paths.notify
            )
        encoded[name] = EncodedText(tokens, vectors)
    return encoded


class CellDataCache:
    """Keeps the data of the last cell in memory, because consecutive cells mostly share it."""

    def __init__(self, paths: RunPaths) -> None:
        self.paths = paths
        self._key = ""
        self._cell_data: CellData | None = None

    def cell_data(self, config: CellConfig) -> CellData:
        """Return the data of a cell; it is loaded unless the last cell had the same data."""
        key = cell_data_key(config)
        if self._cell_data is None or key != self._key:
            self._cell_data, self._key = load_cell_data(config, self.paths), key
        return self._cell_data


def _texts(split: Split) -> list[str]:
    texts: list[str] = split.table["text"].tolist()
    return texts


def _is_frozen(config: CellConfig) -> bool:
    return config.backbone is not None and config.backbone.frozen


def _map_shape(config: CellConfig, backbone: Backbone | None) -> tuple[int, int, int]:
    """Return channels, height and width of the map that the slot reads; an end-to-end network reads the image."""
    if config.kind == "network":
        return (3, *config.data.image_size)
    assert backbone is not None  # noqa: S101 - the study file requires one for modules
    return (backbone.channels, *backbone.map_size)

"""The data that a cell trains on: tokens, targets, and images or cached maps, in arrays that are read by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fusion_bench.contract import Tokenizer
from fusion_bench.encoders.features import TextVectors
from fusion_bench.encoders.vision import Backbone
from fusion_bench.samples.dataset import DataSet, Splits
from fusion_bench.samples.split import Split
from fusion_bench.storage import digest
from fusion_bench.tasks.task import Targets, Task
from fusion_bench.training.config import CellConfig


@dataclass(frozen=True, eq=False)
class EncodedSplit:
    """The arrays of one split of ``N`` samples on ``I`` images.

    Attributes:
        split: the table of its samples.
        tokens: ``[N, T]`` int64 word ids, 0 for padding.
        lengths: ``[N]`` int64, the number of words of each sample.
        targets: the ``N`` targets, in the form that the task defines.
        visual: ``[I, H, W, 3]`` uint8 images or ``[I, C, h, w]`` cached maps, one per image.
        image: ``[N]`` int64, each sample's row in ``visual``.
        vectors: a frozen text encoder's vectors of each sample's tokens; None where the encoder is part of the model.
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
    """The data that all cells of one data set, backbone and seed share.

    Attributes:
        data: the data set, opened.
        splits: the names of its splits and what each is used for.
        task: the task, with the answers of the training split.
        metrics: names of the task's metrics that the data set reports, the primary one first.
        vocabulary: the tokenizer of every text.
        encoded: the arrays of each split, by the name of the split.
        backbone: the backbone with its initial weights, which each cell copies and trains; None where maps are cached
            and for an end-to-end network.
        map_shape: ``(C, h, w)`` of the map that a slot reads.
        mean: the value that is subtracted from each colour channel, for images in [0, 1].
        std: the value that each colour channel is divided by afterwards.
        weights_sha256: digest of the backbone's initial weights; empty for an end-to-end network.
        manifest: SHA-256 of the data set's manifest; ``contents``: the digests of the files that it covers, by name.
        weights_file_sha256: SHA-256 of the file of the backbone's initial weights; see
            `fusion_bench.training.inputs.weights_file`.
        files: the files that the text encoder's settings name, by SHA-256.
        data_warnings: facts about the data that a report must state: by kind (``damaged_image`` and ``repeated_id``
            count samples that are left out, ``shared_image`` counts images that are also in the training split, the
            others are those of `Task.check_samples`), a number for each split.
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
    contents: Mapping[str, str] = field(default_factory=dict)
    weights_file_sha256: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    data_warnings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def longest(self) -> int:
        """Return the number of words of the longest training sentence."""
        return int(self.encoded[self.splits.train].tokens.shape[1])


def cell_data_key(config: CellConfig, *, shared: bool = False) -> str:
    """Return a key that is equal for cells with the same data.

    Random weights differ by seed. They change a file of the cache only where their maps are cached.

    Args:
        config: the settings of the cell.
        shared: return a key that is equal for cells with the same files in the cache instead.
    """
    backbone = config.backbone
    by_seed = backbone is not None and backbone.weights == "random" and (backbone.frozen or not shared)
    values = config.to_json()
    parts = [values["data"], values["backbone"], values["text"], config.kind]
    parts.append(None if shared else config.head.kind)
    if config.start is not None:
        parts.append(values["start"])
    return digest([*parts, config.evaluate, config.seed if by_seed else None])

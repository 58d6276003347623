"""A finished cell's model, built again from its folder: the weights it kept, the words and answers it knew."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from fusion_bench.cells.folder import CellFolder
from fusion_bench.contract import Tokenizer
from fusion_bench.data.images import decoded_images
from fusion_bench.encoders.vision import Backbone, build_backbone, normalise, weights_digest
from fusion_bench.errors import FusionBenchError, WeightsError
from fusion_bench.samples.dataset import DataSet
from fusion_bench.samples.split import Batch
from fusion_bench.tasks.task import Task
from fusion_bench.training.config import CellConfig, DataConfig
from fusion_bench.training.inputs import (
    NOT_NORMALISED,
    make_task,
    normalising,
    open_data,
    starting_backbone,
    vocabulary_sources,
    weights_of_pretext,
)
from fusion_bench.training.model import FusionModel, assemble
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.splits import read_split
from fusion_bench.training.text_encoder import NOTHING_READ, text_encoder, tokenizer_of


@dataclass(frozen=True, eq=False)
class TrainedCell:
    """A finished cell, ready to be asked about any picture and any sentence.

    Attributes:
        config: what the cell was asked.
        data: its data set.
        task: what it answers, from the training split.
        vocabulary: the words of the training split, or the text encoder's own tokenizer.
        model: in evaluation mode, on the CPU.
        backbone: the frozen backbone that stands before the model; None where it is part of it or there is none.
        frozen_text: the frozen part of the text encoder, likewise.
        mean, std: what pictures in [0, 1] are centred and divided by, per channel.
    """

    config: CellConfig
    data: DataSet
    task: Task
    vocabulary: Tokenizer
    model: FusionModel
    backbone: Backbone | None
    frozen_text: nn.Module | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @torch.no_grad()
    def batch(self, image: Path, text: str) -> Batch:
        """One sample as the model was trained on it, up to the rounding of a batch of one.

        Args:
            image: a picture of any size; it is resized as the data set's are.
            text: a sentence; cut to as many words as the study reads.

        Raises:
            DataError: the file is missing or no whole image.
        """
        pixels = torch.from_numpy(_decoded(image, self.config.data))
        visual = normalise(pixels, self.mean, self.std)  # [1, 3, H, W]
        if self.backbone is not None:
            visual = self.backbone(visual).half().float()  # [1, C, h, w], rounded as cached maps are
        ids = torch.from_numpy(self.vocabulary.encode([text], self.config.data.longest_text))
        return Batch(
            visual=visual.contiguous(memory_format=torch.channels_last),
            tokens=ids if self.frozen_text is None else self.frozen_text(ids, ids != 0).half().float(),
            mask=ids != 0,
            target=torch.zeros(1, dtype=torch.int64),
        )


def load_trained_cell(folder: CellFolder, paths: RunPaths) -> TrainedCell:
    """Build a finished cell's model and give it the weights that it kept.

    Args:
        folder: the cell's, with ``model.safetensors`` in it.
        paths: where its data and weights lie.

    Raises:
        FusionBenchError: the weights do not fit the source of today, or the backbone that they were trained
            on cannot be had here.
    """
    config = folder.config()
    data = open_data(config.data, paths)
    train = read_split(data, data.splits.train, config.data).split
    taught, texts = vocabulary_sources(config, data, train, paths)
    task = make_task(config, taught)
    probe = text_encoder(config, NOTHING_READ, paths.weight_files)
    vocabulary = tokenizer_of(probe, texts)
    backbone = _backbone(folder, config, paths)
    frozen = config.backbone is not None and config.backbone.frozen
    model = assemble(
        config,
        task,
        text=text_encoder(config, vocabulary, paths.weight_files),
        map_channels=3 if backbone is None else backbone.channels,
        backbone=None if frozen else backbone,
    )
    _load(model, folder.path / "model.safetensors")
    return TrainedCell(
        config=config,
        data=data,
        task=task,
        vocabulary=vocabulary,
        model=model.eval(),
        backbone=backbone if frozen else None,
        frozen_text=probe.frozen_part(),
        mean=NOT_NORMALISED[0] if backbone is None else backbone.mean,
        std=NOT_NORMALISED[1] if backbone is None else backbone.std,
    )


def _backbone(folder: CellFolder, config: CellConfig, paths: RunPaths) -> Backbone | None:
    """The cell's backbone; one that was trained gets its weights later, with the rest of the model."""
    asked, size = config.backbone, config.data.image_size
    if asked is None:
        return None
    if not asked.frozen:
        with torch.random.fork_rng(devices=[]):
            return normalising(build_backbone(asked.name, layer=asked.layer, image_size=size), config.data)
    backbone = starting_backbone(config, paths, weights_of_pretext(config, paths))
    assert backbone is not None  # noqa: S101 - the study file demands one for modules
    if weights_digest(backbone) != folder.provenance()["weights"]:
        raise WeightsError(
            f"the frozen backbone {asked.name!r} comes out otherwise here than where the cell {folder.path} was "
            f"trained (torch {folder.provenance()['torch']} and timm {folder.provenance()['timm']} there); explain "
            "it there, or train it anew here"
        )
    return backbone


def _load(model: FusionModel, file: Path) -> None:
    try:
        model.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError) as error:
        said = textwrap.shorten(str(error), 160)
        raise FusionBenchError(
            f"{file} does not fit the arm as its source stands today ({said}); train it anew: delete "
            f"{file.parent} and run the study with --keep-weights"
        ) from error


def _decoded(image: Path, config: DataConfig) -> npt.NDArray[np.uint8]:
    """``[1, H, W, 3]``, decoded and resized as a data set's pictures are, without a trace in the cache."""
    with TemporaryDirectory() as folder:
        letterbox = config.resize == "letterbox"
        return np.array(
            decoded_images([image], config.image_size, Path(folder), workers=1, letterbox=letterbox)
        )

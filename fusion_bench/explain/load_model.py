"""The trained model of a finished cell, built from its folder, with the vocabulary and answers of its training."""

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
    UNIT_NORMALISATION,
    initial_backbone,
    make_pretext,
    make_task,
    open_data,
    read_pretext,
    set_normalisation,
    vocabulary_sources,
)
from fusion_bench.training.model import FusionModel, assemble
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.splits import read_split
from fusion_bench.training.text_encoder import EMPTY_VOCABULARY, build_text_encoder, tokenizer_of


@dataclass(frozen=True, eq=False)
class TrainedCell:
    """A trained model that takes any image and any sentence.

    Attributes:
        config: the configuration of the cell.
        data: its data set.
        task: its task, with the answers of the training split.
        vocabulary: the words of the training split, or the tokenizer of the text encoder.
        model: the trained model, in evaluation mode, on the CPU.
        backbone: the frozen backbone that runs before the model; None if the model contains it or has none.
        frozen_text: the frozen part of the text encoder, which runs before the model; None if there is none.
        mean: the mean per channel that is subtracted from images in [0, 1].
        std: the standard deviation per channel by which the result is divided.
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
        """Return one sample as a batch, equal to the training input up to rounding in a batch of one.

        Args:
            image: an image file of any size; it is resized like the images of the data set.
            text: a sentence; only the first words are used, as many as the study reads.

        Raises:
            DataError: the file is missing or is not a complete image.
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
    """Build the model of a finished cell and load its weights.

    Args:
        folder: the folder of the cell, which contains ``model.safetensors``.
        paths: the folders of its data and weights.

    Raises:
        FusionBenchError: the weights do not fit the current source, or the backbone of the training cannot be built
            on this machine.
    """
    config = folder.config()
    data = open_data(config.data, paths)
    train = read_split(data, data.splits.train, config.data).split
    task_split, texts = vocabulary_sources(config, data, train, paths)
    task = make_task(config, task_split)
    probe = build_text_encoder(config, EMPTY_VOCABULARY, paths.weight_files)
    vocabulary = tokenizer_of(probe, texts)
    backbone = _backbone(folder, config, paths)
    frozen = config.backbone is not None and config.backbone.frozen
    model = assemble(
        config,
        task,
        text=build_text_encoder(config, vocabulary, paths.weight_files),
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
        mean=UNIT_NORMALISATION[0] if backbone is None else backbone.mean,
        std=UNIT_NORMALISATION[1] if backbone is None else backbone.std,
    )


def _backbone(folder: CellFolder, config: CellConfig, paths: RunPaths) -> Backbone | None:
    """Return the backbone of the cell; a trained one gets its weights later, with the rest of the model."""
    wanted, size = config.backbone, config.data.image_size
    if wanted is None:
        return None
    if not wanted.frozen:
        with torch.random.fork_rng(devices=[]):
            return set_normalisation(
                build_backbone(wanted.name, layer=wanted.layer, image_size=size), config.data
            )
    make_pretext(config, paths)
    backbone = initial_backbone(config, paths, read_pretext(config, paths))
    assert backbone is not None  # noqa: S101 - the study file requires a backbone for modules
    if weights_digest(backbone) != folder.provenance().weights:
        raise WeightsError(
            f"the frozen backbone {wanted.name!r} has other weights here than where the cell {folder.path} was "
            f"trained (torch {folder.provenance().torch} and timm {folder.provenance().timm} there); explain "
            "it there, or train it again here"
        )
    return backbone


def _load(model: FusionModel, file: Path) -> None:
    try:
        model.load_state_dict(load_file(file))
    except (RuntimeError, SafetensorError) as error:
        problem = textwrap.shorten(str(error), 160)
        raise FusionBenchError(
            f"{file} does not fit the current source of the arm ({problem}); train it again: delete "
            f"{file.parent} and run the study with --keep-weights"
        ) from error


def _decoded(image: Path, config: DataConfig) -> npt.NDArray[np.uint8]:
    """Return the image ``[1, H, W, 3]``, decoded and resized like those of the data set, without using the cache."""
    with TemporaryDirectory() as folder:
        letterbox = config.resize == "letterbox"
        return np.array(
            decoded_images([image], config.image_size, Path(folder), workers=1, letterbox=letterbox)
        )

"""The model of a cell: backbone, text encoder, slot and head."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fusion_bench.contract import Cost, Head, Language, TextEncoder
from fusion_bench.efficiency.cost import cost_of
from fusion_bench.samples.split import Batch
from fusion_bench.tasks.task import HeadSettings, Task
from fusion_bench.training.config import CellConfig, HeadConfig
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.slot import NetworkSlot, Slot, make_slot


@dataclass(frozen=True)
class Costs:
    """The cost of an arm for one sample.

    Attributes:
        fusion: the cost of the projection, modules, mixers and adapter, which a budget matches.
        around: the cost of the parts that every arm shares: trained backbone, text encoder and head.
    """

    fusion: Cost
    around: Cost


class FusionModel(nn.Module):
    """A backbone (None where batches hold cached maps or images for a network), a text encoder, a slot and a head."""

    def __init__(
        self, backbone: nn.Module | None, text: TextEncoder, slot: Slot | NetworkSlot, head: Head
    ) -> None:
        super().__init__()
        self.backbone, self.text, self.slot, self.head = backbone, text, slot, head

    def forward(self, batch: Batch) -> Tensor:
        """Return the output of the head ``[B, ...]`` for a batch of ``B`` samples, as the task defines it."""
        return self.fuse(*self.encode(batch))

    def encode(self, batch: Batch) -> tuple[Tensor, Language]:
        """Return what the slot reads: the map ``[B, C, h, w]`` (for a network the images) and the language."""
        visual = batch.visual if self.backbone is None else self.backbone(batch.visual)
        language: Language = self.text(batch.tokens, batch.mask)
        return visual, language

    def fuse(self, visual: Tensor, language: Language) -> Tensor:
        """Return the output of the head for what `encode` returned."""
        fused = self.slot(visual, language)
        output: Tensor = self.head(fused, language.sentence if self.slot.sentence_at_head else None)
        return output

    def costs(self, image_size: tuple[int, int], map_shape: tuple[int, int, int], words: int) -> Costs:
        """Return the cost of one sample.

        The backbone counts where it is part of the model; cached maps and the vectors of a frozen text encoder cost
        nothing.

        Args:
            image_size: height and width of the image in pixels.
            map_shape: ``(C, h, w)`` of the map that the slot reads.
            words: number of words of the sentence.
        """
        tokens = torch.ones(1, words, dtype=torch.int64, device="meta")
        if self.text.vector_dim is not None:
            tokens = torch.empty(1, words, self.text.vector_dim, device="meta")
        mask = torch.ones(1, words, dtype=torch.bool, device="meta")
        sentence = torch.empty(1, self.text.language_dim, device="meta")
        language = Language(torch.empty(1, words, self.text.language_dim, device="meta"), mask, sentence)
        visual = torch.empty(1, *map_shape, device="meta")
        fusion = cost_of(self.slot, visual, language)
        with (
            torch.no_grad()
        ):  # to learn the size of the fused map, which for a network is smaller than the image
            fused = copy.deepcopy(self.slot).to("meta").eval()(visual, language)
        around = cost_of(self.text, tokens, mask)
        around += cost_of(self.head, fused, sentence if self.slot.sentence_at_head else None)
        if self.backbone is not None:
            around += cost_of(self.backbone, torch.empty(1, 3, *image_size, device="meta"))
        return Costs(fusion, around)


def assemble(
    config: CellConfig,
    task: Task,
    *,
    text: TextEncoder,
    map_channels: int,
    backbone: nn.Module | None,
) -> FusionModel:
    """Return the model of a cell; each part gets its initial weights from its own random stream.

    Args:
        config: the settings of the cell.
        task: the task, which defines the head.
        text: the text encoder with its initial weights.
        map_channels: channels of the map that the slot reads.
        backbone: a backbone that is trained, with its initial weights; None for cached maps and for networks.
    """
    slot = make_slot(config, map_channels=map_channels, language_dim=text.language_dim)
    with seeded_rng("init/head", config.seed):
        head = task.head(
            config.head.width, text.language_dim if slot.sentence_at_head else 0, head_settings(config.head)
        )
    return FusionModel(backbone, text, slot, head)


def head_settings(config: HeadConfig) -> HeadSettings:
    """Return the settings of the task's head."""
    return HeadSettings(config.hidden, config.dropout, config.pool)


Precision = Literal["float32", "bfloat16"]


def chosen_precision(config: CellConfig, device: torch.device) -> Precision:
    """Return the precision of the forward pass.

    ``auto`` means bfloat16 autocast on a GPU and float32 elsewhere, because bfloat16 is slower on common CPUs.
    """
    if config.train.precision == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return config.train.precision


def autocast(config: CellConfig, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a forward pass: autocast to bfloat16 if `chosen_precision` says so."""
    if chosen_precision(config, device) == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()

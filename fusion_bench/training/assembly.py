"""From a cell's settings to a model: what surrounds the fusion modules is the same for every arm."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Cost, FusionModule, Head, Language, TextEncoder, VisionLanguageNetwork
from fusion_bench.efficiency.cost import cost_of
from fusion_bench.samples import Batch
from fusion_bench.tasks.task import HeadSettings, Task
from fusion_bench.training.config import CellConfig, HeadConfig
from fusion_bench.training.seeds import drawing
from fusion_bench.training.splits import task_class
from fusion_bench.training.wording import NOTHING_READ, text_encoder


def with_coordinates(visual: Tensor) -> Tensor:
    """Append two maps, column then row, each linear in [-1, 1]: ``[B, C, H, W]`` to ``[B, C + 2, H, W]``.

    On a map one cell wide or high that coordinate is 0.
    """
    batch, _, height, width = visual.shape
    columns = _axis(width, visual).expand(height, width)
    rows = _axis(height, visual)[:, None].expand(height, width)
    grid = torch.stack([columns, rows]).expand(batch, 2, height, width)
    return torch.cat([visual, grid], 1)


def _axis(length: int, like: Tensor) -> Tensor:
    if length == 1:
        return like.new_zeros(1)
    return torch.linspace(-1, 1, length, device=like.device, dtype=like.dtype)


class Mixer(nn.Module):
    """What ``fusion.slot: uniform`` puts after each module: ``x + SiLU(BN(conv3x3(x)))`` at the slot's width.

    So that no arm is compared with one that alone mixes positions. Of equal size in every arm, whatever the
    module's own width: a module that leaves the slot's width is brought back to it by a 1x1 convolution first.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, fused: Tensor) -> Tensor:
        """``[B, width, h, w]`` to the same."""
        mixed: Tensor = fused + F.silu(self.norm(self.conv(fused)))
        return mixed


class Slot(nn.Module):
    """Projection to the slot's width, the fusion modules, adapter to the head's width: what an arm pays for.

    With ``coordinates``, both 1x1 convolutions see the same two coordinate maps, whatever the arm. There is
    one of ``mixing`` for each module, or none at all; each gets the module's map.
    """

    def __init__(
        self,
        projection: nn.Conv2d,
        modules: Sequence[FusionModule],
        adapter: nn.Conv2d,
        *,
        mixing: Sequence[nn.Module] = (),
        coordinates: bool,
    ) -> None:
        super().__init__()
        self.projection, self.adapter, self.out_dim = projection, adapter, adapter.out_channels
        self.fusion, self.mixing = nn.ModuleList(modules), nn.ModuleList(mixing)
        self._coordinates = coordinates
        self.sentence_at_head = any(module.sentence_at_head for module in modules)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, C, h, w]`` to ``[B, head.width, h, w]``."""
        fused = self.projection(self._placed(visual))
        for module, mix in itertools.zip_longest(self.fusion, self.mixing):
            fused = module(fused, language)
            if mix is not None:
                fused = mix(fused)
        adapted: Tensor = self.adapter(self._placed(fused))
        return adapted

    def _placed(self, visual: Tensor) -> Tensor:
        return with_coordinates(visual) if self._coordinates else visual


class NetworkSlot(nn.Module):
    """An end-to-end network and the adapter from one of its maps to the head's width.

    ``place`` is that map's among the network's: 0 for the finest, -1 for the coarsest.
    """

    sentence_at_head = False

    def __init__(
        self, network: VisionLanguageNetwork, adapter: nn.Conv2d, *, place: int, coordinates: bool
    ) -> None:
        super().__init__()
        self._place = place
        self.network, self.adapter, self._coordinates = network, adapter, coordinates
        self.out_dim = adapter.out_channels

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """``[B, 3, H, W]`` to ``[B, head.width, h, w]``."""
        read = self.network(visual, language).maps[self._place]
        adapted: Tensor = self.adapter(with_coordinates(read) if self._coordinates else read)
        return adapted


@dataclass(frozen=True)
class Costs:
    """What an arm costs: its ``fusion`` budget (modules and adapters) and what stands ``around`` it."""

    fusion: Cost
    around: Cost


class FusionModel(nn.Module):
    """A backbone (None when batches carry cached maps), a text encoder, an arm's slot and a head."""

    def __init__(
        self, backbone: nn.Module | None, text: TextEncoder, slot: Slot | NetworkSlot, head: Head
    ) -> None:
        super().__init__()
        self.backbone, self.text, self.slot, self.head = backbone, text, slot, head

    def forward(self, batch: Batch) -> Tensor:
        """The head's output for a batch."""
        visual = batch.visual if self.backbone is None else self.backbone(batch.visual)
        language: Language = self.text(batch.tokens, batch.mask)
        fused = self.slot(visual, language)
        output: Tensor = self.head(fused, language.sentence if self.slot.sentence_at_head else None)
        return output

    def costs(self, image_size: tuple[int, int], map_shape: tuple[int, int, int], words: int) -> Costs:
        """Cost of one sample of ``words`` words whose slot reads a map of ``map_shape`` (C, h, w).

        The backbone is counted where it is part of the model; its maps are free where they are cached, and so
        are the vectors of a frozen text encoder.
        """
        tokens = torch.ones(1, words, dtype=torch.int64, device="meta")
        if self.text.vector_dim is not None:
            tokens = torch.empty(1, words, self.text.vector_dim, device="meta")
        mask = torch.ones(1, words, dtype=torch.bool, device="meta")
        sentence = torch.empty(1, self.text.language_dim, device="meta")
        language = Language(torch.empty(1, words, self.text.language_dim, device="meta"), mask, sentence)
        visual = torch.empty(1, *map_shape, device="meta")
        fusion = cost_of(self.slot, visual, language)
        with torch.no_grad():  # a network's map is smaller than the image that it reads
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
    """Build the model of a cell, each part from its own stream of initial weights.

    Args:
        config: what the cell is asked.
        task: gives the head.
        text: the text encoder with its initial weights, already drawn from its own stream.
        map_channels: channels of the map that the slot reads.
        backbone: a trained backbone, already built from its own stream; None for cached maps and networks.
    """
    slot = make_slot(config, map_channels=map_channels, language_dim=text.language_dim)
    with drawing("init/head", config.seed):
        head = task.head(
            config.head.width, text.language_dim if slot.sentence_at_head else 0, head_settings(config.head)
        )
    return FusionModel(backbone, text, slot, head)


def head_settings(config: HeadConfig) -> HeadSettings:
    """What a task's head is told."""
    return HeadSettings(config.hidden, config.dropout, config.pool)


def make_slot(config: CellConfig, *, map_channels: int, language_dim: int) -> Slot | NetworkSlot:
    """What stands between the backbone's map (or the image) and the head, in an arm of its own.

    Args:
        config: what the cell is asked.
        map_channels: channels of the map that the slot reads; a network reads images.
        language_dim: channels of the encoded words.
    """
    seed, width = config.seed, config.fusion.width
    coordinates = config.fusion.coordinates == "shared"
    extra = 2 if coordinates else 0
    if config.kind == "network":
        place = 0 if task_class(config.data).network_map == "finest" else -1
        with drawing("init/module", seed):
            network: VisionLanguageNetwork = config.arm.target.load()(language_dim, **config.arm.settings)
        with drawing("init/adapter", seed):
            adapter = nn.Conv2d(network.out_dims[place] + extra, config.head.width, 1)
        return NetworkSlot(network, adapter, place=place, coordinates=coordinates)
    with drawing("init/projection", seed):
        projection = nn.Conv2d(map_channels + extra, width, 1)
    with drawing("init/module", seed):
        modules = _modules(config, language_dim)
    mixing = _mixing(config, modules) if config.fusion.slot == "uniform" else []
    leaving = width if mixing else modules[-1].out_dim
    with drawing("init/adapter", seed):
        adapter = nn.Conv2d(leaving + extra, config.head.width, 1)
    return Slot(projection, modules, adapter, mixing=mixing, coordinates=coordinates)


def declaring(config: CellConfig, files: Mapping[str, Path]) -> FusionModule | None:
    """The arm's first module with throwaway weights, for what an instance declares; None for a network.

    Arguments may change what a module listens to or which position code it brings. ``files`` are those that
    the text encoder reads, by SHA-256.
    """
    if config.kind == "network":
        return None
    text = text_encoder(config, NOTHING_READ, files)
    with drawing("init/module", config.seed):
        kind: type[FusionModule] = config.arm.target.load()
        return kind(config.fusion.width, text.language_dim, **config.arm.settings)


def _modules(config: CellConfig, language_dim: int) -> list[FusionModule]:
    kind: type[FusionModule] = config.arm.target.load()
    modules: list[FusionModule] = []
    for _ in range(config.fusion.depth):
        stacked = bool(modules) and config.fusion.slot == "published"
        visual_dim = modules[-1].out_dim if stacked else config.fusion.width
        module = kind(visual_dim, language_dim, **config.arm.settings)
        if not kind.trainable:
            module.requires_grad_(False)
        modules.append(module)
    return modules


def _mixing(config: CellConfig, modules: Sequence[FusionModule]) -> list[nn.Module]:
    """A mixer after each module, all from a stream that every arm shares; see `Mixer`."""
    width = config.fusion.width
    with drawing("init/mixer", config.seed):
        mixers = [Mixer(width) for _ in modules]
    with drawing("init/restoring", config.seed):
        return [
            mixer if module.out_dim == width else nn.Sequential(nn.Conv2d(module.out_dim, width, 1), mixer)
            for module, mixer in zip(modules, mixers, strict=True)
        ]


Precision = Literal["float32", "bfloat16"]


def chosen_precision(config: CellConfig, device: torch.device) -> Precision:
    """``auto`` is bfloat16 autocast on a GPU and float32 elsewhere (bfloat16 is slower on common CPUs)."""
    if config.train.precision == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    return config.train.precision

"""The slot: projection, fusion modules and adapter, the same surroundings for every arm."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import FusionModule, Language, VisionLanguageNetwork
from fusion_bench.training.config import CellConfig
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.splits import task_class
from fusion_bench.training.text_encoder import NOTHING_READ, text_encoder


def append_coordinates(visual: Tensor) -> Tensor:
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
        return append_coordinates(visual) if self._coordinates else visual


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
        adapted: Tensor = self.adapter(append_coordinates(read) if self._coordinates else read)
        return adapted


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
        with seeded_rng("init/module", seed):
            network: VisionLanguageNetwork = config.arm.target.load()(language_dim, **config.arm.settings)
        with seeded_rng("init/adapter", seed):
            adapter = nn.Conv2d(network.out_dims[place] + extra, config.head.width, 1)
        return NetworkSlot(network, adapter, place=place, coordinates=coordinates)
    with seeded_rng("init/projection", seed):
        projection = nn.Conv2d(map_channels + extra, width, 1)
    with seeded_rng("init/module", seed):
        modules = _modules(config, language_dim)
    mixing = _mixing(config, modules) if config.fusion.slot == "uniform" else []
    leaving = width if mixing else modules[-1].out_dim
    with seeded_rng("init/adapter", seed):
        adapter = nn.Conv2d(leaving + extra, config.head.width, 1)
    return Slot(projection, modules, adapter, mixing=mixing, coordinates=coordinates)


def instantiate_module(config: CellConfig, files: Mapping[str, Path]) -> FusionModule | None:
    """The arm's first module with throwaway weights, for what an instance declares; None for a network.

    Arguments may change what a module listens to or which position code it brings. ``files`` are those that
    the text encoder reads, by SHA-256.
    """
    if config.kind == "network":
        return None
    text = text_encoder(config, NOTHING_READ, files)
    with seeded_rng("init/module", config.seed):
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
    with seeded_rng("init/mixer", config.seed):
        mixers = [Mixer(width) for _ in modules]
    with seeded_rng("init/restoring", config.seed):
        return [
            mixer if module.out_dim == width else nn.Sequential(nn.Conv2d(module.out_dim, width, 1), mixer)
            for module, mixer in zip(modules, mixers, strict=True)
        ]

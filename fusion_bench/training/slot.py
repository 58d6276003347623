"""The slot that surrounds the fusion modules: projection, modules and adapter, the same for every arm."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import FusionModule, Language, VisionLanguageNetwork
from fusion_bench.training.config import CellConfig
from fusion_bench.training.coordinates import LocatedConv
from fusion_bench.training.seeds import seeded_rng
from fusion_bench.training.splits import task_class
from fusion_bench.training.text_encoder import EMPTY_VOCABULARY, build_text_encoder


class Mixer(nn.Module):
    """The layer that ``fusion.slot: uniform`` puts after each module: ``x + SiLU(BN(conv3x3(x)))``.

    It lets every arm mix positions, so that modules that mix none themselves are compared fairly. It has the slot's
    width in every arm: the output of a module with another width first goes through a 1x1 convolution to that width.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, fused: Tensor) -> Tensor:
        """Return a map of the same shape ``[B, width, h, w]``."""
        mixed: Tensor = fused + F.silu(self.norm(self.conv(fused)))
        return mixed


class Slot(nn.Module):
    """The projection to the slot's width, the fusion modules and the adapter to the head's width.

    A matched budget counts these layers.

    Args:
        projection: 1x1 convolution from the backbone's map to the slot's width.
        modules: the fusion modules, in order.
        adapter: 1x1 convolution from the last map to the head's width.
        mixing: one layer after each module, or none at all.
    """

    def __init__(
        self,
        projection: nn.Conv2d,
        modules: Sequence[FusionModule],
        adapter: nn.Conv2d,
        *,
        mixing: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        self.projection, self.adapter, self.out_dim = projection, adapter, adapter.out_channels
        self.fusion, self.mixing = nn.ModuleList(modules), nn.ModuleList(mixing)
        self.sentence_at_head = any(module.sentence_at_head for module in modules)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Return the fused map ``[B, head.width, h, w]`` of the backbone's map ``[B, C, h, w]``."""
        fused = self.projection(visual)
        for module, mix in itertools.zip_longest(self.fusion, self.mixing):
            fused = module(fused, language)
            if mix is not None:
                fused = mix(fused)
        adapted: Tensor = self.adapter(fused)
        return adapted


class NetworkSlot(nn.Module):
    """An end-to-end network and the adapter from one of its maps to the head's width.

    Args:
        network: the network.
        adapter: 1x1 convolution from that map to the head's width.
        map_index: index of the map in the network's pyramid: 0 for the finest, -1 for the coarsest.
    """

    sentence_at_head = False

    def __init__(self, network: VisionLanguageNetwork, adapter: nn.Conv2d, *, map_index: int) -> None:
        super().__init__()
        self._map_index = map_index
        self.network, self.adapter = network, adapter
        self.out_dim = adapter.out_channels

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        """Return the fused map ``[B, head.width, h, w]`` of the images ``[B, 3, H, W]``."""
        fused = self.network(visual, language).maps[self._map_index]
        adapted: Tensor = self.adapter(fused)
        return adapted


def make_slot(config: CellConfig, *, map_channels: int, language_dim: int) -> Slot | NetworkSlot:
    """Return the layers between the backbone's map (or the image, for a network) and the head.

    Args:
        config: the settings of the cell.
        map_channels: channels of the map that the slot reads; a network reads images instead.
        language_dim: channels of the encoded words.
    """
    if config.kind == "network":
        map_index = 0 if task_class(config.data).network_map == "finest" else -1
        with seeded_rng("init/module", config.seed):
            network: VisionLanguageNetwork = config.arm.target.load()(language_dim, **config.arm.settings)
        with seeded_rng("init/adapter", config.seed):
            adapter = _convolve_positions(config, network.out_dims[map_index], config.head.width)
        return NetworkSlot(network, adapter, map_index=map_index)
    with seeded_rng("init/module", config.seed):
        modules = _make_modules(config, language_dim)
    return slot_around(modules, config, map_channels=map_channels)


def slot_around(modules: Sequence[FusionModule], config: CellConfig, *, map_channels: int) -> Slot:
    """Return a slot with these modules; its own layers start from the cell's random streams.

    Args:
        modules: the fusion modules, in order.
        config: the settings of the cell.
        map_channels: channels of the map that the slot reads.
    """
    seed, width = config.seed, config.fusion.width
    with seeded_rng("init/projection", seed):
        projection = _convolve_positions(config, map_channels, width)
    mixing = _make_mixers(config, modules) if config.fusion.slot == "uniform" else []
    out_dim = width if mixing else modules[-1].out_dim
    with seeded_rng("init/adapter", seed):
        adapter = _convolve_positions(config, out_dim, config.head.width)
    return Slot(projection, modules, adapter, mixing=mixing)


def _convolve_positions(config: CellConfig, in_dim: int, out_dim: int) -> nn.Conv2d:
    """Return a 1x1 convolution that reads the two coordinate maps too if they are shared."""
    if config.fusion.coordinates == "shared":
        return LocatedConv(in_dim, out_dim)
    return nn.Conv2d(in_dim, out_dim, 1)


def instantiate_module(config: CellConfig, files: Mapping[str, Path]) -> FusionModule | None:
    """Return an instance of the arm's first module, of which only the declarations are read; None for a network.

    An instance is needed because constructor arguments may change which input a module listens to or which position
    code it brings.

    Args:
        config: the settings of the cell.
        files: the files that the text encoder reads, by SHA-256.
    """
    if config.kind == "network":
        return None
    text = build_text_encoder(config, EMPTY_VOCABULARY, files)
    with seeded_rng("init/module", config.seed):
        cls: type[FusionModule] = config.arm.target.load()
        return cls(config.fusion.width, text.language_dim, **config.arm.settings)


def _make_modules(config: CellConfig, language_dim: int) -> list[FusionModule]:
    cls: type[FusionModule] = config.arm.target.load()
    modules: list[FusionModule] = []
    for _ in range(config.fusion.depth):
        stacked = bool(modules) and config.fusion.slot == "published"
        visual_dim = modules[-1].out_dim if stacked else config.fusion.width
        module = cls(visual_dim, language_dim, **config.arm.settings)
        if not cls.trainable:
            module.requires_grad_(False)
        modules.append(module)
    return modules


def _make_mixers(config: CellConfig, modules: Sequence[FusionModule]) -> list[nn.Module]:
    """Return one `Mixer` for each module, with initial weights from a random stream that every arm shares."""
    width = config.fusion.width
    with seeded_rng("init/mixer", config.seed):
        mixers = [Mixer(width) for _ in modules]
    with seeded_rng("init/restoring", config.seed):
        return [
            mixer if module.out_dim == width else nn.Sequential(nn.Conv2d(module.out_dim, width, 1), mixer)
            for module, mixer in zip(modules, mixers, strict=True)
        ]

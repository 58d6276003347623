"""The network of the pretext task, its images and its targets at every position of each map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion_bench.data.miniclevr.pretext import ATTRIBUTE_VALUES
from fusion_bench.encoders.vision import Backbone, normalise
from fusion_bench.training.seeds import seeded_rng

OUTPUTS = (1, *(len(values) for values in ATTRIBUTE_VALUES))
"""The number of logits of the foreground and of each attribute."""


@dataclass(frozen=True, eq=False)
class MapTargets:
    """The targets at the ``h`` x ``w`` positions of one map for ``N`` images, as tensors.

    Attributes: those of `fusion_bench.data.miniclevr.pretext.PositionTargets`.
    """

    share: Tensor
    attributes: Tensor
    part: Tensor
    peak: Tensor

    def rows(self, rows: Tensor, mirrored: Tensor) -> MapTargets:
        """Return the targets of the images in ``rows``; those with True in ``mirrored`` are flipped."""
        flip = mirrored[:, None, None]
        return MapTargets(
            *(
                torch.where(flip[..., None] if value.dim() == 4 else flip, value[rows].flip(2), value[rows])
                for value in (self.share, self.attributes, self.part, self.peak)
            )
        )


@dataclass(frozen=True, eq=False)
class PretextSamples:
    """``N`` images and their targets.

    Attributes:
        images: ``[N, H, W, 3]`` uint8.
        targets: the targets at the positions of each map that is trained on, from the finest.
    """

    images: Tensor
    targets: tuple[MapTargets, ...]

    def __len__(self) -> int:
        return len(self.images)


class PretextNetwork(nn.Module):
    """A backbone with a head on each map that it returns: a batch norm and a 1x1 convolution, which predict targets.

    Args:
        backbone: the backbone; its weights are used as they are.
        seed: the seed of the heads.
    """

    def __init__(self, backbone: Backbone, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        with seeded_rng("init/pretext", seed):
            self.heads = nn.ModuleList(
                nn.Sequential(nn.BatchNorm2d(width), nn.Conv2d(width, sum(OUTPUTS), kernel_size=1))
                for width in backbone.widths
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the logits ``[B, 16, h, w]`` at each map for ``[B, H, W, 3]`` uint8."""
        inputs = normalise(images, self.backbone.mean, self.backbone.std)
        maps = self.backbone.maps(inputs.contiguous(memory_format=torch.channels_last))
        return [head(features) for head, features in zip(self.heads, maps, strict=True)]

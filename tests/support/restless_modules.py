"""A module whose numbers depend on every kind of state that a cell may have."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fusion_bench.contract import Language
from toys import Product


class Restless(Product):
    """A module that drops out, draws from all generators and counts its batches, in buffers that are not stored."""

    seen: Tensor
    last_mean: Tensor

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__(visual_dim, language_dim)
        self.norm, self.dropout = nn.BatchNorm2d(visual_dim), nn.Dropout(0.2)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.register_buffer("last_mean", torch.zeros(0), persistent=False)

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        fused = self.dropout(self.norm(super().forward(visual, language)))
        if not self.training:
            return fused  # type: ignore[no-any-return]
        self.seen += 1
        drawn = random.gauss() + np.random.random() + np.random.standard_normal()
        scale = 1 + 0.02 * drawn + 0.01 * torch.rand(()) + 0.01 * torch.sin(self.seen)
        if len(self.last_mean):  # of the batch before; its size is known in the forward pass only
            scale = scale + 0.01 * self.last_mean.mean()
        self.last_mean = fused.detach().mean((1, 2, 3))
        return fused * scale  # type: ignore[no-any-return]


class DiesOnce(Restless):
    """A module that kills its process at its eighth batch, unless the file that DIES_ONCE names is there."""

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        file = Path(os.environ["DIES_ONCE"])
        if self.training and self.seen >= 7 and not file.exists():
            file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(visual, language)

"""The aggregation of LaConv, and the variants that say which part of it a gain comes from.

Symbols: ``X`` the map ``[B, C, H, W]``, ``Z`` the condition map ``[B, E, H, W]``, ``P`` the position code,
``W`` the kernels ``[B, G, k^2, H, W]``, ``*_W`` the convolution with them (channel ``c`` of position ``p`` is
filtered by ``W[:, c mod G, :, p]``), ``U`` the result. As published:

    U = X *_W,    W = conv1x1(Z)

A variant is the same block with another aggregation (``no_mlp``: without its last part). FiLM by position is
``gamma * U + beta`` with ``gamma = 1 + conv1x1(Z)`` and ``beta = conv1x1(Z)``, both ``[B, C, H, W]``.

| variant | who writes the kernels | where the language enters |
|---|---|---|
| ``full`` | the language: ``Z``, at every position | in the kernels |
| ``static_kernel`` | nobody: one learned set for all positions | FiLM by position |
| ``no_language_kernel`` | the image: ``X + P``, at every position | FiLM by position |
| ``z_add`` | there are none: ``U = conv1x1(Z)`` | as that sum |
| ``no_mlp`` | as ``full`` | as ``full`` |

What each isolates, and why:

* ``static_kernel``: the language *in the kernel*. It looks through the same window with the same groups and
  every position hears the same ``Z``, but language can only scale and shift what has been filtered.
* ``no_language_kernel``: *who writes* the kernel. It is ``static_kernel`` with a kernel for every position,
  written from the image through a 1x1 convolution, norm and ReLU that take the place of ``Z``. Where it does
  as well as ``full``, a dynamic kernel helps and language need not write it.
* ``z_add``: *filtering at all*. It is ``full`` with a dynamic bias and without kernels: each position still
  chooses its words, and never sees a neighbour.
* ``no_mlp``: *the operator by itself*. The block ends after its first sum, so that channels are never mixed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_modules.laconv.condition import Norm, PositionEncoding, add_position_encoding, normalisation
from fusion_modules.laconv.ops.fused import fused_dynamic_conv2d
from fusion_modules.laconv.ops.operator import dynamic_conv2d


@dataclass(frozen=True)
class Taps:
    """How kernels are shaped and treated, whoever writes them.

    Attributes:
        kernel_size: ``k``, odd.
        groups: ``G``, a divisor of ``C``; channel ``c`` is filtered by kernel ``c mod G``.
        stride: of the output, ``H_out = (H - 1) // stride + 1``.
        softmax: over the ``k^2`` taps, before dropout. Taps that fall beside the map keep their share.
        dropout: on kernel values in training, each tap of each position by itself.
    """

    kernel_size: int
    groups: int
    stride: int
    softmax: bool
    dropout: float

    @property
    def number(self) -> int:
        """Kernel values at one position: ``G k^2``."""
        return self.groups * self.kernel_size**2

    def kernels(self, values: Tensor) -> Tensor:
        """``[B, G k^2, H_out, W_out]``, row ``g k^2 + j``, -> ``[B, G, k^2, H_out, W_out]``."""
        kernels: Tensor = values.unflatten(1, (self.groups, -1))
        return kernels.softmax(dim=2) if self.softmax else kernels

    def filter(self, visual: Tensor, kernels: Tensor, *, training: bool) -> Tensor:
        """``X *_W``: ``[B, C, H, W]`` -> ``[B, C, H_out, W_out]``."""
        return dynamic_conv2d(visual, F.dropout(kernels, self.dropout, training), stride=self.stride)


class Aggregation(nn.Module, ABC):
    """Turns the map and what its positions heard into ``U``."""

    @abstractmethod
    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """``U`` ``[B, C, H_out, W_out]`` from ``X`` ``[B, C, H, W]`` and ``Z`` ``[B, E, H, W]``."""

    def build(self, visual: Tensor, condition: Tensor) -> Tensor | None:
        """The kernels ``[B, G, k*k, H_out, W_out]`` before dropout; None where no position has its own."""
        del visual, condition
        return None


class LanguageKernels(Aggregation):
    """``full``: the condition map writes the kernels. Its weights are those of the 1x1 convolution.

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        taps: the kernels.
        dynamic_bias: add a map ``conv1x1(Z)`` ``[B, C, H_out, W_out]`` to ``U``. The authors' code has the
            switch, turned off, and the paper is silent; here the map is added as it is, outside of kernel
            softmax and kernel dropout, and normalised with the rest of ``U`` by the block.
    """

    def __init__(self, visual_dim: int, cond_dim: int, taps: Taps, *, dynamic_bias: bool) -> None:
        super().__init__()
        projection = nn.Conv2d(cond_dim, taps.number, 1)
        self.weight, self.bias = projection.weight, projection.bias
        self.dynamic_bias = nn.Conv2d(cond_dim, visual_dim, 1, taps.stride) if dynamic_bias else None
        self.taps = taps

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """``X *_W``, plus the dynamic bias."""
        untouched = not (self.taps.softmax or (self.training and self.taps.dropout > 0))
        filtered = (self._fused if untouched else self._in_turn)(visual, condition)  # [B, C, H_out, W_out]
        return filtered if self.dynamic_bias is None else filtered + self.dynamic_bias(condition)

    def _fused(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Kernels that are used as they are written need not reach memory."""
        rows, taps = self.weight.flatten(1), self.taps  # [G k^2, E]
        return fused_dynamic_conv2d(
            visual, condition, rows, self.bias, groups=taps.groups, stride=taps.stride
        )

    def _in_turn(self, visual: Tensor, condition: Tensor) -> Tensor:
        return self.taps.filter(visual, self.build(visual, condition), training=self.training)

    def build(self, visual: Tensor, condition: Tensor) -> Tensor:
        """``W = conv1x1(Z)``, with the stride of the output."""
        del visual
        return self.taps.kernels(F.conv2d(condition, self.weight, self.bias, self.taps.stride))


class StaticKernel(Aggregation):
    """``static_kernel``: one learned kernel a group for all positions of all samples, then FiLM.

    A depthwise convolution, but for kernel dropout: that falls on every position's copy of the kernel by
    itself, so that this variant is regularised exactly as `LanguageKernels` (and trains as slowly).

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        taps: the kernels.
    """

    def __init__(self, visual_dim: int, cond_dim: int, taps: Taps) -> None:
        super().__init__()
        bound = 1 / taps.kernel_size  # where a depthwise nn.Conv2d starts: 1 / sqrt(k^2)
        self.weight = nn.Parameter(torch.empty(1, taps.number, 1, 1).uniform_(-bound, bound))
        self.film = PositionFiLM(visual_dim, cond_dim, taps.stride)
        self.taps = taps

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """The filtered map under FiLM."""
        kernels = self.taps.kernels(self.weight)  # [1, G, k^2, 1, 1]
        drops = self.training and self.taps.dropout > 0
        filtered = self._filter_copies(visual, kernels) if drops else self._filter(visual, kernels)
        return self.film(filtered, condition)  # type: ignore[no-any-return]

    def _filter(self, visual: Tensor, kernels: Tensor) -> Tensor:
        channels, size = visual.shape[1], self.taps.kernel_size
        by_group = kernels.view(self.taps.groups, 1, size, size)
        by_channel = by_group.repeat(channels // self.taps.groups, 1, 1, 1)  # [C, 1, k, k], c mod G
        return F.conv2d(visual, by_channel, None, self.taps.stride, size // 2, groups=channels)

    def _filter_copies(self, visual: Tensor, kernels: Tensor) -> Tensor:
        sides = [(side - 1) // self.taps.stride + 1 for side in visual.shape[2:]]
        copies = kernels.expand(visual.shape[0], -1, -1, *sides)  # [B, G, k^2, H_out, W_out]
        return self.taps.filter(visual, copies, training=True)


class ImageKernels(Aggregation):
    """``no_language_kernel``: ``W = conv1x1(ReLU(norm(conv1x1(X + P))))``, then FiLM.

    Args:
        visual_dim: ``C``; a multiple of 4 for the sine position code.
        cond_dim: ``E``, the width of ``Z`` and of what stands in its place.
        taps: the kernels.
        position: the code added to ``X``.
        norm: the norm before the ReLU; the convolution before it has a bias only where there is none.
    """

    def __init__(
        self, visual_dim: int, cond_dim: int, taps: Taps, *, position: PositionEncoding, norm: Norm
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(visual_dim, cond_dim, 1, bias=norm == "none")
        self.norm = normalisation(norm, cond_dim)
        self.project = nn.Conv2d(cond_dim, taps.number, 1, taps.stride)
        self.film = PositionFiLM(visual_dim, cond_dim, taps.stride)
        self.taps = taps
        self.position: PositionEncoding = position

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """``X *_W`` under FiLM."""
        filtered = self.taps.filter(visual, self.build(visual, condition), training=self.training)
        return self.film(filtered, condition)  # type: ignore[no-any-return]

    def build(self, visual: Tensor, condition: Tensor) -> Tensor:
        """``W``, written by the image alone."""
        del condition
        seen = F.relu(self.norm(self.reduce(add_position_encoding(visual, self.position))))  # [B, E, H, W]
        return self.taps.kernels(self.project(seen))


class AddedCondition(Aggregation):
    """``z_add``: ``U = conv1x1(Z)``, which the block adds to ``X``.

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        stride: of the output.
    """

    def __init__(self, visual_dim: int, cond_dim: int, *, stride: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(cond_dim, visual_dim, 1, stride)

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """``[B, E, H, W]`` -> ``[B, C, H_out, W_out]``."""
        del visual
        return self.project(condition)  # type: ignore[no-any-return]


class PositionFiLM(nn.Module):
    """Each channel of each position is scaled and shifted: ``(1 + conv1x1(Z)) * U + conv1x1(Z)``.

    Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, with ``Z`` in the
    place of the sentence.

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        stride: of ``U``.
    """

    def __init__(self, visual_dim: int, cond_dim: int, stride: int) -> None:
        super().__init__()
        self.gamma = nn.Conv2d(cond_dim, visual_dim, 1, stride)
        self.beta = nn.Conv2d(cond_dim, visual_dim, 1, stride)

    def forward(self, filtered: Tensor, condition: Tensor) -> Tensor:
        """``[B, C, H_out, W_out]`` -> ``[B, C, H_out, W_out]``."""
        return (1 + self.gamma(condition)) * filtered + self.beta(condition)  # type: ignore[no-any-return]

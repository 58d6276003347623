"""The aggregation of LaConv, and the variants that show which part of it improves the result.

Symbols: ``X`` the map ``[B, C, H, W]``, ``Z`` the condition map ``[B, E, H, W]``, ``P`` the position code,
``W`` the kernels ``[B, G, k^2, H, W]``, ``*_W`` the convolution with them (channel ``c`` of position ``p`` is
filtered by ``W[:, c mod G, :, p]``), ``U`` the result. As published:

    U = X *_W,    W = conv1x1(Z)

A variant is the same block with another aggregation (``no_mlp``: without its last part). FiLM per position is
``gamma * U + beta`` with ``gamma = 1 + conv1x1(Z)`` and ``beta = conv1x1(Z)``, both ``[B, C, H, W]``.

| variant | source of the kernels | effect of the language |
|---|---|---|
| ``full`` | the language: ``Z``, at every position | in the kernels |
| ``static_kernel`` | parameters: one learned set for all positions | FiLM per position |
| ``no_language_kernel`` | the image: ``X + P``, at every position | FiLM per position |
| ``z_add`` | no kernels: ``U = conv1x1(Z)`` | in this sum |
| ``no_mlp`` | as ``full`` | as ``full`` |

The comparison of ``full`` with each variant measures one effect:

* ``static_kernel``: the effect of language *in the kernel*. The window, the groups and ``Z`` are the same, but the
  language can only scale and shift the filtered map.
* ``no_language_kernel``: the effect of the *source* of the kernels. The variant is ``static_kernel`` with a kernel
  for every position, predicted from the image by a 1x1 convolution, norm and ReLU that replace ``Z``. If its
  results equal those of ``full``, a dynamic kernel helps, but it need not depend on the language.
* ``z_add``: the effect of *filtering*. The variant is ``full`` with a dynamic bias and without kernels: each
  position still attends to the words, but reads no neighbouring position.
* ``no_mlp``: the effect of the *channel mixing*. The block ends after its first sum, so channels are never mixed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_modules.laconv.condition import Norm, PositionEncoding, add_position_encoding, norm_layer
from fusion_modules.laconv.ops.fused import fused_dynamic_conv2d
from fusion_modules.laconv.ops.operator import dynamic_conv2d


@dataclass(frozen=True)
class KernelOptions:
    """The shape, normalisation and dropout of kernels, independent of their source.

    Attributes:
        kernel_size: ``k``, odd.
        groups: ``G``, a divisor of ``C``; channel ``c`` is filtered by kernel ``c mod G``.
        stride: stride of the output, ``H_out = (H - 1) // stride + 1``.
        softmax: apply a softmax over the ``k^2`` taps, before dropout. Taps outside the map keep their weights.
        dropout: dropout probability on kernel values, independent for each tap of each position.
    """

    kernel_size: int
    groups: int
    stride: int
    softmax: bool
    dropout: float

    @property
    def values_per_position(self) -> int:
        """The number of kernel values at one position: ``G k^2``."""
        return self.groups * self.kernel_size**2

    def to_kernels(self, values: Tensor) -> Tensor:
        """``[B, G k^2, H_out, W_out]``, channel ``g k^2 + j``, -> ``[B, G, k^2, H_out, W_out]``."""
        kernels: Tensor = values.unflatten(1, (self.groups, -1))
        return kernels.softmax(dim=2) if self.softmax else kernels

    def convolve(self, visual: Tensor, kernels: Tensor, *, training: bool) -> Tensor:
        """Return ``X *_W``: ``[B, C, H, W]`` -> ``[B, C, H_out, W_out]``."""
        return dynamic_conv2d(visual, F.dropout(kernels, self.dropout, training), stride=self.stride)


class Aggregation(nn.Module, ABC):
    """A module that computes ``U`` from the map and its condition map."""

    @abstractmethod
    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return ``U`` ``[B, C, H_out, W_out]`` from ``X`` ``[B, C, H, W]`` and ``Z`` ``[B, E, H, W]``."""

    def build(self, visual: Tensor, condition: Tensor) -> Tensor | None:
        """Return the kernels ``[B, G, k*k, H_out, W_out]`` before dropout; None if positions have no kernels."""
        del visual, condition
        return None


class LanguageKernels(Aggregation):
    """The aggregation of ``full``: the kernels are a 1x1 convolution of the condition map.

    ``weight`` and ``bias`` are those of this convolution.

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        options: the options of the kernels.
        dynamic_bias: add a map ``conv1x1(Z)`` ``[B, C, H_out, W_out]`` to ``U``. The authors' code has this switch,
            turned off, and the paper does not mention it. Here the map is added after the convolution, without
            kernel softmax and kernel dropout, and the block normalises it together with ``U``.
    """

    def __init__(self, visual_dim: int, cond_dim: int, options: KernelOptions, *, dynamic_bias: bool) -> None:
        super().__init__()
        projection = nn.Conv2d(cond_dim, options.values_per_position, 1)
        self.weight, self.bias = projection.weight, projection.bias
        self.dynamic_bias = nn.Conv2d(cond_dim, visual_dim, 1, options.stride) if dynamic_bias else None
        self.options = options

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return ``X *_W``, plus the dynamic bias if there is one: ``[B, C, H_out, W_out]``."""
        changed = self.options.softmax or (self.training and self.options.dropout > 0)
        filtered = (self._two_steps if changed else self._fused)(visual, condition)  # [B, C, H_out, W_out]
        return filtered if self.dynamic_bias is None else filtered + self.dynamic_bias(condition)

    def _fused(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return ``X *_W`` for kernels without softmax and dropout, which need not be stored in memory."""
        rows, options = self.weight.flatten(1), self.options  # [G k^2, E]
        return fused_dynamic_conv2d(
            visual, condition, rows, self.bias, groups=options.groups, stride=options.stride
        )

    def _two_steps(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return ``X *_W`` computed in two steps: first the kernels, then the convolution."""
        return self.options.convolve(visual, self.build(visual, condition), training=self.training)

    def build(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return ``W = conv1x1(Z)`` at the positions of the output: ``[B, G, k^2, H_out, W_out]``."""
        del visual
        return self.options.to_kernels(F.conv2d(condition, self.weight, self.bias, self.options.stride))


class StaticKernel(Aggregation):
    """The aggregation of ``static_kernel``: one learned kernel per group for all positions, then FiLM per position.

    The convolution is depthwise, except with kernel dropout: dropout is independent for every position's copy of
    the kernel, so that this variant is regularised exactly as `LanguageKernels` (and is as slow).

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        options: the options of the kernels.
    """

    def __init__(self, visual_dim: int, cond_dim: int, options: KernelOptions) -> None:
        super().__init__()
        limit = 1 / options.kernel_size  # the initial bound of a depthwise nn.Conv2d: 1 / sqrt(k^2)
        values = torch.empty(1, options.values_per_position, 1, 1)
        self.weight = nn.Parameter(values.uniform_(-limit, limit))
        self.film = PositionFiLM(visual_dim, cond_dim, options.stride)
        self.options = options

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return FiLM of the filtered map: ``[B, C, H_out, W_out]``."""
        kernels = self.options.to_kernels(self.weight)  # [1, G, k^2, 1, 1]
        drops = self.training and self.options.dropout > 0
        filtered = self._with_dropout(visual, kernels) if drops else self._depthwise(visual, kernels)
        return self.film(filtered, condition)  # type: ignore[no-any-return]

    def _depthwise(self, visual: Tensor, kernels: Tensor) -> Tensor:
        """Return the depthwise convolution with the shared kernels: ``[B, C, H_out, W_out]``."""
        channels, size = visual.shape[1], self.options.kernel_size
        by_group = kernels.view(self.options.groups, 1, size, size)  # [G, 1, k, k]
        by_channel = by_group.repeat(channels // self.options.groups, 1, 1, 1)  # [C, 1, k, k], c mod G
        return F.conv2d(visual, by_channel, None, self.options.stride, size // 2, groups=channels)

    def _with_dropout(self, visual: Tensor, kernels: Tensor) -> Tensor:
        """Return the convolution with one copy of the kernels per position, each with its own dropout."""
        sides = [(side - 1) // self.options.stride + 1 for side in visual.shape[2:]]
        copies = kernels.expand(visual.shape[0], -1, -1, *sides)  # [B, G, k^2, H_out, W_out]
        return self.options.convolve(visual, copies, training=True)


class ImageKernels(Aggregation):
    """The aggregation of ``no_language_kernel``: ``W = conv1x1(ReLU(norm(conv1x1(X + P))))``, then FiLM per position.

    Args:
        visual_dim: ``C``; a multiple of 4 for the sine position code.
        cond_dim: ``E``, the width of ``Z`` and of the image features that replace it.
        options: the options of the kernels.
        position: the position code added to ``X``.
        norm: the norm before the ReLU; the convolution before it has a bias only without a norm.
    """

    def __init__(
        self,
        visual_dim: int,
        cond_dim: int,
        options: KernelOptions,
        *,
        position: PositionEncoding,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(visual_dim, cond_dim, 1, bias=norm == "none")
        self.norm = norm_layer(norm, cond_dim)
        self.project = nn.Conv2d(cond_dim, options.values_per_position, 1, options.stride)
        self.film = PositionFiLM(visual_dim, cond_dim, options.stride)
        self.options = options
        self.position: PositionEncoding = position

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return FiLM of ``X *_W``: ``[B, C, H_out, W_out]``."""
        filtered = self.options.convolve(visual, self.build(visual, condition), training=self.training)
        return self.film(filtered, condition)  # type: ignore[no-any-return]

    def build(self, visual: Tensor, condition: Tensor) -> Tensor:
        """Return ``W``, predicted from the image only: ``[B, G, k^2, H_out, W_out]``."""
        del condition
        located = add_position_encoding(visual, self.position)  # [B, C, H, W]
        features = F.relu(self.norm(self.reduce(located)))  # [B, E, H, W]
        return self.options.to_kernels(self.project(features))


class AddedCondition(Aggregation):
    """The aggregation of ``z_add``: ``U = conv1x1(Z)``, which the block adds to ``X``.

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        stride: stride of the output.
    """

    def __init__(self, visual_dim: int, cond_dim: int, *, stride: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(cond_dim, visual_dim, 1, stride)

    def forward(self, visual: Tensor, condition: Tensor) -> Tensor:
        """``[B, E, H, W]`` -> ``[B, C, H_out, W_out]``."""
        del visual
        return self.project(condition)  # type: ignore[no-any-return]


class PositionFiLM(nn.Module):
    """FiLM for each channel of each position: ``(1 + conv1x1(Z)) * U + conv1x1(Z)``.

    Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, with ``Z`` instead of the
    sentence.

    Args:
        visual_dim: ``C``.
        cond_dim: ``E``.
        stride: stride of ``U``.
    """

    def __init__(self, visual_dim: int, cond_dim: int, stride: int) -> None:
        super().__init__()
        self.gamma = nn.Conv2d(cond_dim, visual_dim, 1, stride)
        self.beta = nn.Conv2d(cond_dim, visual_dim, 1, stride)

    def forward(self, filtered: Tensor, condition: Tensor) -> Tensor:
        """``U`` ``[B, C, H_out, W_out]`` and ``Z`` ``[B, E, H, W]`` -> ``[B, C, H_out, W_out]``."""
        return (1 + self.gamma(condition)) * filtered + self.beta(condition)  # type: ignore[no-any-return]

"""Signed square root, then L2: the normalisation that MCB, MFB, MFH and BLOCK share.

Fukui et al. (MCB, EMNLP 2016) took it from fine-grained recognition (Lin et al., "Bilinear CNN Models",
ICCV 2015):

    y_i = sign(z_i) sqrt(|z_i|),    z'_i = y_i / ||y||_2

The slope of the square root has no bound at zero, and written as ``sign(z) sqrt(|z|)`` its gradient *at*
zero is not a number, which a dropped or a dead channel reaches exactly. Both steps therefore carry a small
``e``, and are computed in float32 at least, where it does not vanish:

    y_i = z_i / sqrt(|z_i| + e),    z'_i = y_i / sqrt(sum_j y_j^2 + e),    e = 1e-8

At ``|z| = 1e-4`` this differs from the square root by 5e-5 of its value. The slope near zero is 1e4 at most;
at exactly zero, where the root has none, it is set to 0, as in the authors' code: a position where all is zero
would otherwise send back gradients that float16 cannot hold.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8


def power_normalise(values: Tensor, dim: int = 1) -> Tensor:
    """The signed square root of each value, then unit length along ``dim``; shape and type are kept."""
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    wide = wide.masked_fill(wide == 0, 0)  # the same values, but no gradient where they are zero
    roots = wide / (wide.abs() + EPSILON).sqrt()
    return (roots / (roots.square().sum(dim, keepdim=True) + EPSILON).sqrt()).to(values.dtype)

"""The signed square root followed by L2, as used in MCB, MFB, MFH and BLOCK.

Fukui et al. (MCB, EMNLP 2016) adopted this normalisation from fine-grained recognition (Lin et al., "Bilinear CNN
Models", ICCV 2015):

    y_i = sign(z_i) sqrt(|z_i|),    z'_i = y_i / ||y||_2

The slope of the square root is unbounded at zero. Written as ``sign(z) sqrt(|z|)``, its gradient *at* zero is NaN,
and a channel after dropout or ReLU can be exactly zero. Both steps therefore contain a small ``e`` and are computed
in float32 or wider, where ``e`` is not rounded to zero:

    y_i = z_i / sqrt(|z_i| + e),    z'_i = y_i / sqrt(sum_j y_j^2 + e),    e = 1e-8

At ``|z| = 1e-4`` the relative difference to the square root is 5e-5. The slope near zero is 1e4 at most. At exactly
zero, where the square root has no derivative, the gradient is set to 0, as in the authors' code: a position with
zeros only would otherwise produce gradients beyond the range of float16.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8


def power_normalise(values: Tensor, dim: int = 1) -> Tensor:
    """Return the signed square root of each value, then scaled to unit length along ``dim``.

    The result has the shape and type of ``values``.
    """
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    wide = wide.masked_fill(wide == 0, 0)  # the same values, without a gradient where they are zero
    roots = wide / (wide.abs() + EPSILON).sqrt()
    return (roots / (roots.square().sum(dim, keepdim=True) + EPSILON).sqrt()).to(values.dtype)

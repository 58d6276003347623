"""LaConv: language-dependent convolution (Luo et al., arXiv 2110.08797)."""

from fusion_modules.laconv.block import LaConv
from fusion_modules.laconv.operator import dynamic_conv2d

__all__ = ["LaConv", "dynamic_conv2d"]

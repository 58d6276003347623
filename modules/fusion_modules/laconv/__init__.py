"""LaConv, convolution with language-dependent kernels (Luo et al., arXiv 2110.08797).

`fusion_modules.laconv.block` states the equations; ``ops`` holds the operator and ``bench`` its benchmark.
"""

from fusion_modules.laconv.block import LaConvBlock, LaConvConfig
from fusion_modules.laconv.module import LaConv
from fusion_modules.laconv.ops.fused import fused_dynamic_conv2d
from fusion_modules.laconv.ops.operator import chosen_backend, dynamic_conv2d

__all__ = [
    "LaConv",
    "LaConvBlock",
    "LaConvConfig",
    "chosen_backend",
    "dynamic_conv2d",
    "fused_dynamic_conv2d",
]

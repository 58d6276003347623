"""Bilinear fusion: products of image and sentence, from one elementwise product to a full third-order tensor.

Every paper of the family fuses one image vector with one sentence vector. Here each module fuses every
position ``p`` of the map with the sentence, so the output is again a map.
"""

from fusion_modules.bilinear.block import BLOCK
from fusion_modules.bilinear.low_rank import LowRank
from fusion_modules.bilinear.mcb import MCB
from fusion_modules.bilinear.mfb import MFB
from fusion_modules.bilinear.mfh import MFH
from fusion_modules.bilinear.mlb import MLB
from fusion_modules.bilinear.mutan import MUTAN, Tucker

__all__ = ["BLOCK", "MCB", "MFB", "MFH", "MLB", "MUTAN", "LowRank", "Tucker"]

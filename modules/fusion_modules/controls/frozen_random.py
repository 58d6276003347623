"""The control ``frozen_random``: a fusion of both inputs whose parameters are not trained.

Random, untrained features under a trained classifier are a baseline since Jarrett, Kavukcuoglu, Ranzato, LeCun,
"What is the best multi-stage architecture for object recognition?", ICCV 2009. Here the random features are FiLM's
block with its initial parameters, at every position of the map:

    r   = ReLU(conv1x1([V; x; y]))
    out = r + ReLU((1 + gamma) BN(conv3x3(r)) + beta),    (gamma, beta) = Linear(q)

Symbols: ``V`` the map ``[B, C, H, W]``, ``x`` and ``y`` its coordinates, ``q`` the sentence ``[B, D]``. The sentence
scales and shifts the channels of a convolved map by random amounts, so both inputs affect the output. Everything
around the module (projection, adapter, head, text encoder) is trained. The gain of an arm over this control is the
value of training its fusion module.
"""

from __future__ import annotations

from typing import ClassVar

from fusion_bench.contract import Citation
from fusion_modules.film import FiLM


class FrozenRandom(FiLM):
    """FiLM's block with its parameters frozen at their random initial values.

    ``trainable`` is False, so the assembler excludes the parameters from training. The batch norm has no parameters;
    its running averages still follow the data. The arguments are those of `FiLM`.
    """

    citation: ClassVar[Citation] = Citation(
        "What is the best multi-stage architecture for object recognition?",
        "Jarrett et al.",
        "ICCV",
        2009,
        "https://doi.org/10.1109/ICCV.2009.5459469",
    )
    trainable: ClassVar[bool] = False

"""The control `FrozenRandom`: a fusion of both inputs that nobody learnt.

Random, untrained features under a trained classifier are a baseline since Jarrett, Kavukcuoglu, Ranzato, LeCun,
"What is the best multi-stage architecture for object recognition?", ICCV 2009. Here they are FiLM's block as it
was drawn: the sentence scales and shifts the channels of a convolved map by random amounts, so image and sentence
do meet, and everything around the module (projection, adapter, head, text encoder) is trained. What an arm gains
over it is what training its fusion is worth.
"""

from __future__ import annotations

from typing import ClassVar

from fusion_bench.contract import Citation
from fusion_modules.film import FiLM


class FrozenRandom(FiLM):
    """FiLM's block with its parameters left as drawn: the assembler does not train what is not ``trainable``.

    The running averages of its batch norm, which has no parameters, still follow the data.
    """

    citation: ClassVar[Citation] = Citation(
        "What is the best multi-stage architecture for object recognition?",
        "Jarrett et al.",
        "ICCV",
        2009,
        "https://doi.org/10.1109/ICCV.2009.5459469",
    )
    trainable: ClassVar[bool] = False

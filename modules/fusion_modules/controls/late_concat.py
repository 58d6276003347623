"""The control ``late_concat``: the output map depends on the image only, and the head also reads the sentence.

The arrangement is that of iBOWIMG: Zhou et al., "Simple Baseline for Visual Question Answering", arXiv 2015 (arXiv
1512.02167), where a classifier reads the concatenation of pooled image features and the sentence:

    answer = head([pool(out); q])

Symbols: ``out`` the map of `ImageOnly` ``[B, C, H, W]``, ``q`` the sentence ``[B, D]``. The control shows whether
fusion *before* pooling is useful.
"""

from __future__ import annotations

from typing import ClassVar

from fusion_bench.contract import Citation
from fusion_modules.controls.image_only import ImageOnly


class LateConcat(ImageOnly):
    """The block of `ImageOnly` in the slot, with the sentence concatenated to the pooled features at the head.

    The arguments are those of `ImageOnly`.
    """

    citation: ClassVar[Citation] = Citation(
        "Simple Baseline for Visual Question Answering",
        "Zhou et al.",
        "arXiv",
        2015,
        "https://arxiv.org/abs/1512.02167",
    )
    sentence_at_head: ClassVar[bool] = True

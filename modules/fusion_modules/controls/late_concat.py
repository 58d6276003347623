"""Late-concatenation control: the map is made from the image, and the head also reads the sentence."""

from __future__ import annotations

from typing import ClassVar

from fusion_bench.contract import (
    Citation,
)
from fusion_modules.controls.image_only import ImageOnly


class LateConcat(ImageOnly):
    """The image alone in the slot; image and sentence meet at the head, as one concatenated vector.

    The arrangement of iBOWIMG (Zhou et al.), where a classifier reads pooled image features beside the
    sentence. It asks whether fusing *before* pooling was worth anything.
    """

    citation: ClassVar[Citation] = Citation(
        "Simple Baseline for Visual Question Answering",
        "Zhou et al.",
        "arXiv",
        2015,
        "https://arxiv.org/abs/1512.02167",
    )
    sentence_at_head: ClassVar[bool] = True

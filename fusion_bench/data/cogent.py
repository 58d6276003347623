"""CLEVR-CoGenT v1.0: the colours of cubes and cylinders change places between training and judging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fusion_bench.data.clevr import Clevr
from fusion_bench.data.held_out import dealt
from fusion_bench.samples.dataset import Counts, Splits

_PARTS = ("tuneB", "selectB", "restB")
_SHARES = (0.2, 0.05)
"""Of the images of ``valB``; ``restB`` is what they leave."""


class ClevrCogent(Clevr):
    """CLEVR-CoGenT (Johnson et al., CVPR 2017, section 4.7) in its released layout.

    Condition A: cubes are gray, blue, brown or yellow, cylinders red, green, purple or cyan; condition B: the
    other way round; spheres have any colour. Trained on ``trainA``, of which one image in twenty is held out
    as ``select``; judged on ``valA`` and ``valB``, since the answers of the test splits are not published.

    Args:
        root: the folder ``CLEVR_CoGenT_v1.0``.
        kinds: keep only questions of these kinds; None keeps all.
    """

    name: ClassVar[str] = "clevr_cogent"

    published: Mapping[str, Counts] = {
        "trainA": Counts(None, 70_000),
        "valA": Counts(None, 15_000),
        "valB": Counts(None, 15_000),
        "testA": Counts(None, 15_000),
        "testB": Counts(None, 15_000),
    }
    unlabelled: ClassVar[tuple[str, ...]] = ("testA", "testB")

    splits = Splits(train="trainA", select="select", evaluate=("valA", "valB"))


class ClevrCogentB(ClevrCogent):
    """The same files, to fine-tune on condition B what was trained on A (``start``).

    The release has no training split of condition B, so ``valB``'s images are dealt out: one in five is ``tuneB``
    (30,000 questions), one in twenty ``selectB``, and what is left, which no arm has seen, is ``restB``. Judged
    on ``valA``, where something may be forgotten, and ``restB``.
    """

    name: ClassVar[str] = "clevr_cogent_b"
    published: Mapping[str, Counts] = {"valA": Counts(None, 15_000)}
    unlabelled: ClassVar[tuple[str, ...]] = ()

    splits = Splits(train="tuneB", select="selectB", evaluate=("valA", "restB"))

    def _stem(self, split: str) -> str:
        return "valB" if split in _PARTS else super()._stem(split)

    def _belongs(self, split: str, image_index: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        if split not in _PARTS:
            return super()._belongs(split, image_index)
        part = dealt(image_index.tolist(), _SHARES)[_PARTS.index(split)]
        return np.isin(image_index, list(part))

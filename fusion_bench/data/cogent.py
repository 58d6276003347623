"""The adapter of CLEVR-CoGenT v1.0: the colours of cubes and cylinders are exchanged between train and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fusion_bench.data.clevr import Clevr
from fusion_bench.data.held_out import divide_images
from fusion_bench.samples.dataset import Counts, Splits

_PARTS = ("tuneB", "selectB", "restB")
_SHARES = (0.2, 0.05)
"""Shares of ``tuneB`` and ``selectB`` in the images of ``valB``; the other images are ``restB``."""


class ClevrCogent(Clevr):
    """CLEVR-CoGenT (Johnson et al., CVPR 2017, section 4.7) in its released layout.

    In condition A, cubes are gray, blue, brown or yellow, and cylinders are red, green, purple or cyan. In condition
    B the two sets of colours are exchanged. Spheres have any colour. Models are trained on ``trainA``, of which one
    image in twenty is held out as ``select``, and evaluated on ``valA`` and ``valB``, because the answers of the test
    splits are not published.

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
    """The same files, divided for fine-tuning on condition B after training on condition A (``start``).

    The release has no training split of condition B, so the images of ``valB`` are divided: one in five belongs to
    ``tuneB`` (30,000 questions), one in twenty to ``selectB``, and the others, which no arm sees, to ``restB``.
    Models are evaluated on ``valA``, which measures forgetting, and on ``restB``.
    """

    name: ClassVar[str] = "clevr_cogent_b"
    published: Mapping[str, Counts] = {"valA": Counts(None, 15_000)}
    unlabelled: ClassVar[tuple[str, ...]] = ()

    splits = Splits(train="tuneB", select="selectB", evaluate=("valA", "restB"))

    def _stem(self, split: str) -> str:
        return "valB" if split in _PARTS else super()._stem(split)

    def _members(self, split: str, image_index: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        if split not in _PARTS:
            return super()._members(split, image_index)
        part = divide_images(image_index.tolist(), _SHARES)[_PARTS.index(split)]
        return np.isin(image_index, list(part))

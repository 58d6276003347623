"""CLEVR-CoGenT v1.0: the colours of cubes and cylinders change places between training and judging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from fusion_bench.data.clevr import Clevr
from fusion_bench.samples import Counts, Splits


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

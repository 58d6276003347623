"""CLEVR-CoGenT's two conditions: which colours cubes and cylinders may have.

Johnson et al., "CLEVR", CVPR 2017, section 4.7. Spheres have every colour in both, so that all shapes and
all colours are seen in either, and only their pairs are new in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from fusion_bench.data.programs import ATTRIBUTES

CogentCondition: TypeAlias = Literal["A", "B"]

_ONE, _OTHER = ("gray", "blue", "brown", "yellow"), ("red", "green", "purple", "cyan")
_COLORS: Mapping[CogentCondition, Mapping[str, tuple[str, ...]]] = {
    "A": {"cube": _ONE, "cylinder": _OTHER},
    "B": {"cube": _OTHER, "cylinder": _ONE},
}


def colors(shape: str, condition: CogentCondition | None) -> tuple[str, ...]:
    """The colours that things of a shape may have; without a condition, all eight."""
    every = ATTRIBUTES["color"]
    return every if condition is None else _COLORS[condition].get(shape, every)

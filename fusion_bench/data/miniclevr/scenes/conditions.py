"""The two conditions of CLEVR-CoGenT: the allowed colours of cubes and cylinders.

Johnson et al., "CLEVR", CVPR 2017, section 4.7. Spheres have every colour in both conditions, so that all shapes and
all colours occur in each condition, and only combinations are new in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from fusion_bench.data.programs import ATTRIBUTES

CogentCondition: TypeAlias = Literal["A", "B"]

_FIRST_COLORS, _SECOND_COLORS = ("gray", "blue", "brown", "yellow"), ("red", "green", "purple", "cyan")
_COLORS: Mapping[CogentCondition, Mapping[str, tuple[str, ...]]] = {
    "A": {"cube": _FIRST_COLORS, "cylinder": _SECOND_COLORS},
    "B": {"cube": _SECOND_COLORS, "cylinder": _FIRST_COLORS},
}


def allowed_colors(shape: str, condition: CogentCondition | None) -> tuple[str, ...]:
    """Return the colours that objects of a shape may have; without a condition, all eight."""
    all_colors = ATTRIBUTES["color"]
    return all_colors if condition is None else _COLORS[condition].get(shape, all_colors)

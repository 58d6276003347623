"""The four attributes of an object, drawn independently or as a distractor of another object.

A data set may let only some of them vary. The others then have one value, the most visible one (`FIXED_VALUES`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition, allowed_colors
from fusion_bench.data.miniclevr.scenes.scenes import MATERIALS, SHAPES, SIZES
from fusion_bench.data.programs import ATTRIBUTES


class Attributes(NamedTuple):
    """The attributes of an object in CLEVR's words."""

    shape: str
    size: str
    color: str
    material: str


VARYING: tuple[str, ...] = Attributes._fields
"""The attributes that vary unless a data set fixes some."""

FIXED_VALUES: Mapping[str, str] = {
    "shape": "cube",
    "size": "large",
    "color": "purple",
    "material": "rubber",
}
"""The values of attributes that do not vary: the most visible ones.

Large cubes cover the most pixels. Rubber reflects nothing, so its color is the same everywhere; purple rubber differs
most from the ground (a CIELAB distance of 49 on average; red 37, gray 13).
"""


def draw_attributes(
    draws: Sequence[float], condition: CogentCondition | None, varying: Sequence[str] = VARYING
) -> Attributes:
    """Return attributes from uniform random numbers; all values of a varying attribute are equally likely.

    Args:
        draws: four numbers in [0, 1) for size, shape, colour and material; further numbers are ignored.
        condition: the CoGenT condition of the colour; None allows all colours.
        varying: the attributes that vary; the others have their `FIXED_VALUES`.
    """
    shape = _choose(SHAPES, draws[1])
    drawn = Attributes(
        shape,
        _choose(SIZES, draws[0]),
        _choose(allowed_colors(shape, condition), draws[2]),
        _choose(MATERIALS, draws[3]),
    )
    return drawn._replace(**{name: value for name, value in FIXED_VALUES.items() if name not in varying})


def change_one_attribute(
    other: Attributes,
    draws: Sequence[float],
    condition: CogentCondition | None,
    varying: Sequence[str] = VARYING,
) -> Attributes:
    """Return a copy of ``other`` with one varying attribute changed.

    Args:
        other: the attributes to copy.
        draws: two numbers in [0, 1) for the attribute that changes and for its new value.
        condition: the CoGenT condition of the colour; None allows all colours.
        varying: the attributes that vary, at least one, in the order of `VARYING`.
    """
    name = _choose(varying, draws[0])
    changed = [other._replace(**{name: value}) for value in ATTRIBUTES[name]]
    allowed = [
        candidate
        for candidate in changed
        if candidate != other and candidate.color in allowed_colors(candidate.shape, condition)
    ]
    return allowed[int(draws[1] * len(allowed))]


def _choose(values: Sequence[str], draw: float) -> str:
    return values[int(draw * len(values))]

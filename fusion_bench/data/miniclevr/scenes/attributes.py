"""The four attributes of an object, drawn independently or as a distractor of another object."""

from __future__ import annotations

from collections.abc import Sequence
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


def draw_attributes(draws: Sequence[float], condition: CogentCondition | None) -> Attributes:
    """Return attributes from uniform random numbers; all values of an attribute are equally likely.

    Args:
        draws: four numbers in [0, 1) for size, shape, colour and material; further numbers are ignored.
        condition: the CoGenT condition of the colour; None allows all colours.
    """
    shape = _choose(SHAPES, draws[1])
    return Attributes(
        shape,
        _choose(SIZES, draws[0]),
        _choose(allowed_colors(shape, condition), draws[2]),
        _choose(MATERIALS, draws[3]),
    )


def change_one_attribute(
    other: Attributes, draws: Sequence[float], condition: CogentCondition | None
) -> Attributes:
    """Return a copy of ``other`` with one attribute changed.

    Args:
        other: the attributes to copy.
        draws: two numbers in [0, 1) for the attribute that changes and for its new value.
        condition: the CoGenT condition of the colour; None allows all colours.
    """
    name = _choose(Attributes._fields, draws[0])
    changed = [other._replace(**{name: value}) for value in ATTRIBUTES[name]]
    allowed = [
        candidate
        for candidate in changed
        if candidate != other and candidate.color in allowed_colors(candidate.shape, condition)
    ]
    return allowed[int(draws[1] * len(allowed))]


def _choose(values: Sequence[str], draw: float) -> str:
    return values[int(draw * len(values))]

"""What a thing looks like: its four attributes, drawn alone or as a distractor of another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fusion_bench.data.miniclevr.scenes.conditions import CogentCondition, colors
from fusion_bench.data.miniclevr.scenes.scenes import MATERIALS, SHAPES, SIZES
from fusion_bench.data.programs import ATTRIBUTES


class Attributes(NamedTuple):
    """The attributes of a thing, in CLEVR's words."""

    shape: str
    size: str
    color: str
    material: str


def draw_attributes(draws: Sequence[float], condition: CogentCondition | None) -> Attributes:
    """Looks from numbers in [0, 1): of size, shape, colour and material, each value as likely as the others.

    Args:
        draws: four numbers; more are left alone.
        condition: of CoGenT, which the colour keeps to.
    """
    shape = _choose(SHAPES, draws[1])
    return Attributes(
        shape,
        _choose(SIZES, draws[0]),
        _choose(colors(shape, condition), draws[2]),
        _choose(MATERIALS, draws[3]),
    )


def change_one_attribute(
    other: Attributes, draws: Sequence[float], condition: CogentCondition | None
) -> Attributes:
    """The looks of ``other`` but for one attribute.

    Args:
        other: what is copied.
        draws: two numbers in [0, 1): of the attribute that changes and of its new value.
        condition: of CoGenT, which the colour keeps to.
    """
    name = _choose(Attributes._fields, draws[0])
    changed = [other._replace(**{name: value}) for value in ATTRIBUTES[name]]
    allowed = [one for one in changed if one != other and one.color in colors(one.shape, condition)]
    return allowed[int(draws[1] * len(allowed))]


def _choose(values: Sequence[str], draw: float) -> str:
    return values[int(draw * len(values))]

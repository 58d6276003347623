"""Whether scenes whose objects differ in few attributes allow the questions and expressions that a data set asks for.

Most of them mention an object that its attributes identify. With few attributes, such objects are rare.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import comb

from fusion_bench.data.miniclevr.questions.families import FAMILIES, Family
from fusion_bench.data.miniclevr.questions.strata import strata_of
from fusion_bench.data.miniclevr.questions.view import BIT, COMBINATIONS, PATTERNS, fixed_bits
from fusion_bench.errors import DataError

_LEAST_SHARE = 0.5
"""The least share of the largest scenes in which an object can be identified."""


def check_kinds(kinds: Sequence[str], attributes: Sequence[str], things: int) -> None:
    """Check that every kind has a family that can be asked about most scenes of ``things`` objects.

    Args:
        kinds: the question kinds.
        attributes: the attributes that vary.
        things: the greatest number of objects in a scene.

    Raises:
        DataError: one of the kinds has no such family.
    """
    for kind in kinds:
        if not any(
            _askable(family, fixed_bits(attributes), things) for family in FAMILIES if family.kind == kind
        ):
            raise _too_few(f"questions of the kind {kind}", attributes, things)


def check_expressions(attributes: Sequence[str], things: int) -> None:
    """Check that most scenes of ``things`` objects have an object that its attributes identify.

    Raises:
        DataError: they have not.
    """
    if _identifiable_share(fixed_bits(attributes), things) < _LEAST_SHARE:
        raise _too_few("sentences that refer to one object", attributes, things)


def _askable(family: Family, fixed: int, things: int) -> bool:
    if not fixed:
        return True
    if not strata_of(family, fixed, things):
        return False
    without = BIT[family.attribute] if family.attribute else 0
    if not any(family.hops) and family.form in {"hops", "integers", "either"}:
        if not family.queried:
            return True
        without = BIT[family.queried]
    return _identifiable_share(fixed | without, things) >= _LEAST_SHARE


def _identifiable_share(without: int, things: int) -> float:
    """Return the share of scenes in which an object differs from every other, in attributes not in ``without``."""
    combinations = COMBINATIONS[PATTERNS[-1] & ~without]
    return 1 - _arrangements_without_single(things, combinations) / combinations**things


@cache
def _arrangements_without_single(things: int, combinations: int) -> int:
    """Return in how many ways objects can have combinations of values so that no object has one alone."""
    if combinations == 0:
        return int(things == 0)
    return sum(
        comb(things, equal) * _arrangements_without_single(things - equal, combinations - 1)
        for equal in range(things + 1)
        if equal != 1
    )


def _too_few(what: str, attributes: Sequence[str], things: int) -> DataError:
    return DataError(
        f"the attributes {', '.join(attributes)} are too few for {what} in scenes of {things} objects; let more "
        "attributes vary, draw fewer objects (things) or ask for something else"
    )

"""Whether scenes whose objects differ in few attributes allow the questions and expressions that a data set asks for.

Most of them mention an object that its attributes identify, and some a description that fits no object. With few
attributes, both are rare in scenes of many objects.
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
"""The least share of the largest scenes that must allow a question."""


def check_kinds(kinds: Sequence[str], attributes: Sequence[str], things: int) -> None:
    """Check that every kind has a family for which the attributes suffice in most scenes of ``things`` objects.

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
    if _share(things, fixed_bits(attributes), occurrences=1) < _LEAST_SHARE:
        raise _too_few("sentences that refer to one object", attributes, things)


def _askable(family: Family, fixed: int, things: int) -> bool:
    if not fixed:
        return True
    if not strata_of(family, fixed):
        return False
    if family.form in {"same", "both", "attributes"} or any(family.hops):
        unnamed = BIT[family.attribute] if family.attribute else 0
        return _share(things, fixed | unnamed, occurrences=1) >= _LEAST_SHARE
    if family.queried:
        return _share(things, fixed | BIT[family.queried], occurrences=1) >= _LEAST_SHARE
    # To count objects or to ask whether there are any, scenes must also lack some.
    return family.form == "integers" or _share(things, fixed, occurrences=0) >= _LEAST_SHARE


def _share(things: int, without: int, occurrences: int) -> float:
    """Return the share of scenes of ``things`` objects in which some description occurs ``occurrences`` times.

    Args:
        things: number of objects, whose attributes are independent.
        without: bits of the attributes that the descriptions do not name; they name all others.
        occurrences: 1 for a description that identifies an object, 0 for one that matches none.
    """
    descriptions = COMBINATIONS[PATTERNS[-1] & ~without]
    all_arrangements: int = descriptions**things
    return 1 - _arrangements(things, descriptions, occurrences) / all_arrangements


@cache
def _arrangements(things: int, descriptions: int, never: int) -> int:
    """Return the number of ways to give objects descriptions so that none occurs exactly ``never`` times."""
    if descriptions == 0:
        return int(things == 0)
    return sum(
        comb(things, equal) * _arrangements(things - equal, descriptions - 1, never)
        for equal in range(things + 1)
        if equal != never
    )


def _too_few(what: str, attributes: Sequence[str], things: int) -> DataError:
    return DataError(
        f"the attributes {', '.join(attributes)} are too few for {what} in scenes of {things} objects; let more "
        "attributes vary, draw fewer objects (things) or ask for something else"
    )

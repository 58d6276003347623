"""The 90 question families of CLEVR, by the numbers of the release.

A family fixes what is asked (the last program function) and the shape of the sets it is asked about; the
numbers are those of ``question_family_index`` in the released files, checked against them in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from fusion_bench.data.clevr import KIND_STARTS

Form: TypeAlias = Literal["hops", "both", "same", "either", "integers", "attributes"]


@dataclass(frozen=True, slots=True)
class Family:
    """One of CLEVR's question families.

    Attributes:
        index: ``question_family_index``.
        kind: one of the nine template kinds.
        asks: last program function.
        form: how the sets it asks about are made: a chain of relations (``hops``), two relations at once
            (``both``), objects like another (``same``), a union (``either``), or two sets compared by
            number (``integers``) or two objects by an attribute (``attributes``).
        hops: relations in each described set.
        attribute: what is shared (``same``), filtered after the union (``either``) or compared
            (``attributes``); None if nothing is.
        described: False if nothing is said of the objects beyond being like another.
    """

    index: int
    kind: str
    asks: str
    form: Form
    hops: tuple[int, ...] = ()
    attribute: str | None = None
    described: bool = True

    @property
    def queried(self) -> str | None:
        """The attribute asked for, if it asks for one."""
        return self.asks.removeprefix("query_") if self.asks.startswith("query_") else None


def _family(
    asks: str, form: Form, *hops: int, attribute: str | None = None, described: bool = True
) -> Family:
    return Family(-1, "", asks, form, hops, attribute, described)


def _queries(*attributes: str) -> list[str]:
    return [f"query_{name}" for name in attributes]


_SIZES = ("size", "color", "material", "shape")
_INTEGERS = ("equal_integer", "less_than", "greater_than")
_SETS = ("count", "exist")

_BY_KIND: dict[str, list[Family]] = {
    "compare_integer": [
        _family(asks, "integers", *hops) for hops in ((0, 0), (1, 0), (1, 1)) for asks in _INTEGERS
    ],
    "comparison": [_family(f"equal_{name}", "attributes", 0, 0, attribute=name) for name in _SIZES]
    + [
        _family(f"equal_{name}", "attributes", *hops, attribute=name)
        for name in _SIZES
        for hops in ((1, 0), (0, 1), (1, 1))
    ],
    "three_hop": [
        _family(asks, "hops", 3) for asks in (*_SETS, *_queries("size", "shape", "color", "material"))
    ],
    "single_and": [_family(asks, "both", 1, 1) for asks in ("count", *_queries(*_SIZES))],
    "same_relate": [
        _family(asks, "same", attribute=name, described=described)
        for described in (False, True)
        for asks in ("exist", "count")
        for name in _SIZES
    ]
    + [
        _family(asks, "same", attribute=name)
        for name in _SIZES
        for asks in _queries(*(other for other in _SIZES if other != name))
    ],
    "single_or": [
        _family("count", "either", 0, 0),
        _family("count", "either", 0, 0, attribute="size"),
        _family("count", "either", 0, 0, attribute="color"),
        _family("count", "either", 1, 1),
        _family("count", "either", 0, 0, attribute="material"),
        _family("count", "either", 0, 0, attribute="shape"),
        _family("count", "either", 1, 0),
        _family("count", "either", 0, 1),
    ],
    "one_hop": [_family(asks, "hops", 1) for asks in (*_SETS, *_queries(*_SIZES))],
    "two_hop": [_family(asks, "hops", 2) for asks in (*_SETS, *_queries(*_SIZES))],
    "zero_hop": [
        _family(asks, "hops", 0) for asks in (*_SETS, *_queries("shape", "material", "color", "size"))
    ],
}

FAMILIES: tuple[Family, ...] = tuple(
    replace(family, index=start + number, kind=kind)
    for kind, start in KIND_STARTS.items()
    for number, family in enumerate(_BY_KIND[kind])
)

"""The 90 question families of CLEVR with the numbers of the release.

A family defines the last program function and the form of the sets that a question is about. The numbers are those of
``question_family_index`` in the released files; the tests compare them.
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
        kind: one of the nine question kinds.
        function: the last program function.
        form: the form of the sets: a chain of relations (``hops``), two relations at once (``both``), objects that
            share an attribute with another (``same``), a union (``either``), two sets compared by their size
            (``integers``), or two objects compared by an attribute (``attributes``).
        hops: number of relations in each described set.
        attribute: the attribute that is shared (``same``), filtered after the union (``either``) or compared
            (``attributes``); None for none.
        described: False if the question says nothing about the objects except that they share an attribute.
    """

    index: int
    kind: str
    function: str
    form: Form
    hops: tuple[int, ...] = ()
    attribute: str | None = None
    described: bool = True

    @property
    def queried(self) -> str | None:
        """The attribute that a query function returns; None for other functions."""
        return self.function.removeprefix("query_") if self.function.startswith("query_") else None


def _family(
    function: str, form: Form, *hops: int, attribute: str | None = None, described: bool = True
) -> Family:
    return Family(-1, "", function, form, hops, attribute, described)


def _queries(*attributes: str) -> list[str]:
    return [f"query_{name}" for name in attributes]


_SIZES = ("size", "color", "material", "shape")
_INTEGERS = ("equal_integer", "less_than", "greater_than")
_SETS = ("count", "exist")

_BY_KIND: dict[str, list[Family]] = {
    "compare_integer": [
        _family(function, "integers", *hops) for hops in ((0, 0), (1, 0), (1, 1)) for function in _INTEGERS
    ],
    "comparison": [_family(f"equal_{name}", "attributes", 0, 0, attribute=name) for name in _SIZES]
    + [
        _family(f"equal_{name}", "attributes", *hops, attribute=name)
        for name in _SIZES
        for hops in ((1, 0), (0, 1), (1, 1))
    ],
    "three_hop": [
        _family(function, "hops", 3) for function in (*_SETS, *_queries("size", "shape", "color", "material"))
    ],
    "single_and": [_family(function, "both", 1, 1) for function in ("count", *_queries(*_SIZES))],
    "same_relate": [
        _family(function, "same", attribute=name, described=described)
        for described in (False, True)
        for function in ("exist", "count")
        for name in _SIZES
    ]
    + [
        _family(function, "same", attribute=name)
        for name in _SIZES
        for function in _queries(*(other for other in _SIZES if other != name))
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
    "one_hop": [_family(function, "hops", 1) for function in (*_SETS, *_queries(*_SIZES))],
    "two_hop": [_family(function, "hops", 2) for function in (*_SETS, *_queries(*_SIZES))],
    "zero_hop": [
        _family(function, "hops", 0) for function in (*_SETS, *_queries("shape", "material", "color", "size"))
    ],
}

FAMILIES: tuple[Family, ...] = tuple(
    replace(family, index=start + number, kind=kind)
    for kind, start in KIND_STARTS.items()
    for number, family in enumerate(_BY_KIND[kind])
)

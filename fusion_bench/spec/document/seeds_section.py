"""The key ``seeds`` of a study file: a number, a list, more seeds of the reference, or looks at a growing number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from fusion_bench.spec.document.sections import Section, SeedList
from fusion_bench.spec.document.tree import Node
from fusion_bench.statistics.seeds.pool import MANY_SEEDS, are_many

MOST_SEEDS = 1000
_FEWEST_IN_LOOK = 3
_GROWTH = (3, 2)
"""Each look has at least half as many seeds again as the one before it."""


class CountedSeedsSection(Section):
    """Seeds that are counted from a first one."""

    first: int = Field(
        0,
        ge=0,
        le=2**31 - MOST_SEEDS,
        description="the seed from which they are counted; seeds that no other study used test its verdicts again",
    )


class SeedRangeSection(CountedSeedsSection):
    """Seeds are spent only on comparisons that are still open, at looks that are planned beforehand."""

    min: int = Field(
        ge=_FEWEST_IN_LOOK, le=MOST_SEEDS, description="the number of seeds of every arm at the first look"
    )
    max: int = Field(
        ge=_FEWEST_IN_LOOK,
        le=MOST_SEEDS,
        description="the largest number of seeds of an arm, at the last look",
    )
    stop: Literal["decided"] = Field(
        "decided",
        description="decided: an arm gets no more seeds once it is better, worse or equivalent",
    )

    @model_validator(mode="after")
    def _in_order(self) -> SeedRangeSection:
        if not self.min < self.max:
            raise ValueError(
                f"min must be less than max, not {self.min} and {self.max}; for one number of seeds write it alone: "
                f"seeds: {self.max}"
            )
        return self


class SeedCountsSection(CountedSeedsSection):
    """The reference has more seeds than the other arms, because it is in every comparison."""

    arms: int = Field(ge=1, le=MOST_SEEDS, description="the number of seeds of every arm and control")
    reference: int = Field(
        ge=1,
        le=MOST_SEEDS,
        description=f"the number of seeds of the reference; at least {MANY_SEEDS:g} times those of the arms",
    )

    @model_validator(mode="after")
    def _reference_has_many(self) -> SeedCountsSection:
        if not are_many(self.reference, self.arms):
            raise ValueError(
                f"reference must be at least {MANY_SEEDS:g} times arms, or no comparison uses its further seeds, not "
                f"{self.reference} and {self.arms}; for the same number of seeds write it alone: seeds: {self.arms}"
            )
        return self


_COUNTS, _LOOKS = (
    {*section.model_fields} - {*CountedSeedsSection.model_fields}
    for section in (SeedCountsSection, SeedRangeSection)
)
"""The keys that only the one kind of mapping has."""


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "counts" if _COUNTS.intersection(value) else "looks"
    return "list" if isinstance(value, list) else "other"


SeedsValue: TypeAlias = Annotated[
    Annotated[int, Field(ge=1, le=MOST_SEEDS), Tag("other")]
    | Annotated[SeedList, Tag("list")]
    | Annotated[SeedCountsSection, Tag("counts")]
    | Annotated[SeedRangeSection, Tag("looks")],
    Discriminator(_kind),
]


def are_other_kind(one: Collection[str], other: Collection[str]) -> bool:
    """Return True if of the keys of two values of ``seeds`` one set is of counts and the other of looks."""
    return any(
        first.intersection(one) and second.intersection(other)
        for first, second in ((_COUNTS, _LOOKS), (_LOOKS, _COUNTS))
    )


def looks_between(fewest: int, most: int) -> tuple[int, ...]:
    """Return the numbers of seeds at which a study looks at its comparisons.

    The first look is at ``fewest`` seeds; each later one at half as many again, rounded up; the last one at ``most``.
    From 3 to 12 that is 3, 5, 8 and 12.
    """
    numbers = [fewest]
    upper, lower = _GROWTH
    while (following := -(-numbers[-1] * upper // lower)) < most:
        numbers.append(following)
    return (*numbers, most)


def readable_seeds(node: Node) -> tuple[int, ...]:
    """Return the seeds in a value of ``seeds`` that can be read; the schema records mistakes in it."""
    value = node.plain()
    first: object = 0
    if isinstance(value, Mapping):
        first = value.get("first", 0)
        value = value.get("reference", value.get("max"))
    if isinstance(value, int) and isinstance(first, int):
        return tuple(range(first, first + min(value, MOST_SEEDS)))
    return tuple(seed for seed in value if isinstance(seed, int)) if isinstance(value, list) else ()

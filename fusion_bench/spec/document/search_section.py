"""The section ``search`` of a study file: its keys, their types and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from fusion_bench.spec.document.sections import Section, SeedList, list_or_other
from fusion_bench.spec.document.tree import Scalar

SEARCH_SEEDS = (1000,)


class RangeSection(Section):
    """A range of numbers to search; a setting that takes whole numbers needs whole numbers here."""

    low: int | float = Field(description="the smallest value")
    high: int | float = Field(description="the largest value")
    log: bool = Field(False, description="true: search on a logarithmic scale")
    step: int | None = Field(None, ge=1, description="distance between values, for whole numbers only")

    @model_validator(mode="after")
    def _in_order(self) -> RangeSection:
        if not self.low < self.high:
            raise ValueError(f"low must be less than high, not {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be greater than 0 on a logarithmic scale, not {self.low}")
        if self.log and self.step not in {None, 1}:
            raise ValueError("log and step exclude each other; leave one of them out")
        return self


SpaceSection: TypeAlias = Annotated[
    Annotated[RangeSection, Tag("other")] | Annotated[list[Scalar], Field(min_length=1), Tag("list")],
    Discriminator(list_or_other),
]


class SearchSection(Section):
    """A search for settings on the selection split, before the seeds are trained; trials per arm are equal."""

    trials: int = Field(ge=1, le=10_000, description="trials per arm")
    batch: int = Field(
        4,
        ge=1,
        le=10_000,
        description="trials that are drawn together; the result does not depend on the number of workers",
    )
    seeds: SeedList = Field(
        [*SEARCH_SEEDS], description="seeds of the search cells; none of them may be a seed of the study"
    )
    sampler: Literal["tpe", "random", "gp", "cmaes", "qmc"] = Field(
        "tpe",
        description="Optuna's sampler that draws the trials; gp: at most 100 trials; cmaes: two or more ranges in "
        "each arm and no lists, and the package cmaes",
    )
    pruner: Literal["successive_halving"] | None = Field(
        None,
        description="successive_halving: a third of each batch goes on to a training three times longer, up to the "
        "full number of epochs; the same training steps for every arm",
    )
    declared: bool = Field(True, description="true: the space that each module declares is searched")
    space: Mapping[str, SpaceSection] = Field(
        {},
        description="further ranges or lists of values, by setting or study key; where lists are all that an arm "
        "searches, every combination is tried",
    )

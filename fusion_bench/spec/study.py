"""The study as the rest of the harness knows it: arms, seeds, search, budget and report, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_bench.spec.arms import Arm
from fusion_bench.training.config import DataConfig, Json

if TYPE_CHECKING:
    from fusion_bench.contract import Space
    from fusion_bench.spec.budget import Budget


@dataclass(frozen=True)
class Search:
    """A search for every arm, before its seeds are trained.

    Attributes:
        trials: how many per arm; ``batch`` of them are drawn together.
        seeds: seeds of the search's cells, none of them the study's.
        spaces: what may change, by arm label and key; see `fusion_bench.spec.arms.with_settings`.
    """

    trials: int
    batch: int
    seeds: tuple[int, ...]
    spaces: Mapping[str, Mapping[str, Space]]

    def space_of(self, arm: Arm) -> Mapping[str, Space]:
        """What the search may change in an arm; empty if nothing."""
        return self.spaces.get(arm.label, {})


@dataclass(frozen=True)
class Expected:
    """A published or earlier value to compare with."""

    arm: str
    metric: str
    split: str
    value: float
    source: str


@dataclass(frozen=True)
class Study:
    """A study, read and checked.

    Attributes:
        path: its file.
        name: names its folder; ``title`` is one line for people.
        data: the data set, the same for every arm; ``task`` is what is asked of it.
        arms: in the file's order, the controls last.
        seeds: seeds of every arm's cells; ``threads`` of torch in each.
        reference: label of the arm that the others are compared with.
        selection_metric: what early stopping and search look at.
        primary, primary_split: the metric and the split of every verdict.
        margin: a difference that counts as nothing, None if the study states none.
        pictures: how many sample images the report shows.
        search: None without one.
        budget: what every arm should cost; None where none is matched.
        expected: values to compare with.
        roots: folder of the data set by name, if the file says it.
        weight_files: backbone weight files, and what text encoders read, by SHA-256.
        source: the study from whose cells its own start; None if they start from scratch.
    """

    path: Path
    name: str
    title: str
    data: DataConfig
    task: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    threads: int
    reference: str
    selection_metric: str
    primary: str
    primary_split: str
    margin: float | None
    pictures: int
    search: Search | None
    budget: Budget | None
    expected: tuple[Expected, ...]
    roots: Mapping[str, Path]
    weight_files: Mapping[str, Path]
    contexts: Mapping[str, Study] = field(default_factory=dict)
    source: Study | None = None

    @property
    def reads(self) -> tuple[DataConfig, ...]:
        """Every data set that its cells need: its own, and those of what they start from."""
        return (self.data, *(() if self.source is None else self.source.reads))

    def factors_of(self, label: str) -> Mapping[str, Json]:
        """The factors of the arm with a label.

        Raises:
            KeyError: no arm is called so.
        """
        return {arm.label: arm.factors for arm in self.arms}[label]

    def matched(self, arm: Arm) -> Arm:
        """An arm whose settings have changed, brought back to the study's budget if it matches one."""
        return arm if self.budget is None else self.budget.matched(arm)

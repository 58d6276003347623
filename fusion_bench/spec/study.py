"""The study after its file was read and checked: arms, seeds, search, budget and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from fusion_bench.limits import Limits, Resources
from fusion_bench.spec.arms import Arm
from fusion_bench.training.config import DataConfig

if TYPE_CHECKING:
    from fusion_bench.contract import Space
    from fusion_bench.spec.budget import Budget

Sampler: TypeAlias = Literal["tpe", "random", "gp", "cmaes", "qmc"]
"""How a search draws its trials."""
Pruner: TypeAlias = Literal["successive_halving"]
"""How a search ends trials early."""


@dataclass(frozen=True)
class Search:
    """The search for settings of every arm, before its seeds are trained.

    Attributes:
        trials: number of trials per arm.
        batch: number of trials that are drawn together.
        seeds: seeds of the search cells; none of them is a seed of the study.
        spaces: the values to search, by arm label and by key; for the keys see
            `fusion_bench.spec.arms.with_settings`.
        sampler: draws the trials.
        pruner: ends trials early; None trains all in full.
    """

    trials: int
    batch: int
    seeds: tuple[int, ...]
    spaces: Mapping[str, Mapping[str, Space]]
    sampler: Sampler = "tpe"
    pruner: Pruner | None = None

    def space_of(self, arm: Arm) -> Mapping[str, Space]:
        """Return the values to search in an arm by key; empty if there are none."""
        return self.spaces.get(arm.label, {})


@dataclass(frozen=True)
class Expected:
    """A published or earlier value that a result is compared with.

    Attributes:
        arm: label of the arm.
        metric: name of the metric.
        split: the split on which the value was measured.
        value: the value.
        source: the origin of the value, one line.
    """

    arm: str
    metric: str
    split: str
    value: float
    source: str


@dataclass(frozen=True)
class Study:
    """A study whose file was read and checked.

    Attributes:
        path: the study file.
        name: the name of the study and of its folder.
        title: the title of its report, one line.
        data: the data set, the same for every arm.
        task: the name of the task.
        arms: the arms in the order of the file, the controls last.
        seeds: the seeds of the reference's cells, and of every other arm's unless ``arm_seeds`` is less; in a study
            with looks, those of an arm that stays open to the end.
        threads: torch's number of threads in each cell.
        limits: what each cell may take.
        resources: what a cluster is asked for, for each worker.
        reference: label of the arm that all others are compared with.
        selection_metric: the metric that early stopping and search use.
        primary: the metric of every verdict.
        primary_split: the split of every verdict.
        margin: the largest difference that counts as equal; None if the study states none.
        pictures: number of sample images in the report.
        search: the search for settings; None without a search.
        budget: the budget that arms are matched to; None if the study matches none.
        expected: published or earlier values that results are compared with.
        roots: folders of data sets by name, where study files name them.
        weight_files: the files of backbone weights and of text encoders, by SHA-256.
        contexts: the contexts by label, each a study.
        source: the study whose cells this study's cells start from; None when training from scratch.
        arm_seeds: how many of ``seeds``, from the first, every arm but the reference has; None for all of them.
        looks: the rising numbers of seeds of the looks at open comparisons; empty where every arm has all seeds.
        overrides: the ``KEY=VALUE`` texts that the file was read with.
        text_digest: digest of the file, of the files that it extends and of the overrides, without layout and
            comments.
    """

    path: Path
    name: str
    title: str
    data: DataConfig
    task: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    threads: int
    limits: Limits
    resources: Resources
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
    arm_seeds: int | None = None
    looks: tuple[int, ...] = ()
    overrides: tuple[str, ...] = ()
    text_digest: str = ""

    @property
    def data_sets(self) -> tuple[DataConfig, ...]:
        """The data sets that the study's cells need: its own, and those of the studies that they start from."""
        return (self.data, *(() if self.source is None else self.source.data_sets))

    @property
    def fewest_seeds(self) -> int:
        """The number of seeds of an arm that is not the reference."""
        return len(self.seeds) if self.arm_seeds is None else self.arm_seeds

    @property
    def seed_counts(self) -> dict[str, int]:
        """How many of ``seeds``, from the first, each arm and control has, by label, in a study without looks."""
        return {
            arm.label: len(self.seeds) if arm.label == self.reference else self.fewest_seeds
            for arm in self.arms
        }

    def matched(self, arm: Arm) -> Arm:
        """Return an arm whose settings have changed, matched to the study's budget again if there is one."""
        return arm if self.budget is None else self.budget.matched(arm)

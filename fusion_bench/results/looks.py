"""The cells that a study asks for: every seed of every arm, or as many as its looks at finished cells ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from fusion_bench.cells.current_inputs import CurrentInputs
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.result import Outcome
from fusion_bench.registries import TASKS
from fusion_bench.results.family import Member, primary_scores, question_of
from fusion_bench.results.metric_scores import AllMetricScores
from fusion_bench.results.outcome_tables import cell_tables, metric_values
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.statistics.comparison import Question
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.sequential import Look, Stages, planned_looks, take_looks
from fusion_bench.study.cell_status import CellStatus, cell_statuses
from fusion_bench.study.plan import AskedSeeds, confirm_cells
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True, eq=False)
class StudyCells:
    """The cells of a study.

    Attributes:
        statuses: the states of the cells that the study asks for so far.
        stages: its looks; None for a study without looks.
        question: its comparisons.
        possible: the states of the cells that it asks for at most: those above, and all seeds of the arms that are
            still open and of the reference, if any is.
        outcomes: the outcomes that were read for the looks, by cell.
    """

    statuses: tuple[CellStatus, ...]
    stages: Stages | None
    question: Question
    possible: tuple[CellStatus, ...]
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)


def study_cells(
    study: Study,
    arms: Sequence[Arm],
    paths: RunPaths,
    inputs: CurrentInputs | None = None,
    *,
    searched: bool = True,
) -> StudyCells:
    """Return the cells that a study asks for; its looks are taken again over its finished cells.

    Args:
        study: the study.
        arms: its arms as they are trained.
        paths: where its cells lie.
        inputs: what cells would read now; looked at afresh by default.
        searched: False while a search has still to choose settings; no look can be taken then.

    Raises:
        FusionBenchError: a finished cell is damaged, or the scores of two cells cannot be paired.
    """
    question = _question(study, arms)
    counts = None if study.looks else study.seed_counts
    statuses = cell_statuses(confirm_cells(arms, study.seeds, counts), paths, inputs)
    if not study.looks:
        return StudyCells(statuses, None, question, statuses)
    looks = _Looks(study, arms, question, paths)
    stages = looks.take(statuses, len(study.looks) if searched else 0)
    counts = {arm.label: stages.seeds_of(arm.label, question) for arm in arms}
    most = dict(counts)
    if stages.next(question.family) is not None:
        open_arms = stages.open_arms(question.family)
        most |= dict.fromkeys((question.reference, *open_arms), len(study.seeds))
    return StudyCells(
        _of_counts(statuses, study, counts),
        stages,
        question,
        _of_counts(statuses, study, most),
        looks.outcomes,
    )


class LookTaker:
    """Takes the looks of a study that is being run, one after the other."""

    def __init__(self, study: Study, paths: RunPaths) -> None:
        self._study, self._paths = study, paths
        self._outcomes: dict[str, Outcome] = {}

    def __call__(self, arms: Sequence[Arm], number: int) -> AskedSeeds:
        """Return what the first ``number`` looks ask for.

        Raises:
            FusionBenchError: a finished cell is damaged, or the scores of two cells cannot be paired.
        """
        question = _question(self._study, arms)
        looks = _Looks(self._study, arms, question, self._paths, self._outcomes)
        statuses = cell_statuses(confirm_cells(arms, self._study.seeds), self._paths)
        stages = looks.take(statuses, number)
        return AskedSeeds(stages, {arm.label: stages.seeds_of(arm.label, question) for arm in arms})


def _question(study: Study, arms: Sequence[Arm]) -> Question:
    return question_of(
        (Member(arm.label, arm.role, not (arm.budget_match and arm.budget_match.unranked)) for arm in arms),
        study.reference,
        study.margin,
        higher_is_better=TASKS.load(study.task).metrics[study.primary].higher_is_better,
    )


def _of_counts(
    statuses: Iterable[CellStatus], study: Study, counts: Mapping[str, int]
) -> tuple[CellStatus, ...]:
    """Return the statuses of the first so many seeds of each arm."""
    asked = {seed: place for place, seed in enumerate(study.seeds)}
    return tuple(item for item in statuses if asked[item.cell.seed] < counts[item.cell.arm])


@dataclass(frozen=True, eq=False)
class _Looks:
    """The looks of a study over its finished cells."""

    study: Study
    arms: Sequence[Arm]
    question: Question
    paths: RunPaths
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def take(self, statuses: Sequence[CellStatus], number: int) -> Stages:
        """Return the looks that can be taken, at most ``number`` of them."""
        planned = planned_looks(self.study.looks)

        def finished(look: Look, undecided: tuple[str, ...]) -> Influences | None:
            if look in planned[number:]:
                return None
            everyone = (
                look == planned[0]
            )  # controls and arms outside the budget have the seeds of the first look
            asked = [
                item
                for item in statuses
                if item.cell.seed in self.study.seeds[: look.seeds]
                and (everyone or item.cell.arm in (self.question.reference, *undecided))
            ]
            if any(item.state in {"missing", "running"} for item in asked):
                return None
            return self._influences([item for item in asked if item.state == "done"])

        return take_looks(self.question, planned, finished)

    def _influences(self, done: Sequence[CellStatus]) -> Influences:
        """Return the influences on the primary metric and split of finished cells."""
        compared = [item for item in done if item.cell.role != "control"]
        for item in compared:
            if item.cell.id not in self.outcomes:
                self.outcomes[item.cell.id] = cell_folder(self.paths.runs, item.cell.id).outcome()
        cells = _ComparedCells.of(self.study, self.arms, compared, self.outcomes)
        scores = AllMetricScores(cells)
        cluster = self.study.data.adapter.target.load().cluster
        metric = primary_scores(scores, self.study.primary, cells.values["metric"], cluster)
        return scores.influences(metric, self.study.primary_split)


@dataclass(frozen=True, eq=False)
class _ComparedCells:
    """The tables of finished cells on the metric and split of the verdicts (`RecordedScores`)."""

    arms: tuple[Arm, ...]
    samples: pd.DataFrame
    values: pd.DataFrame
    measures: tuple[str, ...]

    @classmethod
    def of(
        cls, study: Study, arms: Sequence[Arm], done: Sequence[CellStatus], outcomes: Mapping[str, Outcome]
    ) -> _ComparedCells:
        values = metric_values(done, {cell: outcome.result for cell, outcome in outcomes.items()})
        own = (values["split"] == study.primary_split) & (values["metric"] == study.primary)
        if not done:
            columns = ["arm", "seed", "split", "sample", "cluster", "score"]
            samples = pd.DataFrame(columns=columns)
        else:
            samples = cell_tables(done, outcomes, "samples")
        return cls(
            tuple(arm for arm in arms if arm.role != "control"),
            samples[samples["split"] == study.primary_split],
            values[own],
            TASKS.load(study.task).measures,
        )

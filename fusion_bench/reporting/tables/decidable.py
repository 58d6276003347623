"""Says before training what a study can decide: whether its seeds are few, and the smallest difference that it finds.

The difference is that of the report (`fusion_bench.statistics.power`), at the planned number of seeds. How
comparisons scatter comes from the finished cells of the study. Before two arms have two finished seeds it is
assumed, after the published studies of this project: in 13 of the 15 with 3 seeds, trainings of an arm scatter by
less than 1.5 points, and the difference of two arms scatters by 3 to 8 points between images. Answers are assumed
to be independent; those of two arms agree more than that, so the assumption errs on the side of caution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fusion_bench.cells.folder import cell_folder
from fusion_bench.registries import TASKS
from fusion_bench.reporting.tables.formatting import join_words, plural, unsigned_points
from fusion_bench.reporting.tables.metric_scores import AllMetricScores
from fusion_bench.results.outcome_tables import cell_tables, metric_values
from fusion_bench.samples.metric import Metric
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.document.sections import DEFAULT_SEEDS
from fusion_bench.spec.study import Study
from fusion_bench.statistics.comparison import FEWEST_SEEDS, Question, finished_scatter, strictest_level
from fusion_bench.statistics.power import ComparisonScatter, decidable_difference
from fusion_bench.statistics.scores import SCORE_RANGE, Unit
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.training.inputs import declared_data
from fusion_bench.training.paths import RunPaths

_SHOWN_SEEDS = (3, 5, 8, 12)
_MANY = 1_000_000
"""A number of clusters so large that they add nothing to the scatter."""


@dataclass(frozen=True)
class AssumedScatter:
    """The scatter that is assumed while no cell tells it.

    Attributes:
        seed_sd: the standard deviation of an arm's mean between trainings.
        cluster_sd: that of the difference of two arms between clusters.
        accuracy: the share of right answers, which are independent of each other.
    """

    seed_sd: float = 0.015
    cluster_sd: float = 0.06
    accuracy: float = 0.75

    def scatter(self, clusters: int, answers: float) -> ComparisonScatter:
        """Return the scatter on one seed, with this many answers in each cluster."""
        residual = self.accuracy * (1 - self.accuracy) / answers
        return ComparisonScatter(
            self.seed_sd**2 + residual / clusters,
            self.cluster_sd**2 + 2 * residual,
            2 * residual,
            clusters,
            1,
        )


@dataclass(frozen=True)
class Decidable:
    """The smallest true difference that a comparison of a study finds with 80 % probability.

    Attributes:
        comparisons: the number of comparisons of the family.
        seeds: the planned number of seeds.
        difference: a share; None with fewer than 3 seeds, or where it is not known.
        by_seeds: the same with other numbers of seeds; empty where it is not known.
        clusters: the number of images (or of what else the data set draws) of the split; None if it is not known.
        finished_cells: the number of finished cells that tell how comparisons scatter; 0 where that is assumed.
        assumed: the assumption; None where finished cells tell.
        unknown: why the difference is not known; empty if it is.
    """

    comparisons: int
    seeds: int
    difference: float | None = None
    by_seeds: Mapping[int, float] = field(default_factory=dict)
    clusters: int | None = None
    finished_cells: int = 0
    assumed: AssumedScatter | None = None
    unknown: str = ""


@dataclass(frozen=True, eq=False)
class _FinishedCells:
    """The tables of the finished cells of the arms without controls, on the split of the verdicts."""

    arms: tuple[Arm, ...]
    samples: pd.DataFrame
    values: pd.DataFrame
    measures: tuple[str, ...]


def ranked_arms(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """Return the arms that get a verdict; empty where the reference is not trained."""
    if any(arm.role == "reference" and arm.abandoned for arm in arms):
        return ()
    return tuple(
        arm
        for arm in arms
        if arm.role == "arm" and not arm.abandoned and not (arm.budget_match and arm.budget_match.unranked)
    )


def few_seeds(study: Study, arms: Sequence[Arm]) -> str:
    """Return what a study with fewer seeds than the default gives up; empty for another, and without comparisons."""
    count = len(study.seeds)
    if count >= DEFAULT_SEEDS or not ranked_arms(arms):
        return ""
    change = f"--set seeds={DEFAULT_SEEDS} trains {DEFAULT_SEEDS} and keeps the finished cells"
    if count < FEWEST_SEEDS:
        return (
            f"{plural(count, 'seed')}: no verdicts, for which every arm needs {FEWEST_SEEDS} seeds; {change}"
        )
    default = f"fewer than the default of {DEFAULT_SEEDS}"
    return f"{plural(count, 'seed')}, {default}: so few find only large differences; {change}"


def decidable(
    study: Study, arms: Sequence[Arm], statuses: Sequence[CellStatus], paths: RunPaths
) -> Decidable | None:
    """Return the smallest difference that a study can decide, without its contexts; None without comparisons.

    Args:
        study: the study.
        arms: its arms as they are trained.
        statuses: the states of its cells.
        paths: where its cells lie.

    Raises:
        FusionBenchError: a finished cell is damaged.
    """
    family = ranked_arms(arms)
    if not family:
        return None
    count, comparisons = len(study.seeds), len(family)
    compared = tuple(arm for arm in arms if arm.role != "control" and not arm.abandoned)
    scatter, cells = _finished(study, compared, family, statuses, paths)
    clusters, assumed, unknown = (None if scatter is None else scatter.clusters), None, ""
    if scatter is None:
        clusters, answers = _counts(study)
        assumed = AssumedScatter()
        unit = _unit(TASKS.load(study.task).metrics[study.primary])
        if unit is None:
            assumed, unknown = (
                None,
                f"{study.primary} is no share of right answers, and no two arms are finished",
            )
        else:
            scatter = assumed.scatter(clusters or _MANY, answers if unit == "samples" else 1)
    if scatter is None:
        return Decidable(comparisons, count, unknown=unknown)
    level = strictest_level(comparisons)
    found = {
        seeds: decidable_difference(scatter, len(compared), seeds, level)
        for seeds in sorted({*_SHOWN_SEEDS, count})
        if seeds >= FEWEST_SEEDS
    }
    if np.isnan(list(found.values())).any():
        return Decidable(
            comparisons, count, finished_cells=cells, unknown="the finished cells do not scatter"
        )
    own = found.pop(count, None)
    return Decidable(comparisons, count, own, found, clusters, 0 if assumed else cells, assumed)


def decidable_sentences(found: Decidable, cluster: str) -> list[str]:
    """Return what the difference is, at this and other numbers of seeds, and what it rests on.

    Args:
        found: the difference.
        cluster: what the data set draws ("image").
    """
    if found.unknown:
        return [f"the smallest difference that can be decided is not known: {found.unknown}"]
    base = [f"the strictest of {found.comparisons} corrected comparisons"] if found.comparisons > 1 else []
    base += [f"{found.clusters:,} {cluster}s"] if found.clusters is not None else []
    seeds = join_words([str(number) for number in found.by_seeds])
    others = join_words([_points(value) for value in found.by_seeds.values()])
    if found.difference is None:
        shown, rest = f"{others} points with {seeds} seeds", ""
    else:
        base.insert(0, plural(found.seeds, "seed"))
        shown, rest = f"{_points(found.difference)} points", f"; with {seeds} seeds: {others} points"
    bracket = f" ({', '.join(base)})" if base else ""
    first = f"with 80 % probability, a comparison finds a true difference of {shown}{bracket}{rest}"
    return [first, _basis(found, cluster)]


def _basis(found: Decidable, cluster: str) -> str:
    if found.assumed is None:
        return f"estimated from the scatter of {plural(found.finished_cells, 'finished cell')}"
    trainings = (
        "assumed until two arms have two finished seeds: the trainings of an arm scatter by "
        f"{unsigned_points(found.assumed.seed_sd)} points"
    )
    if found.clusters is None:
        return f"{trainings}; the number of {cluster}s is not known here, and their part is left out"
    return (
        f"{trainings}, the difference of two arms by {unsigned_points(found.assumed.cluster_sd)} points between "
        f"{cluster}s, and independent answers are right in {100 * found.assumed.accuracy:.0f} %"
    )


def _points(difference: float) -> str:
    return unsigned_points(difference) if difference <= 1 else "over 100"


def _finished(
    study: Study,
    arms: tuple[Arm, ...],
    family: Sequence[Arm],
    statuses: Sequence[CellStatus],
    paths: RunPaths,
) -> tuple[ComparisonScatter | None, int]:
    """Return how the finished comparisons scatter, and the number of cells that tell it; None and 0 before that."""
    done = [status for status in statuses if status.state == "done" and status.cell.role != "control"]
    seeds: dict[str, set[int]] = {}
    for status in done:
        seeds.setdefault(status.cell.arm, set()).add(status.cell.seed)
    own = seeds.get(study.reference, set())
    if not any(len(own & seeds.get(arm.label, set())) > 1 for arm in family):
        return None, 0
    outcomes = {status.cell.id: cell_folder(paths.runs, status.cell.id).outcome() for status in done}
    samples, values = cell_tables(done, outcomes, "samples"), metric_values(done, outcomes)
    cells = _FinishedCells(
        arms,
        samples[samples["split"] == study.primary_split],
        values[(values["split"] == study.primary_split) & (values["metric"] == study.primary)],
        TASKS.load(study.task).measures,
    )
    influences = AllMetricScores(cells).on(study.primary, study.primary_split)
    if influences is None:
        return None, 0
    labels = tuple(arm.label for arm in family)
    unranked = tuple(arm.label for arm in arms if arm.role == "arm" and arm.label not in labels)
    return finished_scatter(influences, Question(study.reference, labels, unranked)), len(done)


def _counts(study: Study) -> tuple[int | None, float]:
    """Return the number of clusters of the split of the verdicts, None if not known, and the answers in each."""
    data = declared_data(study.data)
    counts = data.known_counts(study.primary_split)
    clusters = counts.images if data.cluster == "image" else None
    return clusters, counts.samples / clusters if clusters and counts.samples else 1.0


def _unit(metric: Metric) -> Unit | None:
    """Return whether a metric is the mean score or the share of clusters that are right; None for another one."""
    rows = pd.DataFrame(
        {
            "split": "test",
            "sample": ["0", "1", "2", "3"],
            "cluster": ["a", "a", "b", "b"],
            "prediction": "yes",
            "truth": ["yes", "yes", "yes", "no"],
            "score": [1.0, 1.0, 1.0, 0.0],
        }
    )
    if metric.range != SCORE_RANGE:
        return None
    try:
        value = metric.compute(rows)
    except Exception:  # the metric reads a measure of its task, or is somebody else's
        return None
    return "samples" if value == 0.75 else "clusters" if value == 0.5 else None

"""Says before training what a study can decide: whether its seeds are few, and the smallest difference that it finds.

The difference is that of the report (`fusion_bench.statistics.power`), at the planned number of seeds. How
comparisons scatter comes from the finished cells of the study. Before two arms have two finished seeds it is
assumed: 1.5 points between the trainings of an arm that converges, and 6 points between images for the difference of
two arms. Answers are assumed to be independent; those of two arms agree more than that, which makes the assumed
scatter larger than the true one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fusion_bench.registries import TASKS
from fusion_bench.reporting.decidable.finished_cells import scatter_of_cells
from fusion_bench.samples.metric import Metric
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.statistics.comparison import ALPHA, FEWEST_SEEDS, strictest_level
from fusion_bench.statistics.power import ComparisonScatter, decidable_difference
from fusion_bench.statistics.scores import SCORE_RANGE, Unit
from fusion_bench.statistics.sequential import planned_looks
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
        seed_sd: the standard deviation of an arm's mean between trainings, where arms converge.
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
        seeds: the planned number of seeds; with looks, that of the last one.
        difference: a share; None with fewer than 3 seeds, or where it is not known.
        by_seeds: the same with other numbers of seeds; empty where it is not known.
        clusters: the number of images (or of what else the data set draws) of the split; None if it is not known.
        arms: the arms whose finished cells tell how comparisons scatter; empty where that is assumed.
        from_seeds: the seeds of these cells, the same of each arm.
        finished_cells: their number.
        assumed: the assumption; None where finished cells tell.
        unknown: why the difference is not known; empty if it is.
        at_looks: whether the numbers of seeds are those of looks, each at its own level, with every arm still open;
            a comparison that is found at some look is found with a higher probability.
    """

    comparisons: int
    seeds: int
    difference: float | None = None
    by_seeds: Mapping[int, float] = field(default_factory=dict)
    clusters: int | None = None
    arms: tuple[str, ...] = ()
    from_seeds: tuple[int, ...] = ()
    finished_cells: int = 0
    assumed: AssumedScatter | None = None
    unknown: str = ""
    at_looks: bool = False


def ranked_arms(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """Return the arms that get a verdict; empty where the reference is not trained."""
    if any(arm.role == "reference" and arm.abandoned for arm in arms):
        return ()
    return tuple(
        arm
        for arm in arms
        if arm.role == "arm" and not arm.abandoned and not (arm.budget_match and arm.budget_match.unranked)
    )


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
    count, comparisons = study.fewest_seeds, len(family)
    compared = tuple(arm for arm in arms if arm.role != "control" and not arm.abandoned)
    finished = scatter_of_cells(study, compared, family, statuses, paths)
    assumed: AssumedScatter | None = None
    arms_used, seeds_used = (finished.arms, finished.seeds) if finished is not None else ((), ())
    clusters, answers = _counts(study)
    if finished is None:
        unit = _unit(TASKS.load(study.task).metrics[study.primary])
        if unit is None:
            unknown = f"{study.primary} is no share of right answers, and no two arms are finished"
            return Decidable(comparisons, count, unknown=unknown)
        assumed = AssumedScatter()
        scatter = assumed.scatter(clusters or _MANY, answers if unit == "samples" else 1)
    else:
        scatter, clusters = finished.scatter, finished.scatter.clusters
    looks = planned_looks(study.looks) if study.looks else ()
    alphas = {look.seeds: look.alpha for look in looks} or dict.fromkeys(
        sorted({*_SHOWN_SEEDS, count}), ALPHA
    )
    found = {
        seeds: decidable_difference(scatter, len(compared), seeds, strictest_level(comparisons, alpha))
        for seeds, alpha in alphas.items()
        if seeds >= FEWEST_SEEDS
    }
    known = not np.isnan(list(found.values())).any()
    return Decidable(
        comparisons,
        count,
        found.pop(count, None) if known else None,
        found if known else {},
        clusters if known else None,
        arms_used,
        seeds_used,
        len(arms_used) * len(seeds_used),
        assumed,
        "" if known else "the finished cells do not scatter",
        bool(looks),
    )


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

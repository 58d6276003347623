"""The sentences of ``plan`` and ``run`` on what a study can decide."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_bench.reporting.decidable.decidable import Decidable, ranked_arms
from fusion_bench.reporting.tables.formatting import join_words, plural, unsigned_points
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.document.sections import DEFAULT_SEEDS
from fusion_bench.spec.study import Study
from fusion_bench.statistics.comparison import FEWEST_SEEDS


def few_seeds(study: Study, arms: Sequence[Arm]) -> str:
    """Return what a study with fewer seeds than the default gives up; empty for another, and without comparisons."""
    count = study.fewest_seeds
    if count >= DEFAULT_SEEDS or not ranked_arms(arms):
        return ""
    change = f"--set seeds={DEFAULT_SEEDS} trains {DEFAULT_SEEDS} and keeps the finished cells"
    if count < FEWEST_SEEDS:
        return (
            f"{plural(count, 'seed')}: no verdicts, for which every arm needs {FEWEST_SEEDS} seeds; {change}"
        )
    default = f"fewer than the default of {DEFAULT_SEEDS},"
    return f"{plural(count, 'seed')}, {default} can show large differences only; {change}"


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
        at = "looks at" if found.at_looks else "with"
        shown, rest = f"{_points(found.difference)} points", f"; {at} {seeds} seeds: {others} points"
    bracket = f" ({', '.join(base)})" if base else ""
    of = "a comparison of the last look" if found.at_looks else "a comparison"
    first = f"with 80 % probability, {of} finds a true difference of {shown}{bracket}{rest}"
    return [first, _basis(found, cluster)]


def _basis(found: Decidable, cluster: str) -> str:
    if found.assumed is None:
        seeds, arms = join_words([str(seed) for seed in found.from_seeds]), join_words([*found.arms])
        return f"estimated from {plural(found.finished_cells, 'finished cell')}: seeds {seeds} of {arms}"
    trainings = (
        "assumed until two arms have two finished seeds: the trainings of an arm scatter by "
        f"{unsigned_points(found.assumed.seed_sd)} points, which holds for arms "
        "that converge (arms that still learn scatter several times as much)"
    )
    if found.clusters is None:
        return f"{trainings}; the number of {cluster}s is not known here, and their part is left out"
    return (
        f"{trainings}, the difference of two arms by {unsigned_points(found.assumed.cluster_sd)} points between "
        f"{cluster}s, and independent answers are right in {100 * found.assumed.accuracy:.0f} %"
    )


def _points(difference: float) -> str:
    return unsigned_points(difference) if difference <= 1 else "over 100"

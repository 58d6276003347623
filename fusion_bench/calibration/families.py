"""The families of tests of a report, applied to studies that are drawn as sums.

The formulas are those of `fusion_bench.statistics` themselves, in the order in which it applies them to one study:
`fusion_bench.statistics.comparison.compare`, `fusion_bench.statistics.controls.against_controls` and
`fusion_bench.statistics.tie_groups.tie_groups`. The tests compare both, and cases that are drawn as whole tables pass
through `compare`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fusion_bench.calibration.sums import Pairs, Sums, draw_sums
from fusion_bench.statistics.comparison import holm
from fusion_bench.statistics.controls import LEAD_ALPHA
from fusion_bench.statistics.crossed import estimate_of
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.rates import Rates, Shown, Truth, rates_of
from fusion_bench.statistics.seeds.moderation import centred_variances
from fusion_bench.statistics.simulation import StudyShape

FAR_BEHIND = 30.0
"""Points by which all controls but the best are behind it: then the best alone decides, the case with most errors."""

_AT_ONCE = 500  # studies; bounds the memory


def verdict_rates(
    shape: StudyShape, effects: FloatArray, studies: int, generator: np.random.Generator
) -> Rates:
    """Return how often the comparisons with the reference are right, in studies where every arm has the same seeds.

    Args:
        shape: the shape of the studies.
        effects: ``[A - 1]``, the true difference of each arm from the reference.
        studies: the number of studies.
        generator: the source of chance.
    """
    pairs = pairs_with_reference(shape.arms)
    truth = np.concatenate([[0.0], effects])
    return _rates(shape, truth, pairs, Truth(effects, effects == 0), verdicts_shown, studies, generator)


def control_rates(shape: StudyShape, effect: float, studies: int, generator: np.random.Generator) -> Rates:
    """Return how often leads over the controls are right.

    A test must not reject where an arm is not better than the best control.

    Args:
        shape: the shape of the studies, with at least one control.
        effect: the true lead of every arm over the best control, in points; the others are `FAR_BEHIND` it.
        studies: the number of studies.
        generator: the source of chance.
    """
    pairs = pairs_with_controls(shape.arms, shape.controls)
    behind = np.where(np.arange(shape.controls) == 0, 0.0, FAR_BEHIND)
    truth = np.concatenate([np.zeros(shape.arms), -effect - behind])
    expected = Truth(pairs.differences(truth[:, None])[:, 0], np.full(shape.arms, effect <= 0), LEAD_ALPHA)
    return _rates(shape, truth, pairs, expected, leads_shown, studies, generator)


def tie_rates(shape: StudyShape, effect: float, studies: int, generator: np.random.Generator) -> Rates:
    """Return how often pairs of arms get no letter in common, over all pairs.

    Args:
        shape: the shape of the studies.
        effect: the true difference of the first arm from all others, in points.
        studies: the number of studies.
        generator: the source of chance.
    """
    pairs = all_pairs(shape.arms)
    truth = np.where(np.arange(shape.arms) == 0, 0.0, effect)
    null = pairs.differences(truth[:, None])[:, 0] == 0
    return _rates(shape, truth, pairs, Truth(np.empty(0), null), ties_shown, studies, generator)


def pairs_with_reference(arms: int) -> Pairs:
    """Return the pairs of each arm with the first one."""
    return Pairs(np.arange(1, arms), np.zeros(arms - 1, dtype=np.intp))


def pairs_with_controls(arms: int, controls: int) -> Pairs:
    """Return the pairs of each arm with each control, arm by arm; controls follow the arms."""
    arm, control = np.indices((arms, controls))
    return Pairs(arm.ravel(), arms + control.ravel())


def all_pairs(arms: int) -> Pairs:
    """Return the pairs of all arms."""
    return Pairs(*np.triu_indices(arms, 1))


def verdicts_shown(sums: Sums, pairs: Pairs) -> Shown:
    """Return what the comparisons with the reference say."""
    variance, degrees = (found[:, pairs.first] for found in centred_variances(sums.metric).pairs(0))
    squares = sums.mean_squares(pairs, variance)
    estimate = estimate_of(squares, sums.metric.shape[-1], sums.clusters, degrees)
    p = estimate.p_value()
    return Shown(*estimate.interval(), p, holm(p))


def leads_shown(sums: Sums, pairs: Pairs) -> Shown:
    """Return what the leads over the controls say: intervals of each pair, and one test of each arm."""
    arms = int(pairs.second.min())
    compared, controls = sums.metric[:, :arms], sums.metric[:, arms:]
    variances = centred_variances(compared)
    spread = (controls - compared.mean(1, keepdims=True)).var(-1, ddof=1)
    found = [variances.from_outside(spread[:, number]) for number in range(controls.shape[1])]
    variance, degrees = (
        np.stack(part, axis=-1).reshape(len(spread), -1) for part in zip(*found, strict=True)
    )
    squares = sums.mean_squares(pairs, variance)
    estimate = estimate_of(squares, sums.metric.shape[-1], sums.clusters, degrees)
    p = estimate.p_not_above().reshape(len(spread), arms, -1).max(-1)
    return Shown(*estimate.interval(), p, holm(p))


def ties_shown(sums: Sums, pairs: Pairs) -> Shown:
    """Return what tie groups say, without intervals: a pair has the larger p-value of either arm as the reference."""
    metric, variances = sums.metric, centred_variances(sums.metric)
    of_reference = [variances.pairs(reference) for reference in range(metric.shape[1])]
    variance, degrees = (
        np.stack(part, axis=1) for part in zip(*of_reference, strict=True)
    )  # [K, reference, A]
    p = np.maximum(
        *(
            estimate_of(
                sums.mean_squares(pairs, variance[:, reference, arm]),
                metric.shape[-1],
                sums.clusters,
                degrees[:, reference, arm],
            ).p_value()
            for arm, reference in ((pairs.first, pairs.second), (pairs.second, pairs.first))
        )
    )
    none = np.empty((len(metric), 0))
    return Shown(none, none, p, holm(p))


def _rates(
    shape: StudyShape,
    truth: FloatArray,
    pairs: Pairs,
    expected: Truth,
    say: Callable[[Sums, Pairs], Shown],
    studies: int,
    generator: np.random.Generator,
) -> Rates:
    shown = [
        say(draw_sums(shape, truth, pairs, count, generator), pairs) for count in _parts(studies, _AT_ONCE)
    ]
    return rates_of(shown, expected)


def _parts(total: int, most: int) -> Iterator[int]:
    """Yield numbers of at most ``most`` that sum to ``total``."""
    for start in range(0, total, most):
        yield min(most, total - start)

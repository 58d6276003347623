r"""Cautious moderated seed variances: the scatter of all arms tells about the scatter of each.

With few seeds an arm's own variance over seeds is nearly unknown, and a test whose variance is small by luck takes it
as known. The variances of all arms together are known much better. Smyth (*Statistical Applications in Genetics and
Molecular Biology* 3(1), 2004) takes the arms' variances as draws from a prior with ``d0`` degrees of freedom around
``s0^2``, both estimated from the log variances, and gives each arm the weighted mean ``(d0 s0^2 + f u) / (d0 + f)``
on ``d0 + f`` degrees of freedom. Four changes make this cautious:

* the excess of the log variances over their sampling variance is estimated with its standard error added, so that
  few arms cannot prove that variances are alike; and ``d0`` is at most ``(A - 2) f``, what the other arms know;
* ``s0^2`` is the geometric mean of the variances, each log corrected for its bias on ``f`` degrees. Smyth's estimate
  is lower where variances differ. The mean of the variances is higher: a few arms that are still learning determine
  it, and then it hides what the other arms show;
* an arm whose own variance ``u`` is above the weighted mean ``w`` keeps it, and the weight of the prior falls: its
  degrees are ``f + d0 (w / u)^2``;
* seeds are paired by centring each by the mean of its arms, which takes a part of the variance of an arm that
  scatters more than the others. Such an arm keeps the estimate that is unbiased for unequal variances (Russell and
  Bradley, *Biometrika* 45, 1958), ``u + (u - mean) / (A - 2)``; it matters with few arms.

**Seeds that only one side has** are not paired. There an arm above the weighted mean counts on ``f`` degrees at once,
and the prior is ``s0^2`` to the power ``1 - 1/f`` times the mean variance to the power ``1/f``: with three seeds, the
degrees of Welch's test rise where a large variance is small by luck, and ``s0^2`` alone would leave 7 % of studies of
27 arms, a third of them still learning, with a false verdict.

**The reference** of a family takes part in every comparison. If it scatters more than the others and the prior makes
its variance small, all comparisons of a study are wrong together, and the tail of the p-values is heavy. So the
reference is not treated as the other arms. Its prior is 4/3 of the geometric mean of ``s0^2`` and the mean of the
variances, on at most ``f`` degrees, and its moderated variance counts on its own ``f`` degrees. So the tail stays
within 1.3 times the nominal share: the factor was chosen for a reference with 4 times the variance of 5 or 26 other
arms, the mean for a reference that has, as a third of the arms, 100 times the variance of the rest.
``reports/calibration/calibration.md`` holds the tails, and ``tests/fusion_bench/calibration/test_cases.py`` shows
that a reference treated as the other arms breaks the bound.

The assumption is that seed effects are additive and near normal; they are independent between arms except for an
effect that all arms share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from fusion_bench.statistics.estimate import FloatArray

_ROUNDING = 1e-12  # standard deviations below this share of the largest mean are rounding, not spread
_REFERENCE_FACTOR = 4 / 3
_SMALLEST = 1e-5  # of the median variance, inside the logarithm only: a variance of zero has no logarithm


@dataclass(frozen=True, eq=False)
class SeedVariances:
    """The variances over seeds of ``A`` arms that have finished the same ``S`` seeds, of one study or of many.

    Attributes:
        own: ``[..., A]``, each arm's own variance, on ``own_degrees``.
        kept: ``[..., A]``, ``own``, or an estimate above it where centring took a part of the variance.
        moderated: ``[..., A]``, never below ``kept``.
        degrees: ``[..., A]``, the degrees of freedom of ``moderated``.
        own_degrees: ``S - 1``.
        prior_degrees: ``[...]``, ``d0``; 0 where the arms tell nothing about each other (two arms).
        prior_variance: ``[...]``, ``s0^2``; the mean variance where the arms tell nothing about each other.
    """

    own: FloatArray
    kept: FloatArray
    moderated: FloatArray
    degrees: FloatArray
    own_degrees: int
    prior_degrees: FloatArray
    prior_variance: FloatArray

    def reference_variance(self, reference: int) -> FloatArray:
        """Return ``[...]``, the variance of the arm of this index as a reference, on `own_degrees`."""
        own, f = self.own[..., reference], self.own_degrees
        prior = np.minimum(self.prior_degrees, f)
        centre = _REFERENCE_FACTOR * np.sqrt(self.prior_variance * self.own.mean(-1))
        weighted = (prior * centre + f * own) / (prior + f)
        return np.asarray(np.maximum(self.kept[..., reference], weighted))

    def pairs(self, reference: int) -> tuple[FloatArray, FloatArray]:
        """Return the variance over seeds of each arm's difference from the reference, and its degrees of freedom.

        Satterthwaite's, with the covariance of two variances that were both centred by the mean of all arms.

        Args:
            reference: the index of the arm with which all arms of the family are compared.

        Returns:
            Two arrays ``[..., A]``; the entry of the reference itself has no meaning.
        """
        u, f = self.moderated, self.degrees
        v, g = self.reference_variance(reference)[..., None], self.own_degrees
        others = max(1, self.own.shape[-1] - 1)
        spread = u**2 / f + v**2 / g + 2 * u * v / (others**2 * np.sqrt(f * g))
        shared = np.divide((u + v) ** 2, spread, out=np.full_like(u, g), where=spread > 0)
        return u + v, np.minimum(shared, others * g)

    def contrast(self, coefficients: FloatArray) -> tuple[float, float]:
        """Return the variance over seeds of a contrast of arms, and its degrees of freedom, of one study.

        ``sum_a c_a^2 u_a`` on Satterthwaite's degrees, with the covariance of two variances that were both centred by
        the mean of all arms. With 1 and -1 this is a difference of two arms of which neither is the reference.

        Args:
            coefficients: ``[A]``, ``c_a``, zero for an arm outside the contrast.
        """
        parts = coefficients**2 * self.moderated
        scaled = parts / np.sqrt(self.degrees)
        others = max(1, self.own.shape[-1] - 1)
        between = (scaled.sum() ** 2 - (scaled**2).sum()) / others**2
        spread = (scaled**2).sum() + between
        degrees = parts.sum() ** 2 / spread if spread > 0 else self.own_degrees
        return float(parts.sum()), float(min(degrees, others * self.own_degrees))

    def from_outside(self, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the variance over seeds of each arm's difference from an arm outside, and its degrees of freedom.

        Args:
            variance: ``[...]``, the variance of the arm outside, on `own_degrees`.

        Returns:
            Two arrays ``[..., A]``; the degrees are Satterthwaite's.
        """
        u, v = self.moderated, np.asarray(variance)[..., None]
        spread = u**2 / self.degrees + v**2 / self.own_degrees
        degrees = np.divide(
            (u + v) ** 2, spread, out=np.full_like(u, float(self.own_degrees)), where=spread > 0
        )
        return u + v, degrees


def centred_variances(means: FloatArray) -> SeedVariances:
    """Return the moderated variances of arms that are compared seed by seed.

    Args:
        means: ``[..., A, S]``, per-seed means of at least two arms on at least two seeds that all have finished. An
            effect of a seed on all arms is removed: it cancels in every paired difference.
    """
    arms, seeds = means.shape[-2:]
    by_seed, by_arm = means.mean(-2, keepdims=True), means.mean(-1, keepdims=True)
    rest = means - by_seed - by_arm + means.mean((-2, -1), keepdims=True)
    own = _without_rounding(arms / (arms - 1) * (rest**2).sum(-1) / (seeds - 1), means)
    return _moderated(own, seeds - 1, paired=True)


def plain_variances(means: FloatArray) -> SeedVariances:
    """Return the moderated variances of arms whose partner has other seeds, so that no seed effect cancels.

    The prior is a weighted geometric mean of ``s0^2`` and the mean variance, ``1 / f`` the weight of the latter.

    Args:
        means: ``[..., A, S]``, per-seed means of at least one arm.
    """
    own = _without_rounding(means.var(-1, ddof=1), means)
    return _moderated(own, means.shape[-1] - 1, paired=False)


def _without_rounding(own: FloatArray, means: FloatArray) -> FloatArray:
    """Return the variances with zero for those that only the rounding of the means makes."""
    return np.where(own <= (_ROUNDING * np.abs(means).max((-2, -1)))[..., None] ** 2, 0.0, own)


def _moderated(own: FloatArray, degrees: int, *, paired: bool) -> SeedVariances:
    """Return the moderated variances of arms whose seeds are paired, and so centred, or not."""
    others, mean = max(0, own.shape[-1] - 2), own.mean(-1)
    prior_degrees, prior_variance = _prior(own, degrees)
    if paired:
        kept = own + np.maximum(own - mean[..., None], 0.0) / max(1, others)
    else:
        kept, prior_variance = own, prior_variance ** (1 - 1 / degrees) * mean ** (1 / degrees)
    prior = np.minimum(prior_degrees, others * degrees)
    weight, centre = prior[..., None], prior_variance[..., None]
    weighted = (weight * centre + degrees * own) / (weight + degrees)
    moderated = np.maximum(kept, weighted)
    ratio = np.divide(weighted, moderated, out=np.ones_like(own), where=moderated > 0)
    share = ratio**2 if paired else ratio >= 1
    return SeedVariances(own, kept, moderated, degrees + weight * share, degrees, prior, prior_variance)


def _prior(own: FloatArray, degrees: int) -> tuple[FloatArray, FloatArray]:
    """Return ``d0`` before its upper limit and ``s0^2``, both ``[...]``.

    ``d0`` is infinite where the variances are shown to be alike. A variance of zero, which arms at the ceiling have,
    tells that variances differ and nothing about their size: it has no part in ``s0^2``.
    """
    arms = own.shape[-1]
    if arms < 3:
        return np.zeros(own.shape[:-1]), own.mean(-1)
    median, positive = np.median(own, axis=-1), own > 0
    scatters = positive.any(-1)
    smallest = np.where(positive, own, np.inf).min(-1)
    least = _SMALLEST * np.where(median > 0, median, np.where(scatters, smallest, 1.0))
    mean, sampling, error = _log_moments(arms, degrees)
    logs = np.log(np.maximum(own, least[..., None])) - mean
    excess = logs.var(-1, ddof=1) - sampling + error
    prior = np.where(excess > 0, 2 * _inverse_trigamma(np.where(excess > 0, excess, 1.0)), np.inf)
    centre = np.exp(np.where(positive, logs, 0.0).sum(-1) / np.maximum(1, positive.sum(-1)))
    return np.where(scatters, prior, 0.0), np.where(scatters, centre, 0.0)


@cache
def _log_moments(arms: int, degrees: int) -> tuple[float, float, float]:
    """Return mean and variance of the log of a variance on ``degrees``, and the error of the latter over arms."""
    half = degrees / 2
    mean = float(special.psi(half) - np.log(half))
    variance, fourth = float(special.polygamma(1, half)), float(special.polygamma(3, half))
    error = (fourth + 3 * variance**2 - variance**2 * (arms - 3) / (arms - 1)) / arms
    return mean, variance, float(np.sqrt(error))


def _inverse_trigamma(values: FloatArray) -> FloatArray:
    """Return the ``y`` with ``trigamma(y) = value``, by Newton's method on the reciprocal (Smyth's appendix)."""
    found = np.asarray(0.5 + 1 / values)
    for _ in range(50):
        now = special.polygamma(1, found)
        step = now * (1 - now / values) / special.polygamma(2, found)
        found = found + step
        if (-step < 1e-10 * found).all():
            break
    found = np.where(values > 1e7, values**-0.5, found)
    return np.asarray(np.where(values < 1e-6, 1 / values, found))

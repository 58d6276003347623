r"""Cautious moderated seed variances: the scatter of all arms tells about the scatter of each.

With few seeds an arm's own variance over seeds is nearly unknown, and a test whose variance is small by luck takes it
as known. The variances of all arms together are known much better. Smyth (*Statistical Applications in Genetics and
Molecular Biology* 3(1), 2004) takes the arms' variances as draws from a prior with ``d0`` degrees of freedom around
``s0^2``, both estimated from the log variances, and gives each arm the weighted mean ``(d0 s0^2 + f u) / (d0 + f)``
on ``d0 + f`` degrees of freedom. Three changes make this cautious:

* the excess of the log variances over their sampling variance is estimated with its standard error added, so that
  few arms cannot prove that variances are alike; and ``d0`` is at most ``(A - 2) f``, what the other arms know;
* ``s0^2`` is the mean of the variances and not the mean of their logs, which is lower when variances differ;
* an arm whose own variance ``u`` is above the weighted mean ``w`` keeps it, and the weight of the prior falls: its
  degrees are ``f + d0 (w / u)^2``. (Where seeds are not paired, they are ``f`` at once.)

**The reference** of a family takes part in every comparison. If it scatters more than the others and the prior makes
its variance small, all comparisons of a study are wrong together, and the tail of the p-values is heavy. So the
reference is not treated as the other arms: its prior is ``4/3 s0^2`` on at most ``f`` degrees, and its moderated
variance counts on its own ``f`` degrees. The factor is chosen so that the tail stays within 1.3 times the nominal
share where the reference has 4 times the variance of 5 or 26 other arms. ``reports/calibration/calibration.md``
holds the tails, and ``tests/fusion_bench/calibration/test_cases.py`` shows that a reference treated as the other arms
breaks the bound.

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
        moderated: ``[..., A]``, never below ``own``.
        degrees: ``[..., A]``, the degrees of freedom of ``moderated``.
        own_degrees: ``S - 1``.
        prior_degrees: ``[...]``, ``d0``; 0 where the arms tell nothing about each other (two arms).
        prior_variance: ``[...]``, ``s0^2``.
    """

    own: FloatArray
    moderated: FloatArray
    degrees: FloatArray
    own_degrees: int
    prior_degrees: FloatArray
    prior_variance: FloatArray

    def reference_variance(self, reference: int) -> FloatArray:
        """Return ``[...]``, the variance of the arm of this index as a reference, on `own_degrees`."""
        own, f = self.own[..., reference], self.own_degrees
        prior = np.minimum(self.prior_degrees, f)
        weighted = (prior * _REFERENCE_FACTOR * self.prior_variance + f * own) / (prior + f)
        return np.asarray(np.maximum(own, weighted))

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
    return _moderated(own, seeds - 1, fading=True)


def plain_variances(means: FloatArray) -> SeedVariances:
    """Return the moderated variances of arms whose partner has other seeds, so that no seed effect cancels.

    Args:
        means: ``[..., A, S]``, per-seed means of at least one arm.
    """
    return _moderated(_without_rounding(means.var(-1, ddof=1), means), means.shape[-1] - 1, fading=False)


def _without_rounding(own: FloatArray, means: FloatArray) -> FloatArray:
    """Return the variances with zero for those that only the rounding of the means makes."""
    return np.where(own <= (_ROUNDING * np.abs(means).max((-2, -1)))[..., None] ** 2, 0.0, own)


def _moderated(own: FloatArray, degrees: int, *, fading: bool) -> SeedVariances:
    """Return the moderated variances; without ``fading``, an arm above the weighted mean has ``f`` degrees alone."""
    prior_variance = own.mean(-1)
    prior = np.minimum(_prior_degrees(own, degrees), max(0, own.shape[-1] - 2) * degrees)
    weight, centre = prior[..., None], prior_variance[..., None]
    weighted = (weight * centre + degrees * own) / (weight + degrees)
    moderated = np.maximum(own, weighted)
    ratio = np.divide(weighted, moderated, out=np.ones_like(own), where=moderated > 0)
    share = ratio**2 if fading else ratio >= 1
    return SeedVariances(own, moderated, degrees + weight * share, degrees, prior, prior_variance)


def _prior_degrees(own: FloatArray, degrees: int) -> FloatArray:
    """Return ``[...]``, ``d0`` before its upper limit; infinite where the variances are shown to be alike."""
    arms = own.shape[-1]
    if arms < 3:
        return np.zeros(own.shape[:-1])
    median, scatters = np.median(own, axis=-1), (own > 0).any(-1)
    smallest = np.where(own > 0, own, np.inf).min(-1)
    least = _SMALLEST * np.where(median > 0, median, np.where(scatters, smallest, 1.0))
    mean, sampling, error = _log_moments(arms, degrees)
    logs = np.log(np.maximum(own, least[..., None])) - mean
    excess = logs.var(-1, ddof=1) - sampling + error
    prior = np.where(excess > 0, 2 * _inverse_trigamma(np.where(excess > 0, excess, 1.0)), np.inf)
    return np.where(scatters, prior, 0.0)


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

r"""Cautious moderated seed variances: the arms of a study inform each other about the scatter between trainings.

With few seeds an arm's own variance over seeds is nearly unknown: where it is small by luck, a test on it believes
that it is known to be small. The variances of all arms together are known much better. Smyth (*Statistical
Applications in Genetics and Molecular Biology* 3(1), 2004) takes the arms' variances as draws from a prior with
``d0`` degrees of freedom around ``s0^2``, both estimated from the log variances, and gives each arm the weighted mean
``(d0 s0^2 + f u) / (d0 + f)`` on ``d0 + f`` degrees of freedom. Three changes make this cautious:

* the excess of the log variances over their sampling variance is estimated with its standard error added, so that
  few arms cannot prove that variances are alike; and ``d0`` is at most ``(A - 2) f``, what the other arms know;
* ``s0^2`` is the mean of the variances and not the mean of their logs, which is lower when variances differ;
* an arm whose own variance ``u`` is above the weighted mean ``w`` keeps it; what the others know about it fades, so
  that its degrees are ``f + d0 (w / u)^2``. (Where seeds are not paired, they are ``f`` at once.)

**The hub** of a family, the reference, takes part in every comparison. If it scatters more than the others and they
lend it a small variance, all comparisons of a study are wrong together, and the tail of the p-values is up to 2.2 times
too heavy. So it is not an arm as the others: its prior is ``4/3 s0^2`` on at most ``f`` degrees, and what comes out
counts on its own ``f`` degrees. The factor is the smallest one that holds the tail at 1.3 times the nominal share where
the reference has 4 times the variance of 5 or 26 other arms; together with the fading degrees it costs no power.

The assumption is that seed effects are additive and near normal; they are independent between arms except for an
effect that all arms share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from fusion_bench.statistics.estimate import FloatArray

_ROUNDING = 1e-12  # standard deviations below this share of the largest mean are rounding, not spread
_HUB_FACTOR = 4 / 3
_SMALLEST = 1e-5  # of the median variance, inside the logarithm only: a variance of zero has no logarithm


@dataclass(frozen=True, eq=False)
class SeedVariances:
    """The variances over seeds of ``A`` arms that have finished the same ``S`` seeds.

    Attributes:
        own: ``[A]``, each arm's own variance, on ``own_degrees``.
        moderated: ``[A]``, never below ``own``.
        degrees: ``[A]``, the degrees of freedom of ``moderated``.
        own_degrees: ``S - 1``.
        prior_degrees: ``d0``; 0 where the arms tell nothing about each other (two arms).
        prior_variance: ``s0^2``.
    """

    own: FloatArray
    moderated: FloatArray
    degrees: FloatArray
    own_degrees: int
    prior_degrees: float
    prior_variance: float

    def hub_variance(self, arm: int) -> float:
        """Return the variance of an arm that all comparisons of a family share; it counts on `own_degrees`."""
        prior, f = min(self.prior_degrees, self.own_degrees), self.own_degrees
        weighted = (prior * _HUB_FACTOR * self.prior_variance + f * self.own[arm]) / (prior + f)
        return float(max(self.own[arm], weighted))

    def pair(self, arm: int, hub: int) -> tuple[float, float]:
        """Return the variance over seeds of the difference of two arms, and its degrees of freedom.

        Satterthwaite's, with the covariance of two variances that were both centred by the mean of all arms.

        Args:
            arm: the index of one arm.
            hub: the index of the arm with which all arms of the family are compared.
        """
        u, v = self.moderated[arm], self.hub_variance(hub)
        if u + v == 0:
            return 0.0, float(self.own_degrees)
        f, g = self.degrees[arm], self.own_degrees
        others = len(self.own) - 1
        spread = u**2 / f + v**2 / g + 2 * u * v / (others**2 * np.sqrt(f * g))
        return float(u + v), float(min((u + v) ** 2 / spread, others * self.own_degrees))

    def typical(self) -> SeedVariances:
        """Return the same arms, each with the prior's variance: what is expected of a new study of this kind."""
        alike = np.full_like(self.own, self.prior_variance)
        degrees = np.full_like(self.own, self.own_degrees + self.prior_degrees)
        return replace(self, own=alike, moderated=alike, degrees=degrees)


def centred_variances(means: FloatArray) -> SeedVariances:
    """Return the moderated variances of arms that are compared seed by seed.

    Args:
        means: ``[A, S]``, per-seed means of at least two arms on at least two seeds that all have finished. An effect
            of a seed on all arms is removed: it cancels in every paired difference.
    """
    arms, seeds = means.shape
    rest = means - means.mean(0) - means.mean(1, keepdims=True) + means.mean()
    own = _without_rounding(arms / (arms - 1) * (rest**2).sum(1) / (seeds - 1), means)
    return _moderated(own, seeds - 1, fading=True)


def plain_variances(means: FloatArray) -> SeedVariances:
    """Return the moderated variances of arms whose partner has other seeds, so that no seed effect cancels.

    Args:
        means: ``[A, S]``, per-seed means of at least one arm.
    """
    return _moderated(_without_rounding(means.var(1, ddof=1), means), means.shape[1] - 1, fading=False)


def _without_rounding(own: FloatArray, means: FloatArray) -> FloatArray:
    """Return the variances with zero for those that only the rounding of the means makes."""
    return np.where(own <= (_ROUNDING * np.abs(means).max()) ** 2, 0.0, own)


def _moderated(own: FloatArray, degrees: int, *, fading: bool) -> SeedVariances:
    """Return the moderated variances; without ``fading``, an arm above the weighted mean has its own degrees alone."""
    prior_variance = float(own.mean())
    prior = min(_prior_degrees(own, degrees), max(0, len(own) - 2) * degrees)
    weighted = (prior * prior_variance + degrees * own) / (prior + degrees)
    moderated = np.maximum(own, weighted)
    ratio = np.divide(weighted, moderated, out=np.ones_like(own), where=moderated > 0)
    known = ratio**2 if fading else ratio >= 1
    return SeedVariances(
        own,
        moderated,
        degrees + prior * known,
        degrees,
        float(prior),
        prior_variance,
    )


def _prior_degrees(own: FloatArray, degrees: int) -> float:
    """Return ``d0`` before its upper limit; infinite where the variances are shown to be alike."""
    arms = len(own)
    if arms < 3 or not (own > 0).any():
        return 0.0
    median = np.median(own)
    least = _SMALLEST * (median if median > 0 else own[own > 0].min())
    half = degrees / 2
    logs = np.log(np.maximum(own, least)) - special.psi(half) + np.log(half)
    sampling, fourth = special.polygamma(1, half), special.polygamma(3, half)
    error = np.sqrt((fourth + 3 * sampling**2 - sampling**2 * (arms - 3) / (arms - 1)) / arms)
    excess = float(logs.var(ddof=1) - sampling + error)
    return 2 * _inverse_trigamma(excess) if excess > 0 else float("inf")


def _inverse_trigamma(value: float) -> float:
    """Return the ``y`` with ``trigamma(y) = value``, by Newton's method on the reciprocal (Smyth's appendix)."""
    if value > 1e7:
        return float(value**-0.5)
    if value < 1e-6:
        return 1 / value
    found = 0.5 + 1 / value
    for _ in range(50):
        now = special.polygamma(1, found)
        step = now * (1 - now / value) / special.polygamma(2, found)
        found += step
        if -step < 1e-10 * found:
            break
    return float(found)

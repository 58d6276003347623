"""Moderated variances, compared with the formulas written out with other tools, and their edge cases."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, stats
from statsmodels.formula.api import ols

from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.seeds.moderation import centred_variances, plain_variances


def means(arms: int, seeds: int, spread: float = 0.0, number: int = 0) -> FloatArray:
    """Per-seed means whose scatter differs by arm: its log variance has the standard deviation ``spread``."""
    generator = np.random.default_rng([arms, seeds, number])
    scale = np.exp(spread * generator.normal(size=(arms, 1)) / 2)
    return (
        generator.normal(size=(arms, 1))
        + generator.normal(size=seeds)
        + scale * generator.normal(size=(arms, seeds))
    )


def log_chi_square_moment(degrees: int, order: int) -> float:
    """A central moment of the log of a chi-square variable over its degrees, by integration."""

    def expectation(of) -> float:  # type: ignore[no-untyped-def]
        density = stats.chi2(degrees).pdf
        return integrate.quad(
            lambda log: of(log) * density(math.exp(log)) * math.exp(log), -60, 8, limit=400
        )[0]

    centre = expectation(lambda log: log)
    if order == 1:
        return centre - math.log(degrees)
    return expectation(lambda log: (log - centre) ** order)


def by_hand(own: FloatArray, degrees: int) -> tuple[float, float]:
    """``d0`` and ``s0^2`` from moments found by integration and a root found by bisection."""
    arms = len(own)
    second, fourth = (log_chi_square_moment(degrees, order) for order in (2, 4))
    logs = np.log(own) - log_chi_square_moment(degrees, 1)
    # The variance of a sample variance: (mu4 - sigma^4 (n - 3) / (n - 1)) / n.
    error = math.sqrt((fourth - second**2 * (arms - 3) / (arms - 1)) / arms)
    excess = float(np.var(logs, ddof=1)) - second + error
    most = (arms - 2) * degrees
    centre = math.exp(logs.mean())
    if excess <= 0:
        return most, centre
    # trigamma(d0 / 2) is the variance of the log of a chi-square variable with d0 degrees.
    root = optimize.brentq(
        lambda log: float(pd.Series([math.exp(log)]).map(_trigamma).iloc[0]) - excess, -20, 20
    )
    return min(2 * math.exp(root), most), centre


def _trigamma(value: float) -> float:
    """The series sum 1 / (value + n)^2, its tail by Euler and Maclaurin."""
    terms = np.arange(200)
    end = value + 200
    return float((1 / (value + terms) ** 2).sum() + 1 / end + 1 / (2 * end**2) + 1 / (6 * end**3))


@pytest.mark.parametrize(
    ("arms", "seeds", "spread"), [(3, 3, 0.0), (6, 3, 1.0), (27, 3, 1.4), (27, 5, 3.0), (12, 10, 0.7)]
)
def test_prior_and_moderated_variances_follow_from_moments_found_by_integration(
    arms: int, seeds: int, spread: float
) -> None:
    found = centred_variances(means(arms, seeds, spread))
    degrees = seeds - 1
    prior, centre = by_hand(found.own, degrees)
    assert found.prior_degrees == pytest.approx(prior, rel=1e-5)
    assert found.prior_variance == pytest.approx(centre, rel=1e-5)
    total = found.own.sum()
    for own, moderated, its_degrees in zip(found.own, found.moderated, found.degrees, strict=True):
        weighted = (prior * centre + degrees * own) / (prior + degrees)
        # Russell and Bradley's estimate: (A (A - 1) S_a - sum S) / ((A - 1) (A - 2)), S_a the mean square of an arm
        unbiased = ((arms - 1) ** 2 * own - total * (arms - 1) / arms) / ((arms - 1) * (arms - 2))
        kept = max(own, unbiased)
        fading = (weighted / kept) ** 2 if kept > weighted else 1.0
        expected = (max(kept, weighted), degrees + prior * fading)
        assert (moderated, its_degrees) == pytest.approx(expected, rel=1e-5)


def test_own_variances_are_those_of_the_residuals_of_a_two_way_fit() -> None:
    table = means(5, 4)
    long = pd.DataFrame(
        {"arm": np.repeat(range(5), 4), "seed": np.tile(range(4), 5), "value": table.reshape(-1)}
    )
    residuals = ols("value ~ C(arm) + C(seed)", long).fit().resid.to_numpy().reshape(5, 4)
    assert centred_variances(table).own == pytest.approx(5 / 4 * (residuals**2).sum(1) / 3)
    assert plain_variances(table).own == pytest.approx([stats.tvar(row) for row in table])


def test_own_variances_are_unbiased_and_no_seed_of_all_arms_moves_them() -> None:
    drawn = np.mean([centred_variances(means(4, 3, number=number)).own for number in range(3000)], axis=0)
    assert drawn == pytest.approx(1.0, abs=0.08)
    table = means(4, 3)
    assert centred_variances(table + np.array([5.0, -3.0, 1.0])).own == pytest.approx(
        centred_variances(table).own
    )


def test_an_arm_that_scatters_more_keeps_an_unbiased_variance() -> None:
    """Of three arms with the variances 1, 1 and 100, centring gives a third of the last to the others."""
    generator = np.random.default_rng(3)
    drawn = centred_variances(generator.normal(size=(4000, 3, 5)) * np.array([1.0, 1.0, 10.0])[:, None])
    assert drawn.own.mean(0) == pytest.approx([3 / 2 * (5 + 100) / 9, 3 / 2 * (5 + 100) / 9, 67.0], rel=0.05)
    assert drawn.kept.mean(0)[2] == pytest.approx(100.0, rel=0.05)
    equal = plain_variances(generator.normal(size=(3, 5)))
    assert (equal.kept == equal.own).all(), "nothing is centred where seeds are not paired"


def test_nobody_goes_below_the_own_variance_and_limits_hold() -> None:
    for number in range(200):
        found = centred_variances(means(9, 3, 2.0, number))
        assert (found.moderated >= found.kept).all() and (found.kept >= found.own).all()
        assert 0 <= found.prior_degrees <= 14
        assert (found.degrees >= 2).all() and (found.degrees <= 2 + found.prior_degrees).all()
        variance, degrees = (values[0] for values in found.pairs(1))
        assert variance == pytest.approx(found.moderated[0] + found.reference_variance(1))
        assert found.reference_variance(1) >= found.own[1]
        assert 0 < degrees <= 16


def test_the_prior_weighs_little_for_a_reference_which_counts_on_its_own_degrees() -> None:
    found = centred_variances(means(27, 3))
    assert found.prior_degrees > 2
    calm, wild = int(found.own.argmin()), int(found.own.argmax())
    centre = math.sqrt(found.prior_variance * found.own.mean())
    assert found.reference_variance(calm) == pytest.approx((4 / 3 * centre + found.own[calm]) / 2)
    assert found.reference_variance(wild) == found.kept[wild] > found.own[wild]
    u, v, f = found.moderated[5], found.reference_variance(calm), found.degrees[5]
    degrees = (u + v) ** 2 / (u**2 / f + v**2 / 2 + 2 * u * v / (26**2 * np.sqrt(2 * f)))
    assert tuple(values[5] for values in found.pairs(calm)) == pytest.approx((u + v, degrees))


def test_two_arms_tell_nothing_about_each_other() -> None:
    table = means(2, 5)
    found = centred_variances(table)
    variance, degrees = (values[0] for values in found.pairs(1))
    assert found.prior_degrees == 0
    assert variance == pytest.approx(np.var(table[0] - table[1], ddof=1))
    assert degrees == pytest.approx(4)


def test_the_degrees_of_a_pair_are_those_of_the_sum_of_two_correlated_variances() -> None:
    """Without moderation, twice the square over the simulated variance of the sum gives the degrees."""
    arms, seeds = 4, 3
    sums = [centred_variances(means(arms, seeds, number=number)).own[:2].sum() for number in range(6000)]
    simulated = 2 * np.mean(sums) ** 2 / np.var(sums)
    degrees = seeds - 1
    by_formula = 4 / (2 / degrees + 2 / ((arms - 1) ** 2 * degrees))
    assert simulated == pytest.approx(by_formula, rel=0.08)


def test_variances_of_zero() -> None:
    table = means(6, 3)
    table[2] = 0.4
    found = plain_variances(table)
    assert found.own[2] == 0 and found.moderated[2] >= 0
    assert np.isfinite(found.moderated).all() and (found.moderated[[0, 1, 3, 4, 5]] > 0).all()
    mostly = np.full((5, 3), 0.4)
    mostly[0] = [0.1, 0.5, 0.9]
    found = plain_variances(mostly)
    assert np.isfinite(found.moderated).all() and (found.moderated[1:] > 0).all()
    assert found.own[0] <= found.moderated[0] < 1.2 * found.own[0]
    none = centred_variances(np.full((5, 3), 0.4))
    assert (none.moderated == 0).all() and none.prior_degrees == 0


def test_arms_that_still_learn_do_not_hide_what_the_others_show() -> None:
    table = means(12, 5)
    table[-4:] += 10 * (table[-4:] - table[-4:].mean(1, keepdims=True))
    found = plain_variances(table)
    of_the_mean = found.prior_degrees * found.own.mean() / (found.prior_degrees + 4)
    assert of_the_mean > 5, "the mean is that of the arms that learn, and would be added to each"
    assert found.moderated[:8].max() < of_the_mean
    assert (found.moderated[-4:] == found.own[-4:]).all()


def test_arms_at_the_ceiling_do_not_lower_the_prior() -> None:
    table = means(6, 5)
    table[[1, 4]] = 1.0
    found, others = plain_variances(table), plain_variances(table[[0, 2, 3, 5]])
    mean = (4 / 6) ** (1 / 4)  # of all six arms, in the part of the prior that is the mean variance
    assert found.prior_variance == pytest.approx(mean * others.prior_variance)
    assert found.moderated[1] > 0


def test_the_prior_of_unpaired_seeds_lies_between_the_geometric_mean_and_the_mean() -> None:
    for seeds in (3, 5, 9):
        found = plain_variances(means(12, seeds, 2.0))
        logs = np.log(found.own) - log_chi_square_moment(seeds - 1, 1)
        assert np.log(found.prior_variance) == pytest.approx(
            logs.mean() + (np.log(found.own.mean()) - logs.mean()) / (seeds - 1), rel=1e-5
        )


def test_arms_of_one_variance_are_not_taken_to_be_so_without_proof() -> None:
    """Few arms cannot prove that variances are alike; many can."""
    few = [centred_variances(means(4, 3, number=number)).prior_degrees for number in range(300)]
    many = [centred_variances(means(27, 3, number=number)).prior_degrees for number in range(300)]
    assert np.median(few) <= 4
    assert np.median(many) > 4
    differing = [centred_variances(means(27, 3, 2.5, number)).prior_degrees for number in range(300)]
    assert np.median(differing) < np.median(many) / 2

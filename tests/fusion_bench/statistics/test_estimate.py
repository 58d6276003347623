"""The difference that a study can detect, against quadrature and simulation; one-sided p-values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from fusion_bench.statistics.estimate import Estimate, detectable_difference


@pytest.mark.parametrize("degrees", [2.0, 3.7, 10.0, 60.0])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 26])
def test_the_detectable_difference_has_four_chances_in_five(degrees: float, alpha: float) -> None:
    """The power is the normal tail beyond the critical value, averaged over the estimated standard error."""
    difference = detectable_difference(0.7, degrees, alpha)
    critical = stats.t.ppf(1 - alpha / 2, degrees)
    chi = stats.chi2(degrees)
    power, _ = integrate.quad(
        lambda square: (
            stats.norm.sf(critical * np.sqrt(square / degrees) - difference / 0.7) * chi.pdf(square)
        ),
        0,
        chi.ppf(1 - 1e-10),
        limit=400,
    )
    assert power == pytest.approx(0.8, abs=2e-3)


def test_the_detectable_difference_is_found_four_times_in_five_and_the_sum_of_quantiles_less_often() -> None:
    generator = np.random.default_rng(0)
    noise, alpha = generator.normal(size=(40_000, 3)), 0.05 / 26

    def found(difference: float) -> float:
        return float((stats.ttest_1samp(noise + difference, 0, axis=1).pvalue < alpha).mean())

    assert found(detectable_difference(3**-0.5, 2, alpha)) == pytest.approx(0.8, abs=0.01)
    quantiles = 3**-0.5 * (stats.t.ppf(1 - alpha / 2, 2) + stats.t.ppf(0.8, 2))
    assert found(quantiles) == pytest.approx(0.66, abs=0.02)


@pytest.mark.parametrize(("error", "degrees"), [(0.0, 4.0), (float("nan"), 4.0), (0.1, float("nan"))])
def test_without_spread_nothing_is_known_about_what_could_be_found(error: float, degrees: float) -> None:
    assert np.isnan(detectable_difference(error, degrees, 0.05))


def test_one_sided_p_values() -> None:
    values = np.array([0.2, 0.5, -0.1, 0.4])
    estimate = Estimate(np.asarray(values.mean()), np.asarray(stats.sem(values)), np.asarray(3.0))
    expected = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    assert float(estimate.p_not_above()) == pytest.approx(expected)
    point = Estimate(np.array([0.1, 0.0, -0.1]), np.zeros(3), np.full(3, np.nan))
    assert point.p_not_above().tolist() == [0.0, 0.5, 1.0]

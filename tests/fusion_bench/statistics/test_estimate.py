"""One-sided p-values of an estimate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fusion_bench.statistics.estimate import Estimate


def test_one_sided_p_values() -> None:
    values = np.array([0.2, 0.5, -0.1, 0.4])
    estimate = Estimate(np.asarray(values.mean()), np.asarray(stats.sem(values)), np.asarray(3.0))
    expected = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    assert float(estimate.p_not_above()) == pytest.approx(expected)
    point = Estimate(np.array([0.1, 0.0, -0.1]), np.zeros(3), np.full(3, np.nan))
    assert point.p_not_above().tolist() == [0.0, 0.5, 1.0]

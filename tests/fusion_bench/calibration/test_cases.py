"""A short form of the calibration: the promises hold, and formulas that are known to fail are caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from fusion_bench.calibration.cases import Bound, Case, CaseResult
from fusion_bench.calibration.families import pairs_with_reference, verdicts_shown
from fusion_bench.calibration.grid import cases_of_looks, cases_of_shape, standard_cases
from fusion_bench.calibration.sums import draw_sums
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.rates import Rates
from fusion_bench.statistics.seeds.moderation import SeedVariances
from fusion_bench.statistics.sequential import Look
from fusion_bench.statistics.simulation import Scatter, StudyShape

ALONE = StudyShape(6, 3, 20, seed_sd=1.6, residual_sd=1.0)
REFERENCE = dataclasses.replace(ALONE, scatter="reference")
MIXED = StudyShape(6, 3, 300, 1.6, 0.4, 15.0, 40.0)
RATES = Rates(400, 0.95, 0.01, 0.94, 0.01, 0.05, 0.01, 1.0, 0.1, 0.5, 0.02, 3.0)


@pytest.mark.parametrize(
    ("case", "studies"),
    [
        (Case(REFERENCE), 10_000),
        (Case(dataclasses.replace(REFERENCE, seeds=5)), 10_000),
        (Case(dataclasses.replace(ALONE, scatter="one arm")), 5000),
        (Case(dataclasses.replace(REFERENCE, arms=27)), 3000),
        (Case(dataclasses.replace(ALONE, arms=3, scatter="log-normal")), 5000),
        (Case(dataclasses.replace(ALONE, arms=27, scatter="a third")), 3000),
        (Case(dataclasses.replace(MIXED, arms=27, seeds=5, scatter="a third and the reference")), 3000),
        (Case(MIXED), 3000),
        (Case(dataclasses.replace(ALONE, reference_seeds=8), drawn="cells"), 200),
        (Case(dataclasses.replace(MIXED, clusters=40), drawn="cells"), 100),
        (Case(dataclasses.replace(MIXED, clusters=40, residual_sd=0.0), drawn="answers"), 100),
    ],
    ids=lambda value: f"{value.drawn}-{value.shape.scatter}" if isinstance(value, Case) else str(value),
)
def test_promises_hold(case: Case, studies: int) -> None:
    result = CaseResult(case, case.run(studies))
    assert not result.broken(), result


def pooled(variances: SeedVariances, reference: int) -> tuple[FloatArray, FloatArray]:
    """Plain pooling: one variance for all arms, on all degrees."""
    shape = variances.own.shape
    degrees = (shape[-1] - 1) * variances.own_degrees
    return 2 * np.broadcast_to(variances.own.mean(-1, keepdims=True), shape), np.full(shape, float(degrees))


def reference_as_other_arms(variances: SeedVariances, reference: int) -> tuple[FloatArray, FloatArray]:
    """The prior weighs as much for the reference as for any arm."""
    u, f = variances.moderated, variances.degrees
    v, g = u[..., [reference]], f[..., [reference]]
    return u + v, (u + v) ** 2 / (u**2 / f + v**2 / g)


def broken_with(
    pairs: Callable[[SeedVariances, int], tuple[FloatArray, FloatArray]],
    case: Case,
    patch: pytest.MonkeyPatch,
) -> set[str]:
    patch.setattr(SeedVariances, "pairs", pairs)
    return {promise.rate for promise in CaseResult(case, case.run(5000)).broken()}


def test_plain_pooling_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    found = broken_with(pooled, Case(REFERENCE), monkeypatch)
    assert found == {"coverage", "worst_coverage", "family_error", "tail"}


def test_a_reference_that_is_treated_as_the_other_arms_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(dataclasses.replace(REFERENCE, arms=27))
    assert broken_with(reference_as_other_arms, case, monkeypatch) == {"tail"}


def test_public_comparisons_use_the_same_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """A formula that is broken is broken for whole tables too, which pass through `compare`."""
    monkeypatch.setattr(SeedVariances, "pairs", pooled)
    case = Case(REFERENCE, drawn="cells")
    assert "family_error" in {promise.rate for promise in CaseResult(case, case.run(150)).broken()}


def test_two_arms_are_right_at_the_level_and_not_far_below() -> None:
    """The variance over three seeds of a pair alone is sometimes small by luck; one comparison is tested at 5 %."""
    shape, pairs = dataclasses.replace(MIXED, arms=2, clusters=3000), pairs_with_reference(2)
    generator = np.random.default_rng(0)
    drawn = [draw_sums(shape, np.zeros(2), pairs, 20_000, generator) for _ in range(5)]
    p = np.concatenate([verdicts_shown(sums, pairs).p for sums in drawn])
    assert (p < 0.05).mean() / 0.05 == pytest.approx(1, abs=0.15)
    assert (p < 0.0005).mean() / 0.0005 > 3


def test_power_does_not_fall() -> None:
    """27 arms, every arm differs by 8 points (3 seeds) or 4 points (5 seeds)."""
    for seeds, effect, least in ((3, 8.0, 0.7), (5, 4.0, 0.5)):
        rates = Case(dataclasses.replace(ALONE, arms=27, seeds=seeds), effect).run(1000)
        assert rates.power >= least


def test_arms_that_still_learn_take_little_power_from_the_others() -> None:
    """27 arms, every arm differs by 16 points, 10 times what two of three scatter by; the others scatter by 16."""
    rates = Case(dataclasses.replace(ALONE, arms=27, seeds=5, scatter="a third"), 16.0).run(1000)
    assert rates.power >= 0.6, "two thirds of the arms"


def test_a_rate_beyond_its_bound_by_two_errors_fails() -> None:
    least, most = Bound("coverage", 0.96, least=True), Bound("family_error", 0.04, least=False)
    assert least.held_by(RATES) == most.held_by(RATES) == "holds within error"
    assert dataclasses.replace(least, limit=0.95).held_by(RATES) == "holds"
    assert dataclasses.replace(least, limit=0.971).held_by(RATES) == "fails"
    assert dataclasses.replace(most, limit=0.029).held_by(RATES) == "fails"
    missing = dataclasses.replace(RATES, coverage=float("nan"))
    assert least.held_by(missing) == "fails", "a rate that is not known keeps no promise"
    result = CaseResult(Case(ALONE), dataclasses.replace(RATES, tail=2.0))
    assert result.held() == "fails" and result.row()["fails"] == "tail"
    assert CaseResult(Case(ALONE, effect=2.0), RATES).held() == ""


def test_one_case_has_one_result_and_cases_have_their_own_chance() -> None:
    case = Case(dataclasses.replace(ALONE, arms=3))
    assert str(case.run(20)) == str(case.run(20)), "as text, for a rate that is not asked for is NaN"
    other = Case(dataclasses.replace(ALONE, arms=3, seed_sd=1.7))
    assert case.key() != other.key() and case.run(20) != other.run(20)
    keys = {dataclasses.replace(case, asked=asked).key() for asked in ("verdicts", "controls", "ties")}
    assert len(keys) == 3


def test_the_standard_cases_cover_what_is_promised() -> None:
    cases = standard_cases()
    assert len({case.key() for case in cases}) == len(cases)
    verdicts = [case for case in cases if case.asked == "verdicts"]
    null = {case.shape for case in verdicts if not case.effect and case.drawn == "sums"}
    assert all(shape.reference_seeds is None for shape in null), "sums are drawn for equal seeds alone"
    asked = {(shape.arms, shape.seeds, shape.clusters, shape.scatter) for shape in null}
    for scatter in get_args(Scatter):
        for arms in (3, 6, 27):
            assert {(arms, seeds, n, scatter) for seeds in (3, 5, 10) for n in (20, 300, 3000)} <= asked
    for kind in ("controls", "ties"):
        found = [case for case in cases if case.asked == kind]
        assert all(case.drawn == "sums" for case in found)
        sizes = {(case.shape.arms, case.shape.seeds) for case in found if not case.effect}
        assert {(arms, seeds) for arms in (3, 6, 27) for seeds in (3, 5, 10)} <= sizes
        assert {case.effect for case in found} == {0.0, 4.0, 8.0}
    assert {case.drawn for case in cases} == {"sums", "cells", "answers"}
    assert {case.shape.reference_seeds for case in cases} == {None, 8, 12}


def test_a_study_is_asked_for_its_own_detectable_difference() -> None:
    cases = cases_of_shape(ALONE, 5.123)
    null = [0.0] * len(get_args(Scatter))
    assert [case.effect for case in cases] == [*null, 5.12, 2.0, 4.0, 8.0]
    assert [case.effect for case in cases_of_shape(ALONE, float("nan"))] == [*null, 2.0, 4.0, 8.0]


def test_looks_of_the_rule_that_a_run_follows_keep_their_bound_and_looking_naively_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape, looks = dataclasses.replace(ALONE, arms=3, seeds=12), (3, 5, 8, 12)
    case = Case(shape, drawn="cells", asked="looks", looks=looks)
    assert [promise.rate for promise in case.bounds()] == ["family_error"]
    rates = case.run(150)
    assert not CaseResult(case, rates).broken()
    assert np.isnan(rates.coverage) and np.isnan(rates.power)
    naive = tuple(Look(number, 0.05) for number in looks)
    monkeypatch.setattr("fusion_bench.statistics.simulation.planned_looks", lambda numbers: naive)
    assert case.run(150).family_error > 1.5 * rates.family_error, "each look at 5 % errs more often"


def test_a_study_with_looks_is_asked_for_these() -> None:
    cases = cases_of_looks(dataclasses.replace(ALONE, reference_seeds=5), (3, 5, 8), 5.0)
    assert {(case.asked, case.looks, case.shape.seeds) for case in cases} == {("looks", (3, 5, 8), 8)}
    assert [case.effect for case in cases] == [*([0.0] * len(get_args(Scatter))), 5.0, 2.0, 4.0, 8.0]
    assert len({case.key() for case in cases}) == len(cases)

"""Studies drawn as sums are judged as the public functions judge their tables; broken formulas are caught."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from fusion_bench.calibration import families
from fusion_bench.calibration.cases import Case, CaseResult
from fusion_bench.calibration.families import (
    all_pairs,
    leads_shown,
    pairs_with_controls,
    pairs_with_reference,
    ties_shown,
    verdicts_shown,
)
from fusion_bench.statistics.comparison import ALPHA, Question, compare
from fusion_bench.statistics.controls import against_controls
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.seeds.moderation import SeedVariances
from fusion_bench.statistics.simulation import Scatter, StudyShape, simulate_study
from fusion_bench.statistics.tie_groups import tie_groups
from summed_studies import sums_of

SHAPE = StudyShape(4, 3, 12, seed_sd=1.0, shared_seed_sd=0.5, cluster_sd=3.0, residual_sd=4.0)
ALONE = StudyShape(6, 3, 20, seed_sd=1.6, residual_sd=1.0)


def tables(shape: StudyShape, studies: int, effect: float = 0.7) -> list[Influences]:
    generator = np.random.default_rng(1)
    truth = np.full(shape.rows() - 1, effect)
    return [simulate_study(shape, truth, generator) for _ in range(studies)]


@pytest.mark.parametrize("scatter", ["equal", "reference", "log-normal"])
@pytest.mark.parametrize("arms", [2, 3, 7])
def test_verdicts_are_those_of_compare(arms: int, scatter: Scatter) -> None:
    drawn, pairs = (
        tables(dataclasses.replace(SHAPE, arms=arms, scatter=scatter), 12),
        pairs_with_reference(arms),
    )
    shown = verdicts_shown(sums_of(drawn, pairs), pairs)
    for number, study in enumerate(drawn):
        table = compare(study, Question("reference", study.arms[1:]))
        for name in ("low", "high", "p", "p_holm"):
            assert getattr(shown, name)[number] == pytest.approx(table[name].to_numpy(), rel=1e-9)


@pytest.mark.parametrize("scatter", ["equal", "log-normal"])
@pytest.mark.parametrize(("arms", "controls"), [(2, 1), (3, 2), (7, 3)])
def test_leads_are_those_over_controls(arms: int, controls: int, scatter: Scatter) -> None:
    shape = dataclasses.replace(SHAPE, arms=arms, controls=controls, control_variance=3.0, scatter=scatter)
    drawn, pairs = tables(shape, 12), pairs_with_controls(arms, controls)
    shown = leads_shown(sums_of(drawn, pairs), pairs)
    for number, study in enumerate(drawn):
        question = Question("reference", study.arms[1:arms], controls=study.arms[arms:])
        table = against_controls(study, question)
        for name in ("low", "high"):
            assert getattr(shown, name)[number] == pytest.approx(table[name].to_numpy(), rel=1e-9)
        by_arm = table.groupby("arm", sort=False)
        assert shown.p[number] == pytest.approx(by_arm["p"].max().to_numpy(), rel=1e-9)
        assert shown.p_holm[number] == pytest.approx(by_arm["p_holm"].first().to_numpy(), rel=1e-9)


@pytest.mark.parametrize("scatter", ["equal", "log-normal"])
@pytest.mark.parametrize("arms", [3, 6])
def test_ties_are_those_of_the_letters(arms: int, scatter: Scatter) -> None:
    shape = dataclasses.replace(SHAPE, arms=arms, seeds=5, scatter=scatter, cluster_sd=0.1, residual_sd=0.5)
    drawn, pairs = tables(shape, 12, effect=3.0), all_pairs(arms)
    shown = ties_shown(sums_of(drawn, pairs), pairs)
    different = shown.p_holm < ALPHA
    assert 0 < different.mean() < 1
    for number, study in enumerate(drawn):
        found = tie_groups(study, Question("reference", study.arms[1:]), study.arms)
        differences = Differences(study, study.arms)
        for pair, (one, other) in enumerate(itertools.combinations(study.arms, 2)):
            both = [differences.of(one, other), differences.of(other, one)]
            p_values = [float(item.estimate.p_value()) for item in both if item is not None]
            assert shown.p[number, pair] == pytest.approx(max(p_values), rel=1e-9)
            assert bool(set(found.of(one)) & set(found.of(other))) != different[number, pair]


@pytest.mark.parametrize(
    ("case", "studies"),
    [
        (Case(dataclasses.replace(ALONE, controls=2, control_variance=0.25), asked="controls"), 4000),
        (Case(dataclasses.replace(ALONE, controls=2), asked="controls"), 4000),
        (Case(dataclasses.replace(ALONE, arms=3, seeds=5, scatter="one arm"), asked="ties"), 3000),
        (Case(dataclasses.replace(ALONE, scatter="log-normal"), asked="ties"), 1500),
    ],
)
def test_promises_about_controls_and_ties_hold(case: Case, studies: int) -> None:
    result = CaseResult(case, case.run(studies))
    assert not result.broken(), result
    assert math.isnan(result.rates.coverage) == (case.asked == "ties")
    assert result.rates.family_error > 0, "errors are counted"


def test_leads_that_are_not_corrected_over_arms_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "holm", lambda p: p)
    case = Case(dataclasses.replace(ALONE, controls=2), asked="controls")
    assert [promise.rate for promise in CaseResult(case, case.run(2000)).broken()] == ["family_error"]


def test_a_control_that_is_taken_to_scatter_as_the_arms_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def pooled(self: SeedVariances, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
        return 2 * self.moderated, 2 * self.degrees

    monkeypatch.setattr(SeedVariances, "from_outside", pooled)
    case = Case(dataclasses.replace(ALONE, controls=2, control_variance=4.0), asked="controls")
    broken = {promise.rate for promise in CaseResult(case, case.run(2000)).broken()}
    assert broken == {"coverage", "worst_coverage", "family_error", "tail"}


def test_ties_that_are_not_corrected_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "holm", lambda p: p)
    case = Case(dataclasses.replace(ALONE, seeds=5), asked="ties")
    assert "family_error" in {promise.rate for promise in CaseResult(case, case.run(1000)).broken()}


def test_the_power_of_leads_and_ties_is_that_of_true_differences() -> None:
    shape = dataclasses.replace(ALONE, seeds=5)
    leads = Case(dataclasses.replace(shape, controls=2), 40.0, asked="controls").run(50)
    ties = Case(shape, 40.0, asked="ties").run(50)
    assert leads.power == ties.power == 1
    assert math.isnan(leads.tail) and leads.family_error == 0, "no arm is equal to a control"
    assert not math.isnan(ties.tail), "the other arms are equal among each other"
    none = Case(dataclasses.replace(shape, controls=2), asked="controls").run(50)
    assert math.isnan(none.power)

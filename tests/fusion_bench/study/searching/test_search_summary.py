"""Which searched settings mattered is said where that can be known, and nowhere else."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from fusion_bench.contract import Float, Int, Space
from fusion_bench.reporting.report.setup_tables import searched_note, searched_table
from fusion_bench.results.results import ArmSummary
from fusion_bench.spec.arms import Arm
from fusion_bench.study.searching.search import ArmSearch
from fusion_bench.study.searching.search_summary import SearchSummary, summarise_search
from toys import toy_config

pytest.importorskip("sklearn", reason="scikit-learn, of the extra search, is not installed")
SPACE: Mapping[str, Space] = {"gain": Float(0.01, 10.0, log=True), "train.epochs": Int(1, 9)}


def searched(space: Mapping[str, Space] = SPACE, *, trials: int = 20, flat: bool = False) -> ArmSearch:
    """A search in which the gain matters and the number of epochs does not."""
    arm = Arm("product", "reference", "product", toy_config())
    found = ArmSearch(arm, space, trials=trials, batch=4, seeds=(1,), maximise=True, sampler="random")
    while not found.over:
        found.tell(
            {cell.id: 0.5 if flat else -abs(math.log(float(str(cell.drawn["gain"])))) for cell in found.ask()}
        )
    return found


def test_the_setting_that_matters_has_the_larger_share() -> None:
    found = summarise_search(searched(), Path())
    assert list(found.importances) == ["gain", "train.epochs"]
    assert found.importances["gain"] > 0.6
    assert 0.9 < sum(found.importances.values()) <= 1, "the rest is of both together"
    assert found == summarise_search(searched(), Path()), "the forest has a seed"
    assert found.training_steps is None


@pytest.mark.parametrize(
    "search",
    [
        searched({"gain": SPACE["gain"]}),
        searched(trials=7),
        searched(flat=True),
    ],
    ids=["one setting", "few trials", "equal values"],
)
def test_nothing_is_said_of_importances_where_nothing_can_be_known(search: ArmSearch) -> None:
    found = summarise_search(search, Path())
    assert replace(found, history=()) == SearchSummary()


def test_the_history_holds_each_trial_that_found_a_better_value() -> None:
    search = searched()
    values = [trial.value for trial in search.optuna_study.get_trials()]
    history = summarise_search(search, Path()).history
    assert history[0] == (0, values[0])
    assert [value for _, value in history] == sorted({value for _, value in history})
    assert history[-1] == (values.index(max(values)), max(values))
    assert len(summarise_search(searched(flat=True), Path()).history) == 1


def test_nothing_is_said_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "sklearn" else find(name, *rest)
    )
    assert summarise_search(searched(), Path()).importances == {}


def test_the_default_importance_of_optuna_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("PED-ANOVA was asked")

    monkeypatch.setattr(optuna.importance.PedAnovaImportanceEvaluator, "evaluate", never)
    assert summarise_search(searched(), Path()).importances


def summary(**more: object) -> ArmSummary:
    described = {"label": "film", "role": "arm", "component": "film", "factors": {}, "citation": ""}
    described |= {"listens": "words", "position_code": "none", "searched": {"gain": 2.0}, "search_trials": 12}
    costs = ("fusion_parameters", "fusion_multiply_adds", "around_parameters", "around_multiply_adds")
    return ArmSummary(**{**described, **dict.fromkeys(costs), **more})  # type: ignore[arg-type]


def test_the_report_shows_how_the_best_value_rose() -> None:
    history = tuple((number, number / 100) for number in range(1, 10))
    table = searched_table([summary(search_history=history), summary()])
    assert "best value so far (trial)" in table
    assert "0.01 (1), 0.02 (2), ..., 0.06 (6), 0.07 (7), 0.08 (8), 0.09 (9)" in table
    assert "optuna-dashboard" in searched_note([summary(search_history=history)])


def test_the_report_says_it_with_a_caution() -> None:
    arms = [summary(search_importances={"gain": 0.9, "train.epochs": 0.1}), summary()]
    table = searched_table(arms)
    assert "which searched settings mattered" in table
    assert "gain 90%, train.epochs 10%" in table.replace("\\", "")
    assert "does not answer an ablation" in searched_note(arms)
    assert "mattered" not in searched_table([summary()])
    assert searched_note([summary()]) == ""

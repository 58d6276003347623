"""Modules with one fault each: the check meant for it finds it, and no other check fails."""

from __future__ import annotations

import importlib

import pytest
from torch import Tensor

from broken_modules import (
    AlwaysDropping,
    BatchMixing,
    HiddenParameter,
    HostSync,
    IgnoredLanguage,
    IgnoredMask,
    NanInFloat16,
    Remembers,
    ShrinkingMap,
    Sound,
    StateInForward,
    TrainingBatchMixing,
    TransposedAttention,
    TransposedMap,
    TransposedSquare,
    UndeclaredInput,
    UnknownSetting,
    UnregisteredLayers,
    WrongDtype,
)
from broken_training import (
    BareRoot,
    CancelledBias,
    Crashing,
    Detached,
    FalseControl,
    FixedParameter,
    IdleWidth,
    LeftBehind,
    LinearSum,
    MadeOnTheProcessor,
    NotExported,
    Pooling,
    Rounded,
    TwoGraphs,
    Uncounted,
    UnsavedDraw,
    WrongBackward,
    WrongFormula,
)
from fusion_bench.checking.kit import CHECKS, CRASHED, CheckResult, Checkup
from fusion_bench.checking.subject import CheckFailed, Subject
from fusion_bench.checking.toy import learns
from fusion_bench.contract import FusionModule
from fusion_bench.registries import MODULES

THE_TEN = {
    UnregisteredLayers: "registered",
    BatchMixing: "independent",
    TransposedAttention: "places",
    IgnoredMask: "padding",
    IgnoredLanguage: "reacts",
    UndeclaredInput: "ignores",
    HostSync: "host_sync",
    StateInForward: "stateless",
    WrongDtype: "dtype",
    NanInFloat16: "half",
}
FURTHER = {
    HiddenParameter: "registered",
    TrainingBatchMixing: "independent",
    TransposedSquare: "places",
    TransposedMap: "places",
    Remembers: "stateless",
    FalseControl: "ignores",
    UnknownSetting: "declarations",
    ShrinkingMap: "shape",
    AlwaysDropping: "deterministic",
    Detached: "trained",
    Rounded: "trained",
    FixedParameter: "trained",
    BareRoot: "finite_at_zero",
    WrongBackward: "gradcheck",
    UnsavedDraw: "saved",
    LeftBehind: "moved",
    MadeOnTheProcessor: "moved",
    TwoGraphs: "compiles",
    NotExported: "exports",
    Uncounted: "counted",
    WrongFormula: "declared_cost",
    IdleWidth: "width",
}


def found(module: type[FusionModule]) -> dict[str, CheckResult]:
    return {result.check: result for result in Checkup(module).results()}


def test_a_sound_module_passes_every_check() -> None:
    results = found(Sound)
    assert {name for name, result in results.items() if result.status == "fail"} == set()
    assert {name for name, result in results.items() if result.status == "skip"} == {"declared_cost"}


@pytest.mark.parametrize(
    ("module", "check"), THE_TEN.items(), ids=lambda case: getattr(case, "__name__", case)
)
def test_a_fault_is_found_by_its_own_check_and_by_no_other(module: type[FusionModule], check: str) -> None:
    results = found(module)
    assert {name for name, result in results.items() if result.status == "fail"} == {check}
    assert results[check].detail
    assert results[check].remedy


@pytest.mark.parametrize(
    ("module", "check"), FURTHER.items(), ids=lambda case: getattr(case, "__name__", case)
)
def test_further_faults_are_found(module: type[FusionModule], check: str) -> None:
    result = Checkup(module).result(check)
    assert result.status == "fail", result
    assert result.remedy != CRASHED, result


def test_inputs_that_never_meet_are_not_learnt_together() -> None:
    with pytest.raises(CheckFailed, match="not learnt in 100 steps"):
        learns(Subject(LinearSum, "LinearSum"), seeds=(0,), steps=100)


def test_one_answer_for_the_whole_image_counts_as_learnt() -> None:
    assert learns(Subject(Pooling, "Pooling"), seeds=(0,), steps=200).startswith("per image")
    assert Checkup(Pooling).result("places").detail.startswith("it pools")


def test_a_bias_that_cancels_out_is_told_and_no_fault() -> None:
    result = Checkup(CancelledBias).result("trained")
    assert (result.status, result.detail) == ("pass", "8 parameters; gate.bias cancels out of the output")


def test_a_crash_in_a_check_is_a_failure_of_the_module() -> None:
    result = Checkup(Crashing).result("stateless")
    assert (result.status, result.remedy) == ("fail", CRASHED)
    assert result.detail == "ZeroDivisionError: in training"


def test_a_scrambled_attention_map_beside_a_right_residual_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault of popular ports, put into a registered module that mixes all positions: H and W exchanged."""
    kind = MODULES.load("stacked_attention")
    place = importlib.import_module(kind.__module__)

    def column_by_column(tokens: Tensor, visual: Tensor) -> Tensor:
        exchanged = tokens.transpose(1, 2).unflatten(2, visual.shape[:1:-1])  # [B, C, W, H]
        return exchanged.transpose(2, 3).contiguous()

    monkeypatch.setattr(place, "as_map", column_by_column)
    assert Checkup(kind).result("places").status == "fail"


def test_every_check_finds_something() -> None:
    assert {*THE_TEN.values(), *FURTHER.values(), "learns"} == {check.name for check in CHECKS}


def test_what_builds_on_a_failed_check_is_skipped_and_says_so() -> None:
    result = Checkup(IgnoredMask).result("learns")
    assert (result.status, result.blocked) == ("skip", True)
    assert result.detail == "means nothing without padding"

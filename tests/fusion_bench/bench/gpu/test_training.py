"""The goals of training on a GPU, from times by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusion_bench.bench.activity import EpochActivity
from fusion_bench.bench.gpu import training
from fusion_bench.bench.gpu.training import main, measure_peers_part, measure_step_part
from fusion_bench.bench.peers import COMPILED, HARNESS, MINIMAL, PUBLIC, PeerTime
from fusion_bench.bench.step import Compile, StepTime

CPU = torch.device("cpu")


def step_times(plain: EpochActivity, compiled: EpochActivity) -> list[StepTime]:
    compiles: tuple[tuple[Compile, EpochActivity], ...] = (("none", plain), ("reduce-overhead", compiled))
    return [StepTime("film", 1.0, 10, 0.5, 2.0, name, activity) for name, activity in compiles]


@pytest.mark.parametrize(
    ("plain", "compiled", "code"),
    [
        (EpochActivity(0.95, {}), EpochActivity(0.5, {}), 0),  # the better one may be used
        (EpochActivity(0.5, {}), EpochActivity(0.91, {}), 0),
        (EpochActivity(0.8, {}), EpochActivity(0.89, {}), 1),
        (EpochActivity(0.95, {"cudaStreamSynchronize": 3}), EpochActivity(0.95, {}), 1),
    ],
)
def test_steps_keep_the_gpu_busy_and_never_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plain: EpochActivity, compiled: EpochActivity, code: int
) -> None:
    monkeypatch.setattr(training, "measure_steps", lambda *_, **__: step_times(plain, compiled))
    assert measure_step_part(tmp_path, CPU, toy=False) == code
    text = (tmp_path / "step.md").read_text(encoding="utf-8")
    assert f"{plain.busy:.0%}" in text
    assert ("3 cudaStreamSynchronize" in text) == bool(plain.waits)


@pytest.mark.parametrize(("harness", "compiled", "code"), [(1.0, 0.5, 0), (0.6, 0.7, 0), (1.0, 0.7, 1)])
def test_the_harness_is_five_times_as_fast_as_public_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, harness: float, compiled: float, code: int
) -> None:
    relative = {HARNESS: harness, MINIMAL: 1.0, PUBLIC: 3.0, COMPILED: compiled}
    times = [PeerTime(name, value, value) for name, value in relative.items()]
    monkeypatch.setattr(training, "measure_peers", lambda *_, **__: times)
    assert measure_peers_part(tmp_path, CPU, toy=False) == code


def test_a_missing_gpu_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["step", str(tmp_path), "--device", "cuda:77"]) == 2
    assert capsys.readouterr().err.startswith("--device cuda:77: the benchmark runs on cpu")

"""``bench step`` on a CPU and on a GPU: which steps are measured, and which columns are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from fusion_bench.bench.activity import EpochActivity
from fusion_bench.bench.step import COMPILES, StepTime
from fusion_bench.cli.bench import training


def shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], device: str, *, as_json: bool = False
) -> tuple[str, dict[str, Any]]:
    """Return what is printed, and the options of the measurement."""
    options: dict[str, Any] = {}

    def measured(arms: object, on: torch.device, **given: Any) -> list[StepTime]:
        options.update(given)
        activity = EpochActivity(0.93, {"cudaStreamSynchronize": 2}) if on.type == "cuda" else None
        return [
            StepTime("film", 1.5, 10**6, 0.5, 3.0, name, activity) for name in given.get("compiles", ["none"])
        ]

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(training, "measure_steps", measured)
    monkeypatch.setattr(training, "benchmark_device", lambda _: torch.device(device))
    monkeypatch.setattr(training, "machine_name", lambda _: "a machine")
    training.print_steps(device, 3, as_json=as_json)
    return capsys.readouterr().out, options


def test_a_gpu_has_plain_and_compiled_steps_and_what_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, options = shown(monkeypatch, capsys, "cuda")
    assert options["compiles"] == COMPILES
    rows = [line.split() for line in text.splitlines() if "film" in line]
    assert [row[1] for row in rows] == list(COMPILES)
    assert all(row[-3:] == ["93%", "2", "cudaStreamSynchronize"] for row in rows)
    values = json.loads(shown(monkeypatch, capsys, "cuda", as_json=True)[0])
    assert values[1]["activity"] == {"busy": 0.93, "waits": {"cudaStreamSynchronize": 2}}


def test_a_cpu_has_no_columns_about_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, options = shown(monkeypatch, capsys, "cpu")
    assert "compiles" not in options
    assert "GPU" not in text
    assert "times as long" in text

"""The programs for a GPU: goals from times by hand, kernels that disagree, and the search of launch parameters."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from fusion_modules.laconv.bench import agreement, gpu, search_launches
from fusion_modules.laconv.bench.agreement import CASES, differences
from fusion_modules.laconv.bench.comparison import BenchmarkRow, Shape, compare_on_gpu
from fusion_modules.laconv.bench.gpu import OperatorRow, measure_operator_part, operator_goals
from fusion_modules.laconv.bench.measurement import Spread
from fusion_modules.laconv.bench.rivals import Rival
from fusion_modules.laconv.ops.launches import CANDIDATES, LaunchChoice, LaunchParameters, LaunchShape
from fusion_modules.laconv.ops.operator import dynamic_conv2d

CPU = torch.device("cpu")
SHAPE = Shape(1, 4, 3, 3, 2)


def row(name: str, milliseconds: float, forward: float = 0.9, backward: float = 0.7) -> OperatorRow:
    spread = Spread.of([milliseconds])
    return OperatorRow(BenchmarkRow("a shape", name, spread, spread), forward, backward)


def test_bytes_of_the_forward_pass_by_hand() -> None:
    """One value: two maps and one kernel value of 4 bytes."""
    assert Shape(1, 1, 1, 1, 1).least_forward_bytes == 12


def test_goals_compare_the_kernels_with_the_best_other_implementation() -> None:
    lines = operator_goals([row("unfold", 9.0, 0.1), row("triton", 2.0, 0.86, 0.59), row("SAN", 5.0, 0.4)])
    assert [line.measured for line in lines] == [0.86, 0.59, 2.5]
    assert [line.reached for line in lines] == [True, False, True]


def test_forward_and_backward_add_up_and_a_rival_gets_its_own_layout() -> None:
    def layout(x: torch.Tensor, kernels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mT.contiguous(), kernels.mT.contiguous()

    rival = Rival("turned", functools.partial(dynamic_conv2d, backend="reference"), layout)
    rows = {one.implementation: one for one in compare_on_gpu(SHAPE, [rival], CPU, 1)}
    assert list(rows) == ["unfold, multiply, sum", "reference", "torch", "turned"]
    for one in rows.values():
        assert one.forward is not None
        assert one.backward is not None
        assert one.forward.median + one.backward.median == pytest.approx(one.milliseconds.median)


def test_a_table_of_the_cpu_holds_what_runs_there(tmp_path: Path) -> None:
    assert measure_operator_part(tmp_path, CPU, toy=True) == 0
    text = (tmp_path / "operator.md").read_text(encoding="utf-8")
    assert "| torch.compile of the reference |" in text
    assert "SAN" not in text
    assert "A copy reads and writes" in text


def test_a_backend_that_computes_something_else_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(one.agrees for one in differences(CPU, CASES[:2]))

    def wrong(x: torch.Tensor, kernels: torch.Tensor, **options: Any) -> torch.Tensor:
        out = dynamic_conv2d(x, kernels, **options)
        return out if options["backend"] == "reference" else out * 1.1

    monkeypatch.setattr(agreement, "dynamic_conv2d", wrong)
    assert agreement.main(["--device", "cpu"]) == 1
    assert "DIFFERS: torch, torch.float32" in capsys.readouterr().out


@pytest.mark.parametrize("main", [agreement.main, search_launches.main])
def test_a_missing_device_is_one_sentence(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda:77"]) == 2
    assert capsys.readouterr().err.startswith("--device cuda:77: the benchmark runs on cpu")


def test_the_operator_table_names_a_missing_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main([str(tmp_path), "--device", "abacus"]) == 2
    assert "abacus" in capsys.readouterr().err


def test_the_search_finds_the_fastest_parameters_of_each_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another candidate is the fastest of each kernel; the kernels of one launch are searched one by one."""
    fastest = {
        "aggregate": CANDIDATES[3],
        "gradient_of_map": CANDIDATES[5],
        "gradient_of_kernels": CANDIDATES[1],
    }
    spent: list[float] = []

    def launch(kernels: tuple[str, ...], choice: LaunchChoice) -> None:
        for kernel in kernels:
            shape = LaunchShape(kernel, 9, 2, 3, 1, 1, 4)  # type: ignore[arg-type]
            spent.append(1.0 if choice(shape) == fastest[kernel] else 2.0)

    def interleaved(steps: dict[str, Any], repeats: int, device: torch.device) -> dict[str, list[float]]:
        seconds = {}
        for name, step in steps.items():
            spent.clear()
            step()
            seconds[name] = [sum(spent)] * repeats
        return seconds

    launchers = (
        functools.partial(launch, ("aggregate",)),
        functools.partial(launch, ("gradient_of_map", "gradient_of_kernels")),
    )
    monkeypatch.setattr(search_launches, "_launchers", lambda *_: launchers)
    monkeypatch.setattr(search_launches, "interleaved", interleaved)
    found: dict[str, LaunchParameters] = {
        shape.kernel: best for shape, best in search_launches.searched(SHAPE, torch.float32, 0, CPU, 2)
    }
    assert found == fastest

"""The benchmark of the operator: its measurements, independent of the speed of this machine."""

from __future__ import annotations

import functools
import importlib.util
import json
import time

import pytest
import torch
import typer
from typer.testing import CliRunner

from fusion_bench.errors import FusionBenchError
from fusion_modules.laconv import dynamic_conv2d
from fusion_modules.laconv.bench import benchmark, comparison
from fusion_modules.laconv.bench.benchmark import bench_dynamic_conv
from fusion_modules.laconv.bench.comparison import (
    SHAPES,
    Shape,
    implementations,
    measure,
    unfold_multiply_sum,
)
from fusion_modules.laconv.bench.measurement import Spread, interleaved, peak_on_cpu

CPU = torch.device("cpu")
SMALL = (Shape(2, 6, 5, 3, 3), Shape(1, 4, 3, 1, 2))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use two small shapes, and start no process to measure memory."""
    monkeypatch.setattr(benchmark, "SHAPES", SMALL)
    monkeypatch.setattr(comparison, "peak_on_cpu", lambda *_: 7 << 20)


@pytest.mark.parametrize("shape", SMALL)
def test_all_implementations_compute_the_same_result(shape: Shape) -> None:
    x, kernels = (torch.randn(extent, dtype=torch.float64) for extent in shape.inputs)
    for function in implementations(CPU).values():
        torch.testing.assert_close(function(x, kernels), dynamic_conv2d(x, kernels), rtol=0, atol=1e-12)


def test_the_shapes_are_those_of_the_performance_targets() -> None:
    assert [str(shape) for shape in SHAPES] == [
        "[8,128,52,52] k 7 G 8",
        "[32,128,14,14] k 7 G 8",
        "[32,64,8,8] k 3 G 8",
    ]


def test_least_bytes_by_hand() -> None:
    """The shape has one channel, one position and one tap: 5 values of maps and 3 of kernels, 4 bytes each."""
    assert Shape(1, 1, 1, 1, 1).least_bytes == 32


def test_prints_machine_threads_versions_and_every_implementation() -> None:
    app = typer.Typer()
    app.command()(bench_dynamic_conv)
    done = CliRunner().invoke(
        app, ["--threads", "1", "--repeats", "2", "--device", "cpu"], env={"COLUMNS": "160"}
    )
    assert done.exit_code == 0, done.output
    for expected in (
        "unfold, multiply, sum",
        "reference",
        "torch",
        "[2,6,5,5] k 3 G 3",
        "1 threads",
        torch.__version__,
    ):
        assert expected in done.output


def test_prints_json_with_ratios_to_the_first() -> None:
    app = typer.Typer()
    app.command()(bench_dynamic_conv)
    done = CliRunner().invoke(app, ["--threads", "1", "--repeats", "3", "--device", "cpu", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["threads"] == 1
    assert result["repeats"] == 3
    assert len(result["rows"]) == len(SMALL) * 3
    for row in result["rows"]:
        if row["implementation"] == "unfold, multiply, sum":
            assert row["times_faster"] == {"median": 1, "lower": 1, "upper": 1}
        assert row["peak_bytes"] == (7 << 20 if row["shape"] == str(SMALL[0]) else None)


def test_restores_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    measure(SMALL[1:], CPU, before + 1, 1)
    assert torch.get_num_threads() == before


def test_a_missing_device_is_rejected() -> None:
    with pytest.raises(FusionBenchError, match="--device abacus: the benchmark runs on cpu"):
        bench_dynamic_conv(device="abacus")


def test_repeats_are_taken_in_turn() -> None:
    order: list[str] = []

    def step(name: str) -> None:
        order.append(name)
        time.sleep(0.02)  # long enough for one call per measurement

    seconds = interleaved({name: functools.partial(step, name) for name in "ab"}, 3, CPU)
    assert order[-6:] == list("ababab")
    assert all(len(values) == 3 and min(values) >= 0.02 for values in seconds.values())


def test_spread_is_median_and_quartiles() -> None:
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("resource") is None, reason="only Unix reports resident memory")
def test_shifting_needs_a_tenth_of_the_memory_of_unfolding() -> None:
    """The unfolded map has ``C k^2 H W`` values, here 2 * 64 * 49 * 48^2 * 4 bytes = 55 MiB."""
    shape = Shape(2, 64, 48, 7, 4)
    warm = Shape(1, 4, 4, 7, 4).inputs
    unfolding = peak_on_cpu(unfold_multiply_sum, shape.inputs, warm, 1)
    shifting = peak_on_cpu(functools.partial(dynamic_conv2d, backend="torch"), shape.inputs, warm, 1)
    assert unfolding > 2 * 55 * 2**20
    assert shifting < unfolding / 10

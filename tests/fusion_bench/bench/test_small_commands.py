"""The benchmarks of small commands run at toy size; no test looks at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import environment
from fusion_bench.bench.small_commands import TableShape, measure_help, measure_plan, measure_statistics
from fusion_bench.errors import FusionBenchError
from toys import study_file


def test_each_command_is_a_line_with_its_own_time() -> None:
    lines = measure_help([("--version",), ("cells", "--help")], repeats=1)
    assert [line.item for line in lines] == ["fusion-bench --version", "fusion-bench cells --help"]
    assert {(line.quantity, line.target, line.better, line.unit) for line in lines} == {
        ("CPU time", 0.25, "lower", "s")
    }
    assert all(line.measured > 0 for line in lines)


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(FusionBenchError, match=r"a command to be timed failed: .*No such command 'nothing'"):
        measure_help([("nothing",)], repeats=1)


@pytest.mark.slow
def test_a_plan_is_timed_without_its_imports_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    file = study_file(tmp_path)
    (line,) = measure_plan(file, repeats=1)
    assert line.item.startswith("fusion-bench plan ") and line.quantity == "CPU time beyond imports"
    assert line.measured >= 0
    assert [*tmp_path.iterdir()] == [file]


def test_the_statistics_of_a_small_table_are_timed() -> None:
    shape = TableShape(arms=5, controls=2, seeds=3, samples=60, clusters=12)
    (line,) = measure_statistics(shape, repeats=1)
    assert line.item == "statistics of 5 arms, 3 seeds, 60 samples in 12 clusters"
    assert line.measured > 0

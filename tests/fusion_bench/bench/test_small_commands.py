"""The benchmarks of small commands run at toy size; no test looks at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fusion_bench.bench import small_commands
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


def test_a_plan_is_timed_without_its_imports_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs run in this process; ``fusion-bench bench all --quick``, a step of CI, runs them in their own."""
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)  # it would outlive the test
    programs: list[str] = []

    def seconds(arguments: Sequence[str]) -> float:
        kind, program, *words = arguments
        programs.append(program)
        monkeypatch.setattr(sys, "argv", ["program", *words])
        if program == small_commands._RECORD_IMPORTS:
            with pytest.raises(SystemExit) as ended:
                exec(program, {})  # noqa: S102 - our own program
            assert not ended.value.code
            return 9.0
        if kind == "-c":
            exec(program, {})  # noqa: S102 - our own program
            return 1.0
        assert words[:2] == ["plan", str(file)]
        return 3.0

    monkeypatch.setattr(small_commands, "child_cpu_seconds", seconds)
    file = study_file(tmp_path)
    (line,) = measure_plan(file, repeats=1)
    assert line.item == f"fusion-bench plan {file}" and line.quantity == "CPU time beyond imports"
    assert line.measured == 2.0
    record, same = small_commands._RECORD_IMPORTS, small_commands._IMPORT_THE_SAME
    assert programs == [record, "fusion_bench", same]
    assert [*tmp_path.iterdir()] == [file]


def test_the_statistics_of_a_small_table_are_timed() -> None:
    shape = TableShape(arms=5, controls=2, seeds=3, samples=60, clusters=12)
    (line,) = measure_statistics(shape, repeats=1)
    assert line.item == "statistics of 5 arms, 3 seeds, 60 samples in 12 clusters"
    assert line.measured > 0

"""Finished cases are kept, and run again only if something that they depend on changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from fusion_bench import statistics
from fusion_bench.calibration import answers, cases, families, sums
from fusion_bench.calibration import run as module
from fusion_bench.calibration.cases import Case, CaseResult
from fusion_bench.calibration.run import FinishedCases, run_cases
from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.rates import Rates
from fusion_bench.statistics.simulation import StudyShape

SHAPE = StudyShape(3, 3, 20, seed_sd=1.6)
CASES = tuple(Case(dataclasses.replace(SHAPE, scatter=scatter)) for scatter in ("equal", "one arm"))


def shown(results: Sequence[CaseResult]) -> list[dict[str, object]]:
    """Rows without NaN, which equals nothing."""
    return [dict(result.row()) for result in results]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases that were run, not read."""
    seen: list[Case] = []
    original = Case.run

    def counted(case: Case, studies: int) -> Rates:
        seen.append(case)
        return original(case, studies)

    monkeypatch.setattr(Case, "run", counted)
    return seen


def test_finished_cases_are_read_and_not_run_again(tmp_path: Path, ran: list[Case]) -> None:
    finished = FinishedCases(tmp_path)
    counts: list[tuple[int, int]] = []
    first = run_cases(CASES, 20, 1, finished, lambda what, done, total: counts.append((done, total)))
    assert counts == [(0, 2), (1, 2), (2, 2)] and ran == [*CASES]
    assert shown(run_cases(CASES, 20, 1, finished)) == shown(first) and len(ran) == 2
    damaged = next(tmp_path.iterdir())
    for text in ("{", '{"studies": 3}', "[]"):
        damaged.write_text(text)
        ran.clear()
        assert shown(run_cases(CASES, 20, 1, finished)) == shown(first) and len(ran) == 1


def test_other_studies_or_other_formulas_run_again(
    tmp_path: Path, ran: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = FinishedCases(tmp_path)
    run_cases(CASES, 20, 1, finished)
    run_cases(CASES, 21, 1, finished)
    assert len(ran) == 4
    monkeypatch.setattr(module, "_formulas", lambda: "another digest")
    run_cases(CASES, 20, 1, finished)
    assert len(ran) == 6


def test_the_digest_of_the_formulas_holds_every_file_of_the_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    monkeypatch.setattr(module, "source_digest", read.extend)
    module._formulas.__wrapped__()
    for file in Path(statistics.__path__[0]).rglob("*.py"):
        assert file.read_text(encoding="utf-8") in read, file
    for draw in (answers, cases, families, sums):
        assert Path(draw.__file__).read_text(encoding="utf-8") in read


def test_a_stopped_calibration_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, original = FinishedCases(tmp_path), Case.run

    def stopped(case: Case, studies: int) -> Rates:
        if case == CASES[1]:
            raise KeyboardInterrupt
        return original(case, studies)

    monkeypatch.setattr(Case, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_cases(CASES, 20, 1, finished)
    assert finished.find(CASES[0], 20) is not None and finished.find(CASES[1], 20) is None


def test_processes_give_the_results_of_one_process(tmp_path: Path) -> None:
    one = run_cases(CASES, 20, 1, FinishedCases(tmp_path / "one"))
    assert shown(run_cases(CASES, 20, 2, FinishedCases(tmp_path / "two"))) == shown(one)


def test_a_case_that_breaks_in_a_process_is_one_sentence(tmp_path: Path) -> None:
    broken = Case(dataclasses.replace(SHAPE, seeds=-1))
    with pytest.raises(FusionBenchError, match="a simulated case ended with ValueError"):
        run_cases([broken], 20, 2, FinishedCases(tmp_path))

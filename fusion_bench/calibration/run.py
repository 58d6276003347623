"""Runs cases in processes and keeps every finished one, so that a stopped calibration goes on where it was."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from multiprocessing import get_context
from pathlib import Path

from fusion_bench.calibration.cases import Case, CaseResult
from fusion_bench.cells.source_digest import source_digest
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.statistics.rates import Rates
from fusion_bench.storage import write_json

_DRAWS = ("answers.py", "cases.py", "families.py", "sums.py")


class FinishedCases:
    """The finished cases in one folder, one small file each.

    A case counts as finished only if it was drawn with the same number of studies and by the same code: the file is
    named by both.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, case: Case, studies: int) -> CaseResult | None:
        """Return the result of a finished case; None if it is not finished, or its file is damaged."""
        file = self._file(case, studies)
        try:
            return CaseResult(case, Rates(**json.loads(file.read_text(encoding="utf-8"))))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def keep(self, result: CaseResult) -> None:
        """Write the result of a case."""
        write_json(
            self._file(result.case, result.rates.studies),
            {name: getattr(result.rates, name) for name in Rates.__dataclass_fields__},
        )

    def _file(self, case: Case, studies: int) -> Path:
        return self._folder / f"{case.key()}_{studies}_{_formulas()}.json"


def run_cases(
    cases: Sequence[Case],
    studies: int,
    workers: int,
    finished: FinishedCases,
    notify: Notify = say_nothing,
) -> tuple[CaseResult, ...]:
    """Return the results of all cases, in their order.

    Args:
        cases: the cases.
        studies: the number of simulated studies of each; see `Case.studies`.
        workers: the number of processes.
        finished: where finished cases are kept.
        notify: is told how many cases are finished.

    Raises:
        FusionBenchError: a process died.
    """
    found = {
        case: result for case in cases if (result := finished.find(case, case.studies(studies))) is not None
    }
    waiting = [case for case in cases if case not in found]
    notify("simulating cases", len(found), len(cases))
    for case, rates in _rates_of(waiting, studies, workers):
        found[case] = CaseResult(case, rates)
        finished.keep(found[case])
        notify("simulating cases", len(found), len(cases))
    return tuple(found[case] for case in cases)


def _rates_of(cases: Sequence[Case], studies: int, workers: int) -> Iterator[tuple[Case, Rates]]:
    """Yield the rates of each case as it ends; in this process with one worker."""
    if workers == 1:
        yield from ((case, case.run(case.studies(studies))) for case in cases)
        return
    with _processes(workers) as pool:
        running = {pool.submit(case.run, case.studies(studies)): case for case in cases}
        for future in as_completed(running):
            if (error := future.exception()) is not None:
                raise FusionBenchError(
                    f"a simulated case ended with {type(error).__name__}: {error}"
                ) from error
            yield running[future], future.result()


@contextmanager
def _processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield processes; whatever ends the block cancels the cases that wait."""
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_end_silently_on_interrupt
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_silently_on_interrupt() -> None:
    """Let Ctrl-C end a process without a traceback; the command itself says what happened."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@cache
def _formulas() -> str:
    """Return the digest of the code that a result depends on; comments do not count."""
    draws = [resources.files("fusion_bench.calibration") / name for name in _DRAWS]
    files = [*_python_files(resources.files("fusion_bench.statistics")), *draws]
    return source_digest(file.read_text(encoding="utf-8") for file in files)


def _python_files(folder: Traversable) -> Iterator[Traversable]:
    """Yield the Python files of a package and of the packages in it, by name."""
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            yield from _python_files(item)
        elif item.name.endswith(".py"):
            yield item

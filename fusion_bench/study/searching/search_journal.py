"""The Optuna journal of the search of one arm: a study ``<study>/<arm>`` with its trials as the search drew them."""

from __future__ import annotations

from pathlib import Path

from fusion_bench.cells.folder import cell_folder
from fusion_bench.study.journal import Journal
from fusion_bench.study.plan import file_name
from fusion_bench.study.searching.search import ArmSearch, FinishedTrial
from fusion_bench.study.trials.details import details_of
from fusion_bench.study.trials.record import Record, TrialDetails


def update_search_journal(search: ArmSearch, name: str, folder: Path, runs: Path, metric: str) -> None:
    """Bring the journal of a search in line with the trials that have ended.

    Args:
        search: the search.
        name: the name of its fusion-bench study.
        folder: the folder of that study.
        runs: the runs folder.
        metric: the selection metric.
    """

    def details(record: Record) -> TrialDetails:
        assert record.number is not None  # noqa: S101 - see _record
        reached = dict(search.finished[record.number].reached) if search.pruned else None
        return details_of(record.cells, runs, metric, reached=reached)

    journal = Journal(
        search_journal_file(folder, search.arm.label),
        f"{name}/{search.arm.label}",
        maximise=search.maximise,
        spaces=search.space,
        details=details,
    )
    records = [_record(number, trial, runs) for number, trial in enumerate(search.finished)]
    journal.update(records, plan=[search.arm.config.id, search.trials, len(search.planned)])


def search_journal_file(folder: Path, label: str) -> Path:
    """Return the journal of the search of an arm in the folder of its study."""
    return folder / "search" / f"{file_name(label)}.log"


def _record(number: int, trial: FinishedTrial, runs: Path) -> Record:
    first = trial.cells[0]
    factors = {name: value for name, value in first.factors.items() if name not in trial.drawn} | {
        **trial.drawn
    }
    failure = _failure(trial, runs) if trial.state == "failed" else None
    value = trial.reached[-1][1] if trial.reached and failure is None else None
    return Record(
        tuple(cell.id for cell in trial.cells),
        tuple(cell.seed for cell in trial.cells),
        factors,
        value,
        failure,
        pruned=trial.state == "pruned",
        number=number,
    )


def _failure(trial: FinishedTrial, runs: Path) -> str:
    reasons = (cell_folder(runs, cell.id).failure for cell in trial.cells)
    return next((reason for reason in reasons if reason is not None), "its value is not finite")

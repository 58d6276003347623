"""What the missing cells of a study will take, from finished cells: time, disk and memory; nothing is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from fusion_bench.cells.folder import CELL_FILES, CellFolder, cell_folder
from fusion_bench.cells.result import Timing
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.study.last_run import LastRun
from fusion_bench.study.plan import PlannedCell
from fusion_bench.study.searching.search_results import ended_trials, make_searches
from fusion_bench.training.config import CellConfig
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True)
class StudyEstimate:
    """What training will take.

    Attributes:
        cells: number of cells to train: missing ones, and trials of a search that are not done.
        stale: number of stale cells, which a run trains only with ``--retry-stale``; no other field counts them.
        seconds: of one worker that trains them one after another, without making data and cached maps; None if no
            finished cell tells.
        measured: number of finished cells that the estimate comes from.
        from_others: number of cells to train whose arm has no finished cell; they count with the mean of all arms.
        disk_bytes: what their folders will hold; None if no finished cell tells.
        worker_bytes: the most memory that one of these finished cells needed, without mapped files; None if none
            tells.
        gpu_bytes: the same on a GPU; None on a CPU.
    """

    cells: int
    stale: int
    seconds: float | None
    measured: int
    from_others: int
    disk_bytes: float | None = None
    worker_bytes: int | None = None
    gpu_bytes: int | None = None


@dataclass(frozen=True)
class _Taken:
    """What one finished cell took."""

    timing: Timing
    disk_bytes: int


def estimate_rest(
    study: Study, statuses: Sequence[CellStatus], last: LastRun | None, paths: RunPaths
) -> StudyEstimate:
    """Return what the cells that a run would train take.

    It comes from cells of this study and of its last run with the same data and number of epochs, whether or not
    their results still count.

    Args:
        study: the study.
        statuses: the states of its cells.
        last: its last run; None if it never ran.
        paths: where its cells lie.
    """
    todo = [(status.cell.arm, 1.0) for status in statuses if status.state == "missing"]
    todo += _open_trials(study, last, paths)
    stale = sum(status.state == "stale" for status in statuses)
    if not todo:
        return StudyEstimate(0, stale, 0.0, 0, 0)
    taken = _taken_by_arm([status.cell for status in statuses], last, paths)
    known = [cell for cells in taken.values() for cell in cells]
    if not known:
        return StudyEstimate(len(todo), stale, None, 0, len(todo))
    alike = [(share, taken.get(arm) or known) for arm, share in todo]
    return StudyEstimate(
        len(todo),
        stale,
        sum(share * mean(cell.timing.seconds for cell in cells) for share, cells in alike),
        len(known),
        sum(arm not in taken for arm, _ in todo),
        sum(mean(cell.disk_bytes for cell in cells) for _, cells in alike),
        max(cell.timing.peak_bytes for cell in known) or None,
        max(cell.timing.peak_gpu_bytes for cell in known) or None,
    )


def _open_trials(study: Study, last: LastRun | None, paths: RunPaths) -> list[tuple[str, float]]:
    """Return the arm of each cell of the search that has no result yet, and its share of a full training."""
    if study.search is None:
        return []
    # Without a last run, its cells may have been imported.
    ended = ended_trials(study, paths) if last is None else _ended_in(last, paths)
    todo: list[tuple[str, float]] = []
    for search in make_searches(study, maximise=True):
        label, full = search.arm.label, search.arm.config.train.epochs
        rest = search.planned[ended.get(label, 0) :]
        todo += [(label, epochs / full if full else 1.0) for epochs in rest]
    return todo


def _ended_in(last: LastRun, paths: RunPaths) -> Mapping[str, int]:
    """Return how many search cells of the last run have ended, by arm label."""
    folders = [(row.arm, cell_folder(paths.runs, row.cell)) for row in last.cells if row.purpose == "search"]
    return Counter(arm for arm, folder in folders if folder.done or folder.failure is not None)


def _taken_by_arm(
    cells: Sequence[PlannedCell], last: LastRun | None, paths: RunPaths
) -> Mapping[str, Sequence[_Taken]]:
    """Return what the finished cells of each arm took."""
    own = {(cell.arm, cell.id): cell.config for cell in cells}
    configs = {cell.arm: cell.config for cell in cells}
    folders = {(arm, cell_id): cell_folder(paths.runs, cell_id) for arm, cell_id in own}
    for row in [] if last is None else last.cells:
        folder = cell_folder(paths.runs, row.cell)
        if row.arm in configs and (row.arm, row.cell) not in own and _costs_alike(folder, configs[row.arm]):
            folders[row.arm, row.cell] = folder
    found: dict[str, list[_Taken]] = {}
    for (arm, _), folder in folders.items():
        if (cell := folder.if_done(_taken)) is not None:
            found.setdefault(arm, []).append(cell)
    return found


def _taken(folder: CellFolder) -> _Taken:
    sizes = [file.stat().st_size for name in CELL_FILES if (file := folder.path / name).exists()]
    return _Taken(folder.timing(), sum(sizes))


def _costs_alike(folder: CellFolder, config: CellConfig) -> bool:
    """Return True for a finished cell on the same data with the same number of epochs and batch size."""
    if not folder.done:
        return False
    try:
        then = folder.config()
    except FusionBenchError:
        return False
    same_length = (then.train.epochs, then.train.batch_size) == (config.train.epochs, config.train.batch_size)
    return same_length and then.data == config.data

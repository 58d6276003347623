"""Makes what the cells of a study need before they train: data, weights and cached maps."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_bench.cells.events import CellFailed, CellPreparing
from fusion_bench.cells.executors.executor import Executor
from fusion_bench.errors import FusionBenchError
from fusion_bench.study.observer import Observer, RunPreparing
from fusion_bench.study.plan import PlannedCell
from fusion_bench.training.cell_data import cell_data_key


def prepare_cells(cells: Sequence[PlannedCell], executor: Executor, observer: Observer) -> None:
    """Make the data, weights and cached maps of cells, once for each kind; the observer is told the counts.

    Raises:
        FusionBenchError: something cannot be made or read.
    """
    firsts = {cell_data_key(cell.config, shared=True): cell.id for cell in reversed(cells)}
    observer.notify(RunPreparing("making data, weights and cached maps"))
    for event in executor.prepare(list(firsts.values()), [cell.id for cell in cells]):
        if isinstance(event, CellPreparing):
            observer.notify(RunPreparing(event.what, event.done, event.total))
        if isinstance(event, CellFailed):
            raise FusionBenchError(event.reason)

"""Export of cells to other machines, and import of what they trained there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.warm_start import source_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.storage import write_text
from fusion_bench.study.plan import PlannedCell, write_configs

_HOW = """Each folder under cells/ is one cell. On a machine with torch, timm, pandas, pyarrow and
safetensors, from a checkout of fusion-bench (nothing needs to be installed):

    export PYTHONPATH=.:modules OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=PASSIVE
    for cell in EXPORT/cells/*/; do python -m fusion_bench.study.cell "$cell"; done

Data sets that are not built in: add --data NAME=FOLDER, or set FUSION_BENCH_DATA_<NAME>.
Bring the folder back and run: fusion-bench cells import EXPORT
"""


def export_cells(cells: Sequence[PlannedCell], folder: Path, runs: Path) -> int:
    """Write ``folder/cells/<id>/config.json`` for each cell and how to run them; return how many there are.

    The finished cell that a cell warm-starts from (`CellConfig.source`) is copied whole from ``runs``.

    Raises:
        FusionBenchError: the cell that one starts from is not trained, or did not keep its weights.
    """
    found = (source_folder(cell.config, runs) for cell in cells)
    sources = {source.id: source for source in found if source is not None}
    write_configs(cells, folder)
    for source in sources.values():
        _copy(source, cell_folder(folder, source.id))
    threads = cells[0].config.threads if cells else 1
    write_text(folder / "HOW_TO_RUN.txt", _HOW.format(threads=threads))
    return len(cells)


@dataclass(frozen=True)
class Imported:
    """Ids of the cells in an export: copied now, already here, and not finished."""

    taken: tuple[str, ...]
    already_here: tuple[str, ...]
    unfinished: tuple[str, ...]


def import_cells(source: Path, runs: Path) -> Imported:
    """Copy finished cells from ``source/cells`` into ``runs/cells``; cells that are here already are kept.

    Raises:
        FusionBenchError: ``source`` holds no cells, or a cell is damaged, in the wrong folder, or being trained here
            right now; the cells before it are copied.
    """
    if not (source / "cells").is_dir():
        raise FusionBenchError(f"{source} has no folder 'cells'; name the folder that was exported")
    taken, here, unfinished = [], [], []
    for path in sorted(path for path in (source / "cells").iterdir() if path.is_dir()):
        given, own = CellFolder(path), cell_folder(runs, path.name)
        if own.done:
            here.append(given.id)
        elif not given.done:
            unfinished.append(given.id)
        else:
            given.config()
            given.outcome()
            try:
                _copy(given, own)
            except filelock.Timeout as error:
                raise FusionBenchError(
                    f"the cell {own.id} is being trained here right now; wait for that run, then import again"
                ) from error
            taken.append(given.id)
    return Imported(tuple(taken), tuple(here), tuple(unfinished))


def _copy(given: CellFolder, own: CellFolder) -> None:
    own.path.mkdir(parents=True, exist_ok=True)
    with own.claim():
        # DONE is copied last: an interrupted import leaves a cell that is not done.
        files = sorted(
            (path for path in given.path.iterdir() if path.is_file()), key=lambda p: p.name == "DONE"
        )
        for file in files:
            if file.name not in {"lock", "failed.json"}:
                part = own.path / f".{file.name}.part"
                shutil.copyfile(file, part)
                part.replace(own.path / file.name)

"""Cells on other machines: an export is a runs folder of unanswered cells, an import takes answers home."""

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
from fusion_bench.study.plan import PlannedCell, ask_all

_HOW = """Each folder under cells/ is one cell. On a machine with torch, timm, pandas, pyarrow and
safetensors, from a checkout of fusion-bench (nothing needs to be installed):

    export PYTHONPATH=.:modules OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=PASSIVE
    for cell in EXPORT/cells/*/; do python -m fusion_bench.study.cell "$cell"; done

Data sets that are not built in: add --data NAME=FOLDER, or set FUSION_BENCH_DATA_<NAME>.
Bring the folder back and run: fusion-bench cells import EXPORT
"""


def export_cells(cells: Sequence[PlannedCell], folder: Path, runs: Path) -> int:
    """Write ``folder/cells/<id>/config.json`` for each cell, and how to run them; returns how many.

    What a cell starts from (`CellConfig.source`) is finished and goes along whole, out of ``runs``.

    Raises:
        FusionBenchError: a cell starts from one that is not trained, or kept no weights.
    """
    found = (source_folder(cell.config, runs) for cell in cells)
    sources = {source.id: source for source in found if source is not None}
    ask_all(cells, folder)
    for source in sources.values():
        _copy(source, cell_folder(folder, source.id))
    threads = cells[0].config.threads if cells else 1
    write_text(folder / "HOW_TO_RUN.txt", _HOW.format(threads=threads))
    return len(cells)


@dataclass(frozen=True)
class Imported:
    """Cell ids by what became of them."""

    taken: tuple[str, ...]
    already_here: tuple[str, ...]
    unfinished: tuple[str, ...]


def import_cells(source: Path, runs: Path) -> Imported:
    """Copy finished cells from ``source/cells`` into ``runs/cells``; what is already here stays.

    Raises:
        FusionBenchError: ``source`` holds no cells, or one of them is damaged, in the wrong folder, or being
            trained here right now; those before it are taken.
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
        # DONE goes last here too: an interrupted import leaves a cell that is not done.
        files = sorted(
            (path for path in given.path.iterdir() if path.is_file()), key=lambda p: p.name == "DONE"
        )
        for file in files:
            if file.name not in {"lock", "failed.json"}:
                part = own.path / f".{file.name}.part"
                shutil.copyfile(file, part)
                part.replace(own.path / file.name)

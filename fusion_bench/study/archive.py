"""Export of cells to other machines, and import of what they trained there."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fusion_bench.cells.check_outcome import check_outcome
from fusion_bench.cells.folder import CELL_FILES, CellFolder, cell_folder
from fusion_bench.cells.held_cell import held
from fusion_bench.cells.warm_start import source_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import LeaseHeld
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
    """Take finished cells from ``source/cells`` into ``runs/cells``; cells that are here already are kept.

    A bundle may come from a stranger. Only regular files with the names of a cell's files are read; they are copied
    aside, the copy is checked whole, and then it is put into place. Nothing in the bundle is imported or run.

    Raises:
        FusionBenchError: ``source`` holds no cells, or a cell holds a link or a device, is damaged, is in the wrong
            folder, or is being trained here right now; the cells before it are taken.
    """
    cells = source / "cells"
    if cells.is_symlink() or not cells.is_dir():
        raise FusionBenchError(f"{source} has no folder 'cells'; name the folder that was exported")
    taken, here, unfinished = [], [], []
    runs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=runs, prefix=".import-") as aside:
        for path in sorted(cells.iterdir()):
            try:
                if path.is_symlink():
                    raise FusionBenchError(f"{path} {_NOT_PLAIN}")
                if not path.is_dir():
                    continue
                own = cell_folder(runs, path.name)
                if own.done:
                    here.append(own.id)
                elif not plain_files(path).get("DONE"):
                    unfinished.append(own.id)
                else:
                    put_in_place(checked_copy(path, Path(aside) / path.name), own)
                    taken.append(own.id)
            except LeaseHeld as error:
                raise FusionBenchError(
                    f"the cell {own.id} is being trained here right now; wait for that run, then import again "
                    f"({len(taken)} cells before it are imported)"
                ) from error
            except FusionBenchError as error:
                raise FusionBenchError(f"{error} ({len(taken)} cells before it are imported)") from error
    return Imported(tuple(taken), tuple(here), tuple(unfinished))


_NOT_PLAIN = (
    "is a link or a device; a bundle holds folders and files only, so nothing is taken from this cell"
)


def plain_files(folder: Path) -> dict[str, Path]:
    """Return the regular files of a cell's folder by name; inner folders hold replaced outcomes and do not count.

    Raises:
        FusionBenchError: there is a link, device, pipe or socket.
    """
    files = {}
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise FusionBenchError(f"{path} {_NOT_PLAIN}")
        if stat.S_ISREG(mode):
            files[path.name] = path
    return files


def checked_copy(given: Path, copy: Path) -> CellFolder:
    """Copy the files of a finished cell and check the copy.

    Raises:
        FusionBenchError: a file is a link or device, missing, damaged or of the wrong shape.
    """
    copy.mkdir()
    for name, path in plain_files(given).items():
        if name in CELL_FILES:
            _copy_file(path, copy / name)
    folder = CellFolder(copy)
    try:
        check_outcome(folder)
    except FusionBenchError as error:
        raise FusionBenchError(str(error).replace(str(copy), str(given))) from error
    return folder


def _copy_file(given: Path, copy: Path) -> None:
    """Copy the bytes of a regular file; the copy has the permissions of a new file, so the umask holds."""
    # The file may have become a link or a pipe since it was looked at.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(given, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FusionBenchError(f"{given} {_NOT_PLAIN}") from error
        raise
    with os.fdopen(descriptor, "rb") as content:
        if not stat.S_ISREG(os.fstat(content.fileno()).st_mode):
            raise FusionBenchError(f"{given} {_NOT_PLAIN}")
        with copy.open("xb") as part:
            shutil.copyfileobj(content, part)


def put_in_place(checked: CellFolder, own: CellFolder) -> None:
    """Copy the files of a checked cell into its folder here.

    Raises:
        LeaseHeld: the cell is being trained here right now.
    """
    with held(own) as cell:
        cell.take(checked)


def _copy(given: CellFolder, own: CellFolder) -> None:
    """Copy a finished cell of this machine's own runs folder."""
    with held(own) as cell:
        cell.take(given)

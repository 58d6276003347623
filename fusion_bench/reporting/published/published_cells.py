"""The finished cells in a published folder, from which another machine goes on with the study.

``cells.parquet`` has one row per cell that is compared, and ``search_cells.parquet`` one per trial of a search: its
id, and the files of its folder but for its answers. The answers of the former are those of ``samples.parquet``, the
answers of the latter stand in ``search_samples.parquet``. Trained weights and predictions without a published truth
are not kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fusion_bench.cells.folder import COLUMNS, CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.published_study import inside, read_published_study
from fusion_bench.reporting.published.published_tables import read_parquet
from fusion_bench.reporting.tables.samples_table import pivot_samples, unpivot_samples
from fusion_bench.results.results import StudyResults
from fusion_bench.results.shared_texts import as_texts
from fusion_bench.spec.contexts import report_folder
from fusion_bench.spec.study import Study
from fusion_bench.storage import replacing
from fusion_bench.study.archive import Imported, import_cells
from fusion_bench.study.last_run import RunCell, read_last_run
from fusion_bench.study.run import study_folder
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.splits import task_class

CELLS_FILE = "cells.parquet"
SEARCH_CELLS_FILE = "search_cells.parquet"
SEARCH_SAMPLES_FILE = "search_samples.parquet"
_TEXTS = ("config.json", "result.json", "timing.json", "provenance.json")
_CURVES = "curves.parquet"
_ID = re.compile(r"[0-9a-f]{8,64}")


def save_cells(results: StudyResults, runs: Path, folder: Path) -> None:
    """Write ``cells.parquet`` of a study, and of each of its contexts, from the folders of its finished cells.

    Args:
        results: what the published folder was made from.
        runs: the runs folder.
        folder: the published folder.
    """
    done = results.cells[results.cells["state"] == "done"]
    named = zip(done["arm"], done["seed"], done["cell"], strict=True)
    rows = [RunCell(str(arm), int(seed), "confirm", str(cell)) for arm, seed, cell in named]
    _write(_table(rows, runs), folder / CELLS_FILE)
    for label, context in results.contexts.items():
        save_cells(context, runs, folder / report_folder(label))


def save_search_cells(study: Study, paths: RunPaths, folder: Path) -> int:
    """Write the finished trials of the last run of a study, whether or not its search is over; return their number.

    Trials that read other data than most of them are left out.
    """
    last = read_last_run(study_folder(paths.runs, study.name))
    rows = (
        [] if last is None or study.search is None else [row for row in last.cells if row.purpose == "search"]
    )
    rows = _on_equal_data([row for row in rows if cell_folder(paths.runs, row.cell).done], paths.runs)
    if not rows:
        for name in (SEARCH_CELLS_FILE, SEARCH_SAMPLES_FILE):
            (folder / name).unlink(missing_ok=True)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for row in rows:
        part = cell_folder(paths.runs, row.cell).outcome().samples
        parts.append(part.assign(arm=row.cell, seed=row.seed))
    samples = pd.concat(parts, ignore_index=True)
    measures = task_class(study.arms[0].config.data).measures
    known = {*COLUMNS["samples.parquet"], *measures, "arm", "seed"}
    slices = [str(name) for name in samples.columns if name not in known]
    _write(pivot_samples(samples, slices, measures), folder / SEARCH_SAMPLES_FILE)
    _write(_table(rows, paths.runs), folder / SEARCH_CELLS_FILE)
    return len(rows)


def import_published(folder: Path, runs: Path) -> Imported:
    """Take the finished cells of a published folder and its contexts into ``runs/cells``.

    They are checked like those of an export (`fusion_bench.study.archive.import_cells`); cells that are here already
    are kept.

    Raises:
        FusionBenchError: the folder holds no cells, or one of its files is damaged or contradicts another.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=runs, prefix=".import-") as bundle:
        if not _unpack_all(folder, Path(bundle)):
            raise FusionBenchError(
                f"{folder} has no folder 'cells', as `fusion-bench plan STUDY --export` writes it, and no "
                f"{CELLS_FILE}, as `fusion-bench report STUDY --publish` writes it; name one of the two"
            )
        return import_cells(Path(bundle), runs)


def _unpack_all(folder: Path, bundle: Path) -> int:
    """Write the folders of all cells of a published folder and return their number."""
    count = 0
    if inside(folder, SEARCH_CELLS_FILE).is_file():
        samples = _Samples.of(folder, SEARCH_SAMPLES_FILE)
        count += _unpack(folder, SEARCH_CELLS_FILE, samples, "cell", bundle)
    if inside(folder, CELLS_FILE).is_file():
        count += _unpack(folder, CELLS_FILE, _Samples.of(folder, "samples.parquet"), "arm", bundle)
        contexts = read_published_study(folder).get("contexts", {})
        count += sum(_unpack_all(inside(folder, report_folder(label)), bundle) for label in contexts)
    return count


@dataclass(frozen=True, eq=False)
class _Samples:
    """The answers of cells, by their label in the table and their seed, with the columns that a cell's file has."""

    tables: Mapping[tuple[str, int], pd.DataFrame]

    @classmethod
    def of(cls, folder: Path, name: str) -> _Samples:
        table = read_parquet(folder, name)
        measures = _measures_of(table)
        samples = unpivot_samples(table, measures)
        last = ["truth", "prediction", "score", *measures]
        columns = [name for name in samples.columns if name not in {"arm", "seed", *last}] + last
        cells = samples.groupby(["arm", "seed"], sort=False)
        return cls({(str(arm), int(str(seed))): as_texts(rows[columns]) for (arm, seed), rows in cells})


def _unpack(folder: Path, name: str, samples: _Samples, label: str, bundle: Path) -> int:
    """Write the folder of each cell of a table and return their number.

    Args:
        folder: the published folder.
        name: the file of the table.
        samples: the answers of its cells.
        label: the column that holds a cell's label in ``samples``.
        bundle: where to write ``cells/<id>``.
    """
    table = read_parquet(folder, name)
    lacking = [
        column for column in ("cell", "arm", "seed", *_TEXTS, _CURVES) if column not in table.column_names
    ]
    if lacking:
        raise FusionBenchError(f"{folder / name} lacks the columns {', '.join(lacking)}")
    rows = table.to_pylist()
    for row in rows:
        if not _ID.fullmatch(str(row["cell"])):
            raise FusionBenchError(f"{folder / name} names a cell {str(row['cell'])[:80]!r}, which is no id")
        own = samples.tables.get((row[label], row["seed"]))
        if own is None:
            raise FusionBenchError(f"{folder} has no samples of the cell {row['cell']}")
        path = bundle / "cells" / row["cell"]
        path.mkdir(parents=True, exist_ok=True)
        for text in _TEXTS:
            (path / text).write_text(str(row[text]), encoding="utf-8")
        (path / _CURVES).write_bytes(row[_CURVES])
        own.to_parquet(path / "samples.parquet", index=False, compression="zstd")
        (path / "DONE").touch()
    return len(rows)


def _table(rows: Sequence[RunCell], runs: Path) -> pa.Table:
    """Return one row per cell: arm, seed, id, and the content of the files of its folder."""
    folders = [cell_folder(runs, row.cell) for row in rows]
    columns: dict[str, pa.Array] = {
        "arm": pa.array([row.arm for row in rows], pa.string()),
        "seed": pa.array([row.seed for row in rows], pa.int64()),
        "cell": pa.array([row.cell for row in rows], pa.string()),
    }
    for name in _TEXTS:
        columns[name] = pa.array([_text(folder, name) for folder in folders], pa.string())
    columns[_CURVES] = pa.array([(folder.path / _CURVES).read_bytes() for folder in folders], pa.binary())
    return pa.table(columns)


def _text(folder: CellFolder, name: str) -> str:
    return (folder.path / name).read_text(encoding="utf-8")


def _on_equal_data(rows: Sequence[RunCell], runs: Path) -> list[RunCell]:
    data = [cell_folder(runs, row.cell).provenance().data for row in rows]
    usual = Counter(data).most_common(1)
    return [row for row, own in zip(rows, data, strict=True) if own == usual[0][0]]


def _measures_of(table: pa.Table) -> list[str]:
    """Return the measures that a table of samples holds: the middle of ``measure/<name>/<arm>/<seed>``."""
    parts = [name.split("/") for name in table.column_names if name.startswith("measure/")]
    return list(dict.fromkeys(part[1] for part in parts))


def _write(table: pa.Table, path: Path) -> None:
    with replacing(path) as part:
        pq.write_table(table, part, compression="zstd", compression_level=19, write_statistics=False)

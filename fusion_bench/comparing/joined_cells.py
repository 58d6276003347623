"""The finished cells of joined reports, so that their report can be compared and imported like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fusion_bench.cells.folder import cell_folder
from fusion_bench.comparing.against import AgainstReport
from fusion_bench.comparing.joined import JoinedReports
from fusion_bench.comparing.origins import OpenedReport, runs_around
from fusion_bench.reporting.published.published_cells import (
    CELLS_FILE,
    cells_table,
    finished_cells,
    save_cells,
    write_cells,
)
from fusion_bench.reporting.published.published_study import inside
from fusion_bench.reporting.published.published_tables import read_parquet
from fusion_bench.spec.contexts import report_folder
from fusion_bench.study.last_run import RunCell


def save_joined_cells(joined: JoinedReports, runs: Path, plan: AgainstReport, folder: Path) -> None:
    """Write ``cells.parquet`` of a study beside a report: the cells of the study, and those that the report holds.

    Where both have a cell of one id with different answers, because the source of its module changed, that of the
    study is kept: a runs folder has one place for it.

    Args:
        joined: the study beside the report.
        runs: the runs folder of the study.
        plan: what it was compared with.
        folder: the folder of the report that shows both; the files of contexts lie below it.
    """
    rows = finished_cells(joined.results)
    trained = {arm for arm, homes in joined.homes.items() if set(homes) != {plan.report.name}}
    own = [row for row in rows if row.arm in trained and cell_folder(runs, row.cell).done]
    here = {row.cell for row in own}
    others = [row for row in rows if row.cell not in here]
    tables = [cells_table(own, runs), _of_report(plan.report, others)]
    write_cells(pa.concat_tables([table for table in tables if len(table)]), folder / CELLS_FILE)
    for label, context in joined.contexts.items():
        save_joined_cells(context, runs, plan.contexts[label], folder / report_folder(label))
    for label in joined.results.contexts.keys() - joined.contexts.keys():
        save_cells(joined.results.contexts[label], runs, folder / report_folder(label))


def _of_report(report: OpenedReport, rows: Sequence[RunCell]) -> pa.Table:
    """Return the cells of a report, under the labels that they have in the joined study; none that it lacks."""
    runs = runs_around(report.folder)
    in_runs = [row for row in rows if runs is not None and cell_folder(runs, row.cell).done]
    if runs is not None and in_runs:
        return cells_table(in_runs, runs)
    if not inside(report.folder, CELLS_FILE).is_file():
        return cells_table([], report.folder)
    table = read_parquet(report.folder, CELLS_FILE)
    labels: Mapping[str, str] = {row.cell: row.arm for row in rows}
    kept = table.filter(pc.is_in(table["cell"], pa.array([*labels], pa.string())))
    arms = pa.array([labels[cell] for cell in kept["cell"].to_pylist()], pa.string())
    return kept.set_column(kept.column_names.index("arm"), "arm", arms)

"""The MLflow runs of a study, computed from its results: one run per arm, one per cell, one for the report.

The functions here only compute; `fusion_bench.reporting.mlflow_.sync` writes the runs into a store.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.html.page import PAGE
from fusion_bench.reporting.mlflow_.content.arm_runs import arm_note, arm_run, means_so_far, reported_means
from fusion_bench.reporting.mlflow_.content.cell_details import module_text
from fusion_bench.reporting.mlflow_.content.cell_runs import (
    ShownArm,
    ShownCell,
    cell_run,
    details_in,
    ended_cells,
)
from fusion_bench.reporting.mlflow_.content.run_names import primary_metric
from fusion_bench.reporting.mlflow_.content.run_types import MlflowRun, MlflowStudy
from fusion_bench.reporting.mlflow_.experiments import STUDY
from fusion_bench.reporting.tables.markdown_text import escape
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.storage import read_json

_LONGEST_TAG: Final = 8000  # MLflow cuts a longer tag without a message
_LONGEST_EXPERIMENT_TAG: Final = 5000
_SHOWN_FILES: Final = frozenset({".png", ".svg", ".jpg", ".jpeg", ".pdf", ".tex", ".bib"})
_TABLES: Final = ("results.csv", "results.parquet", "samples.parquet")


def mlflow_runs(
    results: StudyResults, report: Path | None, tables: Tables | None = None, runs: Path | None = None
) -> MlflowStudy:
    """Return the MLflow runs of a study.

    Args:
        results: the study.
        report: its ``report.md``, with the page and the figures in the same folder and below; None without a report.
        tables: the numbers of the report; an arm that is not in them, or all if it is None, is shown with means over
            all finished seeds, without intervals.
        runs: the runs folder, whose cells hold settings, samples and more; None without one.

    Raises:
        FusionBenchError: ``report`` is not a file.
    """
    shown = list(ended_cells(results))
    cells = [cell_run(cell, details_in(runs, cell.cell)) for cell in shown]
    arms = [_arm(results, arm, shown, tables, runs) for arm in results.arms]
    text = None
    last: list[MlflowRun] = []
    if report is not None:
        if not report.is_file():
            raise FusionBenchError(f"{report} does not exist; write the report before MLflow shows it")
        text = report.read_text(encoding="utf-8")
        last.append(_report(results, report, text))
    return MlflowStudy(results.name, _experiment_tags(results, text), (*arms, *cells, *last))


def experiment_tags(study: str, primary: str, note: str) -> dict[str, str]:
    """Return the tags of the experiment of a study; ``note`` is its description in Markdown."""
    return {
        STUDY: study,
        "fusion_bench.primary": primary,
        "mlflow.experimentKind": "custom_model_development",  # MLflow asks what it is otherwise
        "mlflow.note.content": note,
    }


def markdown_excerpt(text: str, limit: int, pointer: str) -> str:
    """Return a report without images; if longer than ``limit`` characters, its first paragraphs and ``pointer``."""
    plain = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    plain = re.sub(r"\n{3,}", "\n\n", plain).strip()
    if len(plain) <= limit:
        return plain
    kept = plain[: limit - len(pointer) - 4]
    end = max(kept.rfind("\n\n"), 0) or len(kept)
    shown = kept[:end]
    folded = shown.rfind("<details>")
    if folded > shown.rfind("</details>"):
        shown = shown[:folded].rstrip()  # a fold that does not end would hide the pointer
    return f"{shown}\n\n{pointer}"


def _arm(
    results: StudyResults, arm: ArmSummary, cells: list[ShownCell], tables: Tables | None, runs: Path | None
) -> MlflowRun:
    own = results.cells[results.cells["arm"] == arm.label]
    # A report beside another one gives an arm another label where the two have different cells of it.
    if tables is None or arm.label not in set(tables.means["arm"]):
        metrics = means_so_far(cell for cell in cells if cell.arm.label == arm.label)
    else:
        metrics = reported_means(tables.means, arm.label, (results.primary_split, results.primary))
    texts = {} if runs is None or own.empty else _module(runs, str(own["cell"].iloc[0]))
    return arm_run(
        ShownArm.of(results.name, arm), [str(state) for state in own["state"]], metrics, arm_note(arm), texts
    )


def _module(runs: Path, cell: str) -> dict[str, str]:
    try:
        return module_text(cell_folder(runs, cell).config().arm.target)
    except FusionBenchError:
        return {}


def _report(results: StudyResults, report: Path, text: str) -> MlflowRun:
    folder = report.parent
    figures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SHOWN_FILES)
    own = [report, *(folder / name for name in (PAGE, *_TABLES) if (folder / name).is_file())]
    files = {f"report/{path.relative_to(folder).as_posix()}": path for path in [*own, *figures]}
    study = _study_file(folder.parent)
    if study is not None:
        files[f"study/{study.name}"] = study
    pointer = f"*Shortened; the complete report is the artifact `report/{PAGE}`.*"
    return MlflowRun(
        key="report",
        kind="report",
        name="report",
        parent=None,
        status="FINISHED",
        files=files,
        tags={
            "kind": "report",
            "study": results.name,
            "state": "done",
            "mlflow.note.content": markdown_excerpt(text, _LONGEST_TAG, pointer),
        },
    )


def _study_file(folder: Path) -> Path | None:
    """Return the study file that the plan in the folder of a study names; None if it is not there any more."""
    try:
        file = Path(str(read_json(folder / "plan.json")["file"]))
    except (FusionBenchError, OSError, KeyError, TypeError):
        return None
    return file if file.is_file() else None


def _experiment_tags(results: StudyResults, text: str | None) -> dict[str, str]:
    pointer = f"*Shortened; the complete report is the artifact `report/{PAGE}` of the run `report`.*"
    note = escape(results.title) if text is None else markdown_excerpt(text, _LONGEST_EXPERIMENT_TAG, pointer)
    return experiment_tags(results.name, primary_metric(results), note)

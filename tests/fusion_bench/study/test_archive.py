"""Cells travel to a machine that has neither Optuna nor MLflow nor Pydantic, and their answers travel back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.load import read_study
from fusion_bench.study.archive import export_cells, import_cells
from fusion_bench.study.cell_status import cell_status
from fusion_bench.study.plan import confirm_cells
from fusion_bench.training.paths import RunPaths
from toys import study_file

BARE = """
import sys

ABSENT = {"optuna", "mlflow", "pydantic", "ruamel", "typer", "rich", "scipy", "statsmodels", "seaborn", "matplotlib",
          "sqlalchemy", "transformers"}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Absent())
"""
"""What Python runs first on the bare machine: those packages are not there."""


def bare_environment(tmp_path: Path) -> dict[str, str]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BARE)
    root = Path(__file__).parents[3]
    paths = [site, root, root / "modules", root / "tests" / "support"]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}


@pytest.mark.slow
def test_a_cell_runs_on_a_bare_machine_and_comes_home(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path), ["seeds=[0]", "arms.weaker=null"])
    (cell,) = confirm_cells(study.arms, study.seeds)
    exported = tmp_path / "exported"
    assert export_cells([cell], exported, tmp_path) == 1
    environment = bare_environment(tmp_path)

    gone = subprocess.run(
        [sys.executable, "-c", "import optuna"], env=environment, capture_output=True, text=True, check=False
    )
    assert "No module named 'optuna'" in gone.stderr
    command = [
        sys.executable,
        "-m",
        "fusion_bench.study.cell",
        str(exported / "cells" / cell.id),
        "--device",
        "cpu",
    ]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

    runs = tmp_path / "runs"
    assert import_cells(exported, runs).taken == (cell.id,)
    assert cell_status(cell, RunPaths(runs, {}, {})).state == "done"
    assert import_cells(exported, runs).already_here == (cell.id,)


def test_unfinished_cells_are_named_and_left(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path))
    cells = confirm_cells(study.arms, study.seeds)
    export_cells(cells, tmp_path / "exported", tmp_path)
    found = import_cells(tmp_path / "exported", tmp_path / "runs")
    assert (len(found.taken), len(found.unfinished)) == (0, 4)


def test_a_folder_without_cells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FusionBenchError, match="has no folder 'cells'"):
        import_cells(tmp_path, tmp_path / "runs")


def test_a_cell_in_another_cells_folder_is_refused(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path))
    first, second, *_ = confirm_cells(study.arms, study.seeds)
    export_cells([first, second], tmp_path / "exported", tmp_path)
    cells = tmp_path / "exported" / "cells"
    shutil.copy(cells / first.id / "config.json", cells / second.id / "config.json")
    (cells / second.id / "DONE").touch()
    with pytest.raises(FusionBenchError, match="does not belong in this folder"):
        import_cells(tmp_path / "exported", tmp_path / "runs")

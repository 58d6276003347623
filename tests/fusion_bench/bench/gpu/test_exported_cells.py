"""Exported cells trained by the worker program: one that fails is told, and the others are trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from few_processes import share_workers
from fusion_bench.bench.gpu.exported_cells import main
from fusion_bench.spec.load import read_study
from fusion_bench.study.archive import export_cells, import_cells
from fusion_bench.study.plan import confirm_cells
from toys import study_file


@pytest.mark.slow
def test_a_cell_that_fails_is_told_and_the_others_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "support"), prepend=":")
    share_workers(monkeypatch)
    study = read_study(study_file(tmp_path), ["seeds=[0]", "arms.weaker={module: 'toys:Explodes'}"])
    cells = confirm_cells(study.arms, study.seeds)
    export_cells(cells, tmp_path / "exported", tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    assert main([str(tmp_path / "exported"), str(out), "--device", "cpu"]) == 1
    rows = {row["arm"]: row for row in json.loads((out / "cells.json").read_text())["rows"]}
    assert rows["toys:Product"]["failure"] is None
    assert 0 <= rows["toys:Product"]["selection"]["accuracy"] <= 1
    assert "not finite at step 1" in rows["toys:Explodes"]["failure"]
    assert len(import_cells(tmp_path / "exported", tmp_path / "runs").taken) == 1


def test_a_folder_without_cells_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path), "--device", "cpu"]) == 2
    assert "holds no exported cells; make it with: fusion-bench plan" in capsys.readouterr().err

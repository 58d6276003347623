"""Cells travel to a machine that has neither Optuna nor MLflow nor Pydantic, and their answers travel back."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from bare_machine import bare_environment
from command_line import train
from fusion_bench.cells.folder import CELL_FILES, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.load import read_study
from fusion_bench.storage import read_json, write_json, write_text
from fusion_bench.study.archive import export_cells, import_cells
from fusion_bench.study.cell_status import cell_status
from fusion_bench.study.plan import confirm_cells
from fusion_bench.training.paths import RunPaths
from held_cells import fail_cell
from toys import study_file


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with one finished cell that kept its weights."""
    folder = tmp_path_factory.mktemp("trained")
    result = train(study_file(folder), folder / "runs", "seeds=[0]", "arms.weaker=null")
    (cell,) = result.cells
    save_file({"w": torch.zeros(2)}, cell_folder(folder / "runs", cell.id).path / "model.safetensors")
    return folder / "runs"


@pytest.fixture
def bundle(trained: Path, tmp_path: Path) -> Path:
    """A bundle with that cell."""
    shutil.copytree(trained / "cells", tmp_path / "bundle" / "cells")
    return tmp_path / "bundle"


def cell_in(bundle: Path) -> Path:
    (folder,) = (bundle / "cells").iterdir()
    return folder


def refusal(bundle: Path) -> str:
    """The sentence with which a bundle is refused; nothing of it may be left."""
    runs = bundle.parent / "runs"
    with pytest.raises(FusionBenchError) as refused:
        import_cells(bundle, runs)
    assert list(runs.iterdir()) == []
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_sound_cell_is_taken_whole(bundle: Path, trained: Path, tmp_path: Path) -> None:
    cell = cell_in(bundle)
    (cell / "notes.txt").write_text("not a file of a cell")
    (cell / "replaced" / "0").mkdir(parents=True)
    assert import_cells(bundle, tmp_path / "runs").taken == (cell.name,)
    own = tmp_path / "runs" / "cells" / cell.name
    assert {file.name for file in own.iterdir()} == {*CELL_FILES, "lease.1"} - {"predictions.parquet"}
    for name in CELL_FILES:
        theirs = trained / "cells" / cell.name / name
        assert not theirs.exists() or theirs.read_bytes() == (own / name).read_bytes()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["cells"]


def test_the_umask_holds(bundle: Path, tmp_path: Path) -> None:
    previous = os.umask(0o077)
    try:
        import_cells(bundle, tmp_path / "runs")
        write_text(tmp_path / "text", "")
    finally:
        os.umask(previous)
    files = [tmp_path / "text", *(path for path in (tmp_path / "runs" / "cells").rglob("*.*"))]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize("name", ["result.json", "DONE", "model.safetensors", "notes.txt"])
def test_a_link_in_a_cell_is_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    secret.chmod(0o600)
    (cell_in(bundle) / name).unlink(missing_ok=True)
    (cell_in(bundle) / name).symlink_to(secret)
    assert f"{name} is a link or a device" in refusal(bundle)


def test_a_linked_folder_is_refused(bundle: Path, trained: Path, tmp_path: Path) -> None:
    cell = cell_in(bundle)
    shutil.rmtree(cell)
    cell.symlink_to(trained / "cells" / cell.name, target_is_directory=True)
    assert "is a link or a device" in refusal(bundle)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "cells").symlink_to(trained / "cells", target_is_directory=True)
    with pytest.raises(FusionBenchError, match="has no folder 'cells'"):
        import_cells(outside, tmp_path / "runs")


def test_a_pipe_is_refused_and_not_waited_for(bundle: Path) -> None:
    (cell_in(bundle) / "timing.json").unlink()
    os.mkfifo(cell_in(bundle) / "timing.json")
    assert "timing.json is a link or a device" in refusal(bundle)


def changed(name: str, **values: Any) -> Callable[[Path], object]:
    """Returns what sets keys of a JSON file of a cell."""
    return lambda cell: write_json(cell / name, {**json.loads((cell / name).read_text()), **values})


def better_than_its_samples(cell: Path) -> None:
    result = read_json(cell / "result.json")
    write_json(cell / "result.json", {**result, "metrics": dict.fromkeys(result["metrics"], 0.99)})


def replaced(name: str, text: str) -> Callable[[Path], object]:
    return lambda cell: (cell / name).write_text(text)


def without_column(name: str, column: str) -> Callable[[Path], object]:
    return lambda cell: pd.read_parquet(cell / name).drop(columns=column).to_parquet(cell / name)


def with_column(name: str, column: str, value: Any) -> Callable[[Path], object]:
    return lambda cell: pd.read_parquet(cell / name).assign(**{column: value}).to_parquet(cell / name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("result.json", "{}"), "lacks 'metrics'"),
        (replaced("result.json", "[]"), "must be a mapping"),
        (replaced("result.json", "[" * 100_000), "is not JSON"),
        (changed("result.json", selection={}), "holds no value of the selection metric"),
        (changed("result.json", selection={"other": 0.5}), "holds no value of the selection metric"),
        (changed("result.json", selection=[0.5]), "selection must be a mapping"),
        (changed("result.json", metrics={"val/accuracy": "high"}), "must be of type float"),
        (changed("result.json", metrics={"val/accuracy": float("nan")}), "which is no result"),
        (changed("result.json", metrics={"val/accuracy": 0.5}), "has other splits than result.json"),
        (better_than_its_samples, "contradicts samples.parquet: the mean score on"),
        (changed("result.json", best_epoch=1000), "the best epoch is 1000"),
        (changed("result.json", data_warnings={"shared_image": 3}), "must be a mapping"),
        (changed("result.json", epochs=False), "must be of type int"),
        (replaced("provenance.json", "null"), "must be a mapping"),
        (replaced("timing.json", "{"), "is not JSON"),
        (lambda cell: (cell / "curves.parquet").unlink(), "curves.parquet"),
        (replaced("samples.parquet", "no table"), "is damaged"),
        (without_column("samples.parquet", "score"), "lacks the columns score"),
        (with_column("samples.parquet", "score", "1"), "has a score that is not a number"),
        (with_column("samples.parquet", "score", 2.0), "has a score that is not a number"),
        (with_column("samples.parquet", "sample", None), "has no value in sample"),
        (without_column("curves.parquet", "quantity"), "lacks the columns quantity"),
        (replaced("model.safetensors", "no weights"), "model.safetensors is damaged"),
        (changed("config.json", seed=77), "does not belong in this folder"),
        (changed("config.json", data=3), "must be a mapping"),
        (lambda cell: (cell / "config.json").unlink(), "config.json does not exist"),
    ],
)
def test_a_cell_is_checked_whole_before_it_is_taken(
    change: Callable[[Path], object], said: str, bundle: Path
) -> None:
    change(cell_in(bundle))
    sentence = refusal(bundle)
    assert said in sentence
    assert str(cell_in(bundle)) in sentence or said.startswith("must")
    assert ".import-" not in sentence


def test_cells_before_a_damaged_one_are_taken(bundle: Path, tmp_path: Path) -> None:
    cell = cell_in(bundle)
    shutil.copytree(cell, cell.with_name("f" * 17))
    with pytest.raises(FusionBenchError, match="does not belong in this folder"):
        import_cells(bundle, tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs" / "cells").iterdir()] == [cell.name]


def test_what_an_interrupted_try_left_is_no_part_of_the_imported_cell(bundle: Path, tmp_path: Path) -> None:
    own = tmp_path / "runs" / "cells" / cell_in(bundle).name
    own.mkdir(parents=True)
    for name in ("predictions.parquet", "model.safetensors"):
        (own / name).write_bytes(b"of an earlier try")
        (cell_in(bundle) / name).unlink(missing_ok=True)
    assert len(import_cells(bundle, tmp_path / "runs").taken) == 1
    assert not (own / "predictions.parquet").exists()
    assert not (own / "model.safetensors").exists()


def test_a_failure_here_gives_way_to_the_imported_result(bundle: Path, tmp_path: Path) -> None:
    own = cell_folder(tmp_path / "runs", cell_in(bundle).name)
    own.path.mkdir(parents=True)
    fail_cell(own, "no memory", "")
    import_cells(bundle, tmp_path / "runs")
    assert own.done
    assert own.failure is None
    assert not (own.path / "failed.json").exists()

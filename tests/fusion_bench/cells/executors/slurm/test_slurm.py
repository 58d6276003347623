"""Studies on pilots that are real processes: of submitit, and of a real Slurm where one can start."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from random import Random

import pytest

from command_line import command_line, environment, train
from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import confirm_cells
from kill_pilots import disturbed
from one_node_slurm import OneNodeSlurm, lacking, one_node_slurm
from toys import STUDY, study_file

pytest.importorskip("submitit", reason="the extra slurm is not installed")
pytestmark = [
    pytest.mark.slow,
    # MLflow calls what SQLAlchemy gives up.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[OneNodeSlurm]:
    """A real Slurm; a socket's path must be short."""
    if reason := lacking():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    try:
        with one_node_slurm(folder, largest_array=2) as started:
            monkeypatch.setenv("SLURM_CONF", started.environment["SLURM_CONF"])
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def results(file: Path, runs: Path) -> dict[str, bytes]:
    study = read_study(file, ())
    cells = confirm_cells(study.arms, study.seeds)
    return {cell.id: (cell_folder(runs, cell.id).path / "result.json").read_bytes() for cell in cells}


def wait_until(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + 120
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.2)


def test_a_real_slurm_runs_a_study_on_arrays_of_the_size_that_it_allows(
    slurm: OneNodeSlurm, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)
    runs, cli = tmp_path / "runs", command_line(capsys)
    # Modules of this project: cells of others have a process each, which takes long to start.
    own = {"toys:MeanText": "gru", '"toys:Product"': "film", "gain: 0.5": "coordinates: false"}
    file = study_file(tmp_path, reduce(lambda text, change: text.replace(*change), own.items(), STUDY))
    options = ("--executor", "slurm", "--workers", 3, "--slurm", "time=10")
    said = cli("run", file, "--runs", runs, *options)
    assert said.code == 0, said
    assert said.out.rstrip().endswith("4 of 4 cells done")
    train(file, tmp_path / "here")
    assert results(file, runs) == results(file, tmp_path / "here")
    scripts = [script.read_text() for script in runs.glob("studies/toy/slurm/*/pilots/*_submission.sh")]
    assert sorted("--array=0-1%2" in script for script in scripts) == [False, True]
    wait_until(lambda: not slurm.jobs())


def test_the_end_of_a_pilot_and_of_a_coordinator_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    kills = [("pilot", "KILL"), ("coordinator", "KILL")]
    chance = Random(0)  # noqa: S311
    run, problems = disturbed(tmp_path, kills, cells=8, pilots=1, chance=chance, pause=(0.2, 1.0))
    assert problems == []
    assert run.done == {"pilot KILL": 1, "coordinator KILL": 1}
    assert run.starts == 2

"""Hostile modules: whatever they do, the cells of other arms have the bytes that they have without them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from command_line import command_line, environment, finished
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import PlannedCell, confirm_cells
from fusion_bench.study.run import RunOptions, StudyRun, study_folder
from fusion_bench.training.paths import RunPaths
from toys import study_file

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

STUDY = """
version: 1
name: hostile
data: {name: "toys:Squares", image_size: [32, 32], images: 12}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: gru, embedding: 8, hidden: 8}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 2, batch_size: 16, learning_rate: 0.01}
controls: false
arms:
HOSTILE  film: {module: film}
seeds: [0]
reference: film
"""
CELL_FILES = ("config.json", "result.json", "samples.parquet", "curves.parquet", "DONE")
HARMLESS_TO_SELF = ("ChangesSeeds", "ChangesProcess")
"""Hostile modules whose own cells end with a result."""


def study_with(folder: Path, *hostile: str) -> Path:
    """Write a study whose hostile arms are trained before ``film``."""
    arms = "".join(f'  {name}: {{module: "hostile:{name}"}}\n' for name in hostile)
    return study_file(folder, STUDY.replace("HOSTILE", arms), "hostile.yaml")


def run(file: Path, runs: Path, *, workers: int) -> tuple[PlannedCell, ...]:
    """Train a study in this process, or by workers, and return its cells."""
    study, paths = read_study(file), RunPaths(runs, {}, {})
    settings = WorkerSettings(paths, workers, threads=1)
    logs = study_folder(runs, study.name) / "logs"
    make = (lambda: LocalExecutor(settings, logs)) if workers else (lambda: InlineExecutor(settings))
    return StudyRun(study, paths, make, SilentObserver(), RunOptions()).run().cells


def bytes_of(cell: PlannedCell, runs: Path) -> dict[str, bytes]:
    """Return every deterministic byte of a cell."""
    folder = cell_folder(runs, cell.id).path
    return {name: (folder / name).read_bytes() for name in CELL_FILES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder in which ``film`` alone was trained."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(study_with(folder), folder / "runs", workers=0)
    return folder / "runs"


@pytest.fixture
def runs(undisturbed: Path, tmp_path: Path) -> Path:
    """A runs folder without cells, with the data and maps of the undisturbed one."""
    shutil.copytree(undisturbed / "cache", tmp_path / "runs" / "cache")
    return tmp_path / "runs"


@pytest.mark.parametrize(
    "hostile",
    [
        ("ChangesTorch",),
        ("ChangesSeeds", "ChangesProcess"),
        ("NanInEvaluation", "InfiniteForTheLast"),
        ("Leaves", "ChangesTorch", "RaisesSurrogates"),
    ],
)
def test_in_one_process_a_hostile_module_changes_no_byte_of_the_next_cell(
    hostile: tuple[str, ...], undisturbed: Path, runs: Path, tmp_path: Path
) -> None:
    *bad, film = run(study_with(tmp_path, *hostile), runs, workers=0)
    assert bytes_of(film, runs) == bytes_of(film, undisturbed)
    ended = {cell.arm: cell_folder(runs, cell.id) for cell in bad}
    for arm, folder in ended.items():
        assert folder.done == (arm in HARMLESS_TO_SELF), arm
    if "Leaves" in ended:
        assert ended["Leaves"].failure == "it called sys.exit(3)"


@pytest.mark.slow
def test_workers_keep_a_module_that_replaces_functions_of_torch_to_itself(
    undisturbed: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.setattr(LocalExecutor, "measure", lambda *_: iter(()))  # a process for each arm
    hostile = ("PatchesTorch", "Floods", "Kills")
    *_, kills, film = run(study_with(tmp_path, *hostile), runs, workers=1)
    assert bytes_of(film, runs) == bytes_of(film, undisturbed)
    assert "its worker died twice with exit code 4" in str(cell_folder(runs, kills.id).failure)
    logs = list((study_folder(runs, "hostile") / "logs").iterdir())
    assert sum(log.stat().st_size for log in logs) < 6 << 20


@pytest.mark.slow
def test_ctrl_c_names_a_cell_that_hangs_and_a_report_tells_what_is_done(
    undisturbed: Path,
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)  # it would outlive the test
    cli = command_line(capsys)
    file = study_with(tmp_path, "Hangs", "EatsMemory")
    hangs, eats, film = confirm_cells(read_study(file).arms, (0,))
    # Where tests run in the background, Ctrl-C comes ignored; at a terminal it does not.
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from fusion_bench.cli.main import main; main()"
    )
    command = [sys.executable, "-c", start, "run", str(file), "--runs", str(runs), "--workers", "2"]
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen([*command, "--device", "cpu"], stdout=out, stderr=err, env=environment())
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not (
            film.id in finished(runs) and cell_folder(runs, eats.id).failure is not None
        ):
            time.sleep(0.1)
        workers = psutil.Process(process.pid).children(recursive=True)
        reported = cli("report", file, "--runs", runs)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    said = (tmp_path / "err").read_text().splitlines()[-1]
    assert said == (
        "stopped while training Hangs seed 0; finished cells are kept, run the command again to continue"
    )
    assert not [
        worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
    ]
    assert reported.code == 0, reported.err
    assert "1 cells have no result yet" in reported.out
    assert "EatsMemory, seed 0: MemoryError; a smaller train.batch_size" in reported.out
    report = (study_folder(runs, "hostile") / "report" / "report.md").read_text()
    assert "film" in report
    assert bytes_of(film, runs) == bytes_of(film, undisturbed)
    assert not cell_folder(runs, hangs.id).done
    assert cell_folder(runs, hangs.id).failure is None

"""A cell whose worker dies in the middle of its training goes on in the next worker, and the run says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import environment
from few_processes import share_workers
from fusion_bench.cells.events import CellTold
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import RunEvent
from fusion_bench.study.run import RunOptions, StudyRun, study_folder
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file

LONG = (
    STUDY.partition("arms:")[0].replace("epochs: 2,", "epochs: 3, CHECKPOINT")
    + 'arms: {restless: {module: "restless_modules:DiesOnce"}}\nseeds: [0]\n'
)


class Listener:
    """An observer that keeps what is told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def notify(self, event: RunEvent) -> None:
        if isinstance(event, CellTold):
            self.sentences.append(event.text)


def trained(folder: Path, text: str, *, workers: int) -> tuple[dict[str, bytes], list[str]]:
    """Train the study's cell by workers, or in this process; return its deterministic files and what was told."""
    runs, listener = folder / "runs", Listener()
    study, paths = read_study(study_file(folder, text)), RunPaths(folder / "runs", {}, {})
    settings = WorkerSettings(paths, 1, threads=1)
    logs = study_folder(runs, study.name) / "logs"
    make = (lambda: LocalExecutor(settings, logs)) if workers else (lambda: InlineExecutor(settings))
    result = StudyRun(study, paths, make, listener, RunOptions()).run()
    (cell,) = result.cells
    path = cell_folder(runs, cell.id).path
    names = ("result.json", "samples.parquet", "curves.parquet", "DONE")
    return {name: (path / name).read_bytes() for name in names}, listener.sentences


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
def test_a_cell_goes_on_in_the_next_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIES_ONCE", str(tmp_path / "died"))
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    share_workers(monkeypatch)
    killed, sentences = trained(
        tmp_path / "killed", LONG.replace("CHECKPOINT", "checkpoint: {minutes: 1.0e-9},"), workers=1
    )
    assert sentences == ["goes on from its checkpoint at step 7"]
    undisturbed, sentences = trained(tmp_path / "undisturbed", LONG.replace("CHECKPOINT", ""), workers=0)
    assert sentences == []
    assert killed == undisturbed

"""Nodes of a Ray cluster that do not see the runs folder: cells are carried there and back, and checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from fake_worker import FakeSettings, fake_settings
from fusion_bench.cells.events import CellFailed, CellFinished, CellStarted, WorkerEvent
from fusion_bench.cells.executors import local
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.on_ray.cluster import Need
from fusion_bench.cells.failure import Failure
from fusion_bench.cells.folder import CELL_FILES, CellFolder, cell_folder
from fusion_bench.cells.held_cell import held
from fusion_bench.serialisation import from_json
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import PlannedCell, confirm_cells, write_configs
from fusion_bench.training.config import CellConfig
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file

pytestmark = pytest.mark.usefixtures("cluster")
OWN_ARM = STUDY.partition("arms:")[0].replace('"toys:MeanText"', "gru, embedding: 8, hidden: 8") + (
    "arms: {film: {module: film}, concat: {module: concat}}\nseeds: [0]\n"
)
COPY = """
import glob, shutil
(node,) = glob.glob("../node/runs/*")
if kind == "cell":
    for file in glob.glob(f"../trained/cells/{cell}/[!l]*"):  # not the lease
        shutil.copy(file, f"{node}/cells/{cell}/")
"""
"""A worker that has trained a cell: it copies the outcome."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_TICK_SECONDS", 0.05)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[PlannedCell, ...]:
    """Train two toy cells in ``tmp_path / "trained"`` in this process."""
    study = read_study(study_file(tmp_path, OWN_ARM), ())
    cells = confirm_cells(study.arms, study.seeds)
    paths = RunPaths(tmp_path / "trained", {}, {})
    write_configs(cells, paths.runs)
    list(InlineExecutor(WorkerSettings(paths, 1, 1)).run([cell.id for cell in cells]))
    return cells


def apart(runs: Path, acts: Sequence[tuple[CellConfig, str]]) -> tuple[FakeSettings, local.WorkerPool]:
    """Return an executor whose nodes do not find the probe file."""
    from fusion_bench.cells.executors.on_ray.executor import (
        RayExecutor,  # it imports ray, not to be done before
    )

    class Apart(RayExecutor):
        def __enter__(self) -> Apart:
            super().__enter__()
            self._probe.unlink()
            return self

    settings = fake_settings(runs, acts)
    if not (runs / "cache").exists():
        (runs / "cache").symlink_to(runs.parent / "trained" / "cache")  # the data, which are compared
    return settings, Apart(settings, runs / "logs", Need(0.5, 0), str(runs.parent / "node"))


def served(executor: local.WorkerPool, cells: Sequence[PlannedCell]) -> list[WorkerEvent]:
    with executor:
        return list(executor.run([cell.id for cell in cells]))


def bytes_of(folder: CellFolder) -> dict[str, bytes]:
    return {name: (folder.path / name).read_bytes() for name in CELL_FILES if (folder.path / name).exists()}


def test_a_finished_cell_comes_back_whole_and_leaves_the_node(
    tmp_path: Path, trained: tuple[PlannedCell, ...]
) -> None:
    runs = tmp_path / "runs"
    die_once = (
        f"{COPY}\nif kind == 'cell' and attempt == 2: os.kill(os.getppid(), signal.SIGKILL); sys.stdin.read()"
    )
    settings, executor = apart(runs, [(trained[0].config, die_once), (trained[1].config, COPY)])
    events = served(executor, trained)
    assert {event.cell for event in events if isinstance(event, CellFinished)} == {
        cell.id for cell in trained
    }
    for cell in trained:
        assert bytes_of(cell_folder(runs, cell.id)) == bytes_of(cell_folder(tmp_path / "trained", cell.id))
        assert not cell_folder(runs, cell.id).busy
    assert not list((tmp_path / "node").glob("runs/*/cells/*"))
    assert not list(runs.glob(".*"))
    tries = settings.pids(trained[0].config)
    assert tries[0] == tries[1] != tries[-1]  # the first worker made the data and was lost


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("open(f'{node}/cells/{cell}/result.json', 'w').write('{')", "its result from {host}: the cell"),
        ("os.remove(f'{node}/cells/{cell}/samples.parquet')", "its result from {host}: the cell"),
        (
            "file = f'{node}/cells/{cell}/provenance.json'\n"
            '    text = open(file).read().replace(\'"numerics": "\', \'"numerics": "0\')\n'
            "    open(file, 'w').write(text)",
            "the host {host} has not what this one has: the harness's numerics differ",
        ),
        (
            "file = f'{node}/cells/{cell}/provenance.json'\n"
            "    stored = json.load(open(file))\n"
            "    stored['files'] = {name: '0' for name in stored['files']}\n"
            "    json.dump(stored, open(file, 'w'))",
            "the host {host} has not what this one has: the data (its manifest) differ",
        ),
    ],
    ids=["damaged", "incomplete", "other commit", "other data"],
)
def test_a_result_that_is_not_this_study_s_is_not_taken(
    tmp_path: Path, trained: tuple[PlannedCell, ...], damage: str, reason: str
) -> None:
    import socket

    runs, cell = tmp_path / "runs", trained[0]
    _, executor = apart(runs, [(cell.config, f"{COPY}    {damage}\n")])
    *_, failed = served(executor, [cell])
    assert isinstance(failed, CellFailed)
    assert failed.reason.startswith(reason.format(host=socket.gethostname()))
    folder = cell_folder(runs, cell.id)
    assert not folder.done
    assert folder.failure == failed.reason
    assert not folder.busy


def test_other_data_are_refused_before_anything_trains(
    tmp_path: Path, trained: tuple[PlannedCell, ...]
) -> None:
    runs, cell = tmp_path / "runs", trained[0]
    stored = (cell_folder(tmp_path / "trained", cell.id).path / "provenance.json").read_text()
    there = {**json.loads(stored), "numerics": "0"}
    act = (
        "assert kind == 'prepare'\n"
        f"say('CellPrepared', cell=cell, provenance=json.loads({json.dumps(there)!r})); answered = True"
    )
    _, executor = apart(runs, [(cell.config, act)])
    with executor:
        (refused,) = executor.prepare([cell.id])
        assert isinstance(refused, CellFailed)
        *_, failed = executor.run([cell.id])
    assert isinstance(failed, CellFailed)
    assert "the harness's numerics differ" in failed.reason
    assert cell_folder(runs, cell.id).failure == failed.reason


def test_a_failure_comes_back_with_its_details(tmp_path: Path, trained: tuple[PlannedCell, ...]) -> None:
    runs, cell = tmp_path / "runs", trained[0]
    record = json.dumps({"reason": "no luck", "details": "a traceback", "kind": "not_finite"})
    act = (
        "import glob\n(node,) = glob.glob('../node/runs/*')\n"
        "if kind == 'cell':\n"
        f"    open(f'{{node}}/cells/{{cell}}/failed.json', 'w').write({record!r})\n"
        "    say('CellFailed', cell=cell, reason='no luck', kind='not_finite'); answered = True"
    )
    _, executor = apart(runs, [(cell.config, act)])
    assert served(executor, [cell]) == [
        CellStarted(cell.id),
        CellFailed(cell.id, "no luck", kind="not_finite"),
    ]
    stored = json.loads(cell_folder(runs, cell.id).failed.read_text())
    assert from_json(Failure, stored, "failed.json") == Failure("no luck", "a traceback", "not_finite")


def test_data_that_cannot_be_made_on_a_node_fail_its_cells(
    tmp_path: Path, trained: tuple[PlannedCell, ...]
) -> None:
    runs, cell = tmp_path / "runs", trained[0]
    act = "say('CellFailed', cell=cell, reason='the folder of the data set is not known'); answered = True"
    _, executor = apart(runs, [(cell.config, act)])
    assert [type(event) for event in served(executor, [cell])] == [CellStarted, CellFailed]
    assert cell_folder(runs, cell.id).failure == "the folder of the data set is not known"


def test_a_cell_is_held_here_while_a_node_trains_it(tmp_path: Path, trained: tuple[PlannedCell, ...]) -> None:
    runs, (first, second) = tmp_path / "runs", trained
    _, executor = apart(runs, [(cell.config, COPY) for cell in trained])
    busy = []
    with executor:
        for event in executor.run([first.id, second.id]):
            if isinstance(event, CellStarted):
                busy.append(cell_folder(runs, event.cell).busy)
    assert busy == [True, True]
    taken, let_go = threading.Event(), threading.Event()
    cell_folder(runs, second.id).path.joinpath("DONE").unlink()

    def another_study() -> None:
        with held(cell_folder(runs, second.id)):
            taken.set()
            let_go.wait(60)

    other = threading.Thread(target=another_study)
    other.start()
    taken.wait(60)
    threading.Timer(1.0, let_go.set).start()
    _, executor = apart(runs, [(second.config, COPY)])
    assert [type(event) for event in served(executor, [second])] == [CellStarted, CellFinished]
    other.join()

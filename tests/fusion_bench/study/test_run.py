"""Running a study: what is done is kept, whatever happens; arms and workers do not touch each other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from command_line import environment
from few_processes import share_workers
from fusion_bench.cells.events import CellStarted
from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.held_cell import HeldCell
from fusion_bench.errors import FusionBenchError
from fusion_bench.lease import Lease
from fusion_bench.results.collect import collect
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import cell_status
from fusion_bench.study.observer import RunEvent, RunPlanned, RunPreparing, SilentObserver
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.run import RunOptions, RunResult, StudyRun, study_folder
from fusion_bench.training.paths import RunPaths
from held_cells import fail_cell
from toys import STUDY, study_file

CELL_FILES = ("config.json", "result.json", "samples.parquet", "curves.parquet", "DONE")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and cached maps that the runs of this file share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def paths(tmp_path: Path, cache: Path) -> RunPaths:
    """A fresh runs folder whose cache is shared."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "cache").symlink_to(cache)
    return RunPaths(runs, {}, {})


def run(study: Study, paths: RunPaths, **options: bool) -> RunResult:
    """Run a study in this process."""
    settings = WorkerSettings(paths, workers=1, threads=1)
    return StudyRun(
        study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions(**options)
    ).run()


def toy(tmp_path: Path, *overrides: str, text: str = STUDY) -> Study:
    return read_study(study_file(tmp_path, text), overrides)


def contents(paths: RunPaths) -> dict[str, bytes]:
    """Every deterministic byte of every cell, by path."""
    cells = paths.runs / "cells"
    return {
        str(file.relative_to(cells)): file.read_bytes()
        for name in CELL_FILES
        for file in cells.glob(f"*/{name}")
    }


def test_every_cell_is_trained_once_and_judged(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path)
    assert run(study, paths).trained == 4
    again = run(study, paths)
    assert again.trained == 0
    results = collect(study, paths)
    assert set(results.cells["state"]) == {"done"}
    assert set(results.samples["split"]) == {"val", "test"}


class Listener:
    """Keeps every event of a run."""

    def __init__(self) -> None:
        self.heard: list[RunEvent] = []

    def notify(self, event: RunEvent) -> None:
        self.heard.append(event)


def listened(study: Study, paths: RunPaths, make: Callable[[], Executor]) -> list[RunEvent]:
    listener = Listener()
    StudyRun(study, paths, make, listener, RunOptions()).run()
    return listener.heard


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_what_is_prepared_is_counted(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    share_workers(monkeypatch)
    paths = RunPaths(tmp_path / "runs", {}, {})
    settings = WorkerSettings(paths, max(1, workers), threads=1)

    def make() -> Executor:
        return LocalExecutor(settings, tmp_path / "logs") if workers else InlineExecutor(settings)

    study = toy(tmp_path, "seeds=[0]")
    heard = listened(study, paths, make)
    counts = {event.what: event for event in heard if isinstance(event, RunPreparing) and event.total}
    for what in ("reading images", "decoding images", "computing maps"):
        assert counts[what].done == counts[what].total
    assert counts["measuring the cost of arms"].total == len(study.arms)
    first_cell = next(number for number, event in enumerate(heard) if isinstance(event, CellStarted))
    assert RunPreparing("decoding images", 24, 24) in heard[:first_cell]


def test_a_resumed_run_tells_the_metrics_of_the_cells_that_are_done(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path, "seeds=[0]")
    run(study, paths)
    settings = WorkerSettings(paths, 1, threads=1)
    (planned,) = (
        event
        for event in listened(toy(tmp_path, "seeds=[0, 1]"), paths, lambda: InlineExecutor(settings))
        if isinstance(event, RunPlanned)
    )
    done = [item.cell.id for item in planned.cells if item.state == "done"]
    assert len(done) == 2
    assert planned.metric == "accuracy"
    assert planned.selected == {
        cell: cell_folder(paths.runs, cell).result().selection["accuracy"] for cell in done
    }


def test_one_more_seed_trains_only_that_seed(tmp_path: Path, paths: RunPaths) -> None:
    run(toy(tmp_path), paths)
    before = contents(paths)
    assert run(toy(tmp_path, "seeds=[0, 1, 2]"), paths).trained == 2
    after = contents(paths)
    assert before.items() <= after.items()


def test_other_arms_change_no_arms_result(tmp_path: Path, paths: RunPaths) -> None:
    run(toy(tmp_path), paths)
    before = contents(paths)
    shutil.rmtree(paths.runs / "cells")
    reordered = STUDY.replace(
        '  product: {module: "toys:Product"}\n  weaker: {module: "toys:Product", gain: 0.5}\n',
        '  other: {module: "toys:Product", gain: 2.0}\n  weaker: {module: "toys:Product", gain: 0.5}\n'
        '  renamed: {module: "toys:Product"}\n',
    )
    run(toy(tmp_path / "b", text=reordered), paths)
    assert before.items() <= contents(paths).items()


def test_a_failing_arm_does_not_stop_the_others(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path, "arms.bad={module: 'toys:Explodes'}")
    run(study, paths)
    results = collect(study, paths)
    states = results.cells.groupby("arm")["state"].agg(set)
    assert states["bad"] == {"failed"}
    assert states["product"] == states["weaker"] == {"done"}
    reasons = results.cells.loc[results.cells["arm"] == "bad", "reason"]
    assert reasons.str.contains("the loss was not finite at step 1").all()
    assert "bad" not in set(results.values["arm"])


def test_failed_cells_are_tried_again_only_when_asked(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path)
    run(study, paths)
    folder = cell_folder(paths.runs, confirm_cells(study.arms, study.seeds)[0].id)
    (folder.path / "DONE").unlink()
    fail_cell(folder, "the power went", "")
    assert run(study, paths).trained == 0
    assert run(study, paths, retry_failed=True).trained == 1
    assert folder.failure is None


def test_a_cell_folder_without_done_is_trained_again(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path)
    run(study, paths)
    before = contents(paths)
    folder = cell_folder(paths.runs, confirm_cells(study.arms, study.seeds)[0].id)
    (folder.path / "DONE").unlink()
    (folder.path / "result.json").write_text("{")
    left = [
        folder.path / ".samples.parquet.x.part",
        study_folder(paths.runs, study.name) / ".plan.json.x.part",
    ]
    for part in left:
        part.touch()
        os.utime(part, (0, 0))  # of another host, whose locks may not be seen, they stay for a day
    assert run(study, paths).trained == 1
    assert not any(part.exists() for part in left)
    assert contents(paths) == before


def test_two_runs_of_one_study_at_once_are_refused(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path)
    with (
        Lease(study_folder(paths.runs, study.name)),
        pytest.raises(FusionBenchError, match="another run of the study 'toy' is in progress"),
    ):
        run(study, paths)


def test_a_changed_module_makes_its_cells_stale_and_is_trained_anew_when_asked(
    tmp_path: Path, paths: RunPaths
) -> None:
    study = toy(tmp_path)
    run(study, paths)
    cell = confirm_cells(study.arms, study.seeds)[0]
    folder = cell_folder(paths.runs, cell.id)
    provenance = (folder.path / "provenance.json").read_text()
    recorded = folder.provenance().module
    (folder.path / "provenance.json").write_text(provenance.replace(recorded, "0" * 16))
    assert cell_status(cell, paths).state == "stale"
    assert run(study, paths).trained == 0
    results = collect(study, paths)
    stale = results.cells[results.cells["state"] == "stale"]
    assert stale["cell"].tolist() == [cell.id]
    assert stale["reason"].tolist() == ["the module's source changed since it was trained"]
    assert not ((results.samples["arm"] == cell.arm) & (results.samples["seed"] == cell.seed)).any()
    assert run(study, paths, retry_stale=True).trained == 1
    assert cell_status(cell, paths).state == "done"
    assert CellFolder(folder.path / "replaced" / "0").done


def test_cells_of_other_circumstances_are_never_mixed_in(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path)
    run(study, paths)
    cell = confirm_cells(study.arms, study.seeds)[0]
    file = cell_folder(paths.runs, cell.id).path / "provenance.json"
    file.write_text(file.read_text().replace('"device_kind": "cpu"', '"device_kind": "cuda"'))
    cells = collect(study, paths).cells.set_index("cell")
    assert cells.loc[cell.id, "state"] == "stale"
    assert "device_kind cuda" in cells.loc[cell.id, "reason"]


def test_a_deleted_or_damaged_optuna_journal_is_rebuilt(tmp_path: Path, paths: RunPaths) -> None:
    study = toy(tmp_path)
    run(study, paths)
    journal = study_folder(paths.runs, study.name) / "journal.log"

    before = trials(journal)
    assert len(before) == 4
    journal.unlink()
    run(study, paths)
    assert trials(journal) == before
    journal.write_text("not a journal\n")
    run(study, paths)
    assert trials(journal) == before


def trials(journal: Path) -> list[tuple[str, int, str, float | None]]:
    """Return arm, seed, state and value of every trial that Optuna reads from the journal of the toy study."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    found = optuna.load_study(study_name="toy", storage=storage).trials
    return sorted(
        (trial.params["arm"], trial.user_attrs["seed"], trial.state.name, trial.value) for trial in found
    )


def test_the_journal_holds_one_trial_of_a_cell_that_was_trained_again(
    tmp_path: Path, paths: RunPaths
) -> None:
    study = toy(tmp_path)
    run(study, paths)
    journal = study_folder(paths.runs, study.name) / "journal.log"
    before = trials(journal)
    cell = confirm_cells(study.arms, study.seeds)[0]
    folder = cell_folder(paths.runs, cell.id)

    shutil.rmtree(folder.path)
    assert run(study, paths).trained == 1
    assert trials(journal) == before

    provenance = (folder.path / "provenance.json").read_text()
    (folder.path / "provenance.json").write_text(provenance.replace(folder.provenance().module, "0" * 16))
    assert run(study, paths, retry_stale=True).trained == 1
    assert trials(journal) == before

    (folder.path / "DONE").unlink()
    fail_cell(folder, "the power went", "")
    run(study, paths)
    assert [state for arm, seed, state, _ in trials(journal) if (arm, seed) == (cell.arm, cell.seed)] == [
        "FAIL"
    ]
    assert run(study, paths, retry_failed=True).trained == 1
    assert trials(journal) == before


def test_a_full_disk_fails_the_cell_and_loses_nothing(
    tmp_path: Path, paths: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = toy(tmp_path)
    first, *_ = confirm_cells(study.arms, study.seeds)
    finish = HeldCell.finish

    def full(cell: HeldCell, *arguments: object, **named: object) -> None:
        if cell.folder.id == first.id:
            raise OSError(28, "No space left on device")
        finish(cell, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(HeldCell, "finish", full)
    assert run(study, paths).trained == 3
    assert cell_status(first, paths).state == "missing"
    monkeypatch.undo()
    assert run(study, paths).trained == 1


def test_a_search_is_replayed_and_never_looks_at_the_evaluation_split(
    tmp_path: Path, paths: RunPaths
) -> None:
    study = toy(tmp_path, "search={trials: 3, batch: 2, space: {gain: {low: 0.1, high: 4.0}}}", "seeds=[0]")
    ran = run(study, paths)
    searched = [cell_folder(paths.runs, cell.id).outcome() for cell in ran.search.search_cells]
    assert {split for outcome in searched for split in outcome.samples["split"]} == {"val"}
    assert {cell.seed for cell in ran.search.search_cells}.isdisjoint(study.seeds)
    by_arm = {
        arm.label: [cell.drawn["gain"] for cell in ran.search.search_cells if cell.arm == arm.label]
        for arm in study.arms
    }
    assert by_arm["product"] == by_arm["weaker"] or by_arm["weaker"] == []
    again = run(study, paths)
    assert again.trained == 0
    assert again.cells == ran.cells
    best = max(
        (cell for cell in ran.search.search_cells if cell.arm == "product"),
        key=lambda cell: cell_folder(paths.runs, cell.id).result().selection["accuracy"],
    )
    chosen = next(arm for arm in ran.search.arms if arm.label == "product")
    assert chosen.config.arm.settings["gain"] == best.drawn["gain"]
    assert collect(study, paths).arms[0].search_trials == 3

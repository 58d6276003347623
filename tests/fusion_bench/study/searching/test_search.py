"""A search depends on its settings alone: not on workers, interruptions or the order in which cells end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import optuna
import pytest

from command_line import environment
from few_processes import share_workers
from fusion_bench.cells.events import CellFailed, CellFinished, WorkerEvent
from fusion_bench.cells.executors.executor import Executor, WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import HeldCell
from fusion_bench.contract import Choice, Float, Space
from fusion_bench.errors import FusionBenchError
from fusion_bench.results.collect import collect
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.storage import read_json
from fusion_bench.study.cell_status import cell_status
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import PlannedCell, file_name
from fusion_bench.study.run import RunOptions, RunResult, StudyRun, study_folder
from fusion_bench.study.searching.search import ArmSearch
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file, toy_config

GAIN: Mapping[str, Space] = {"gain": Float(0.01, 10.0, log=True)}


def search(space: Mapping[str, Space] = GAIN, *, trials: int = 20, batch: int = 4) -> ArmSearch:
    arm = Arm("product", "reference", "product", toy_config())
    return ArmSearch(arm, space, trials=trials, batch=batch, seeds=(100, 101), maximise=True)


def value(cell: PlannedCell) -> float:
    """A metric whose best gain is 1, a little different for every seed."""
    return -abs(math.log(float(str(cell.drawn["gain"])))) + 0.001 * (cell.seed % 2)


def searched(found: ArmSearch) -> list[tuple[PlannedCell, ...]]:
    """Every batch of a search, told as it goes."""
    batches = []
    while not found.over:
        batches.append(found.ask())
        found.tell({cell.id: value(cell) for cell in batches[-1]})
    return batches


# One arm's search


def test_every_trial_has_all_search_seeds_and_never_sees_the_evaluation_splits() -> None:
    batches = searched(search(trials=6, batch=4))
    assert [len(batch) for batch in batches] == [8, 4]
    cells = [cell for batch in batches for cell in batch]
    assert all(cell.purpose == "search" and not cell.config.evaluate for cell in cells)
    assert [cell.seed for cell in cells] == [100, 101] * 6
    assert all(cell.config.arm.settings["gain"] == cell.drawn["gain"] for cell in cells)


def test_a_search_can_be_replayed() -> None:
    assert searched(search()) == searched(search())


def test_trials_are_told_in_their_own_order_however_their_cells_end() -> None:
    one, other = search(), search()
    while not one.over:
        values = {cell.id: value(cell) for cell in one.ask()}
        assert [cell.id for cell in other.ask()] == list(values)
        one.tell(values)
        other.tell(dict(reversed(values.items())))
    assert one.winner() == other.winner()


def test_the_sampler_learns() -> None:
    found = search(trials=32)
    cells = [cell for batch in searched(found) for cell in batch]
    distances = [-value(cell) for cell in cells[::2]]
    assert sum(distances[-12:]) / 12 < sum(distances[:8]) / 8
    best = found.winner()
    assert best is not None
    assert best[0]["gain"] == min(cells[::2], key=lambda cell: -value(cell)).drawn["gain"]


def test_an_arm_without_a_space_is_not_searched() -> None:
    found = search({})
    assert found.over
    assert found.confirmed() is found.arm


def test_a_trial_fails_if_one_of_its_seeds_does() -> None:
    found = search(trials=4)
    cells = found.ask()
    values: dict[str, float | None] = {cell.id: value(cell) for cell in cells}
    best = max(cells, key=value)
    values[best.id] = None
    found.tell(values)
    chosen = found.winner()
    assert chosen is not None
    assert chosen[0] != best.drawn


def test_equal_trials_are_won_by_the_earlier() -> None:
    found = search({"gain": Choice((0.5, 1.0, 2.0))}, trials=4)
    cells = found.ask()
    found.tell({cell.id: 0.5 for cell in cells})
    best = found.winner()
    assert best is not None
    assert best[0] == cells[0].drawn


def test_listed_values_are_each_tried_once_and_no_more_often() -> None:
    found = search({"gain": Choice((0.5, 1.0, 2.0)), "train.epochs": Choice((1, 2))}, trials=6, batch=4)
    drawn = [dict(cell.drawn) for batch in searched(found) for cell in batch[::2]]
    assert drawn == [{"gain": g, "train.epochs": e} for g in (0.5, 1.0, 2.0) for e in (1, 2)]
    more = search({"gain": Choice((0.5, 1.0, 2.0))}, trials=20)
    assert [cell.drawn["gain"] for batch in searched(more) for cell in batch[::2]] == [0.5, 1.0, 2.0]
    assert more.over
    fewer = search({"gain": Choice((0.5, 1.0, 2.0))}, trials=2)
    assert sum(map(len, searched(fewer))) == 4, "more values than trials are drawn, not gone through"


def test_an_arm_of_which_every_trial_failed_is_abandoned() -> None:
    found = search(trials=4)
    found.tell({cell.id: None for cell in found.ask()})
    assert found.over
    assert found.winner() is None
    assert found.confirmed().abandoned == "each of the 4 trials of its search failed"


# A study's search

SEARCH = """
arms:
  product: {module: "toys:Product"}
  fixed: {module: "toys:Product", gain: 0.5}
  fussy: {module: fussy.py}
seeds: [0]
search:
  trials: 3
  batch: 2
"""

FUSSY = """
from typing import ClassVar
from fusion_bench.contract import Choice
from toys import Product

class Fussy(Product):
    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {"limit": Choice((LIMITS))}

    def __init__(self, visual_dim, language_dim, *, limit: int = 1):
        super().__init__(visual_dim, language_dim)
        self.limit = limit

    def forward(self, visual, language):
        if self.limit > 1:
            raise ValueError(f"not with {self.limit}")
        return super().forward(visual, language)
"""
"""A module that some of its own settings break."""


def searching(folder: Path, limits: str = "1, 2, 3, 4") -> Study:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fussy.py").write_text(FUSSY.replace("LIMITS", limits))
    return read_study(study_file(folder, STUDY.partition("arms:")[0] + SEARCH))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def places_in(folder: Path, cache: Path) -> RunPaths:
    folder.mkdir(parents=True)
    (folder / "cache").symlink_to(cache)
    return RunPaths(folder, {}, {})


class Interrupted(InlineExecutor):
    """Ctrl-C comes after so many cells."""

    def __init__(self, settings: WorkerSettings, after: int) -> None:
        super().__init__(settings)
        self._left = after

    def run(self, cells: Sequence[str]) -> Iterator[WorkerEvent]:
        for event in super().run(cells):
            yield event
            self._left -= isinstance(event, CellFinished | CellFailed)
            if not self._left:
                raise KeyboardInterrupt


def run(study: Study, paths: RunPaths, *, after: int = 0, workers: int = 0, **options: bool) -> RunResult:
    settings = WorkerSettings(paths, workers, threads=1)

    def executor() -> Executor:
        if workers:
            return LocalExecutor(settings, paths.runs / "logs")
        return Interrupted(settings, after) if after else InlineExecutor(settings)

    return StudyRun(study, paths, executor, SilentObserver(), RunOptions(**options)).run()


def outcome(paths: RunPaths) -> dict[str, bytes]:
    """What a search decided, and every deterministic byte of its cells; the folder of the test does not count."""
    files = [study_folder(paths.runs, "toy") / name for name in ("search.json", "plan.json")]
    files += sorted((paths.runs / "cells").glob("*/result.json"))
    here = str(paths.runs.parent).encode()
    return {str(file.relative_to(paths.runs)): file.read_bytes().replace(here, b"") for file in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    paths = places_in(folder / "runs", cache)
    run(searching(folder), paths)
    return outcome(paths)


@pytest.mark.parametrize("after", [1, 4])
def test_an_interrupted_search_goes_on_to_the_same_end(
    tmp_path: Path, cache: Path, undisturbed: dict[str, bytes], after: int
) -> None:
    study, paths = searching(tmp_path), places_in(tmp_path / "runs", cache)
    with pytest.raises(KeyboardInterrupt):
        run(study, paths, after=after)
    run(study, paths)
    assert outcome(paths) == undisturbed


@pytest.mark.slow
def test_two_workers_search_what_one_does(
    tmp_path: Path, cache: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    share_workers(monkeypatch)
    paths = places_in(tmp_path / "runs", cache)
    run(searching(tmp_path), paths, workers=2)
    assert outcome(paths) == undisturbed


def test_a_full_disk_stops_a_search_rather_than_change_it(
    tmp_path: Path, cache: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = searching(tmp_path), places_in(tmp_path / "runs", cache)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(FusionBenchError, match="the search cannot go on"):
        patched.setattr(HeldCell, "finish", full)
        run(study, paths)
    run(study, paths)
    assert outcome(paths) == undisturbed


def test_a_failed_trial_counts_as_failed(tmp_path: Path, cache: Path) -> None:
    study, paths = searching(tmp_path), places_in(tmp_path / "runs", cache)
    ran = run(study, paths)
    trials = [cell for cell in ran.search.search_cells if cell.arm == "fussy"]
    states = {cell_status(cell, paths).state for cell in trials}
    assert states == {"done", "failed"}
    chosen = next(arm for arm in ran.search.arms if arm.label == "fussy")
    assert chosen.config.arm.settings.get("limit", 1) == 1
    journal = study_folder(paths.runs, "toy") / "search" / f"{file_name('fussy')}.log"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    trials_of_fussy = optuna.load_study(study_name="toy/fussy", storage=storage).trials
    assert {trial.user_attrs["cell"]: trial.state.name for trial in trials_of_fussy} == {
        cell.id: "COMPLETE" if cell_status(cell, paths).state == "done" else "FAIL" for cell in trials
    }


def test_a_hopeless_arm_is_told_as_failed_and_stops_nobody(tmp_path: Path, cache: Path) -> None:
    study, paths = searching(tmp_path, limits="2, 3"), places_in(tmp_path / "runs", cache)
    ran = run(study, paths)
    for results in (collect(study, paths), collect(study, paths)):
        states = results.cells.set_index("arm")["state"]
        assert dict(states) == {"product": "done", "fixed": "done", "fussy": "failed"}
        assert results.cells.set_index("arm").loc["fussy", "reason"] == (
            "each of the 2 trials of its search failed"  # there are no more than two values
        )
    (confirm,) = (cell for cell in ran.cells if cell.arm == "fussy")
    assert not cell_folder(paths.runs, confirm.id).done  # settings that nobody chose are not trained
    assert "fussy" not in read_json(study_folder(paths.runs, "toy") / "search.json")
    # Nothing is tried again until that is asked for.
    assert run(study, paths).trained == 0
    assert run(study, paths, retry_failed=True).trained == 0


def test_labels_of_any_length_and_script_are_searched_and_kept_apart(tmp_path: Path, cache: Path) -> None:
    labels = ("\u5377\u79ef" * 42, "gain=" + "0.5, " * 60, "a b", "a_b", "..")
    text = STUDY.partition("arms:")[0] + "seeds: [0]\narms:\n"
    text += "".join(
        f"  {json.dumps(label)}: {{module: 'toys:Product', gain: {2 + number}}}\n"
        for number, label in enumerate(labels)
    )
    text += "search: {trials: 1, space: {train.learning_rate: [0.01]}}\n"
    study, paths = read_study(study_file(tmp_path, text)), places_in(tmp_path / "runs", cache)
    run(study, paths)
    folder = study_folder(paths.runs, "toy") / "search"
    for label in labels:
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(folder / f"{file_name(label)}.log"))
        )
        assert len(optuna.load_study(study_name=f"toy/{label}", storage=storage).trials) == 1
    assert len(list(folder.glob("*.log"))) == len(labels)


def test_values_in_any_spelling_are_trained_in_the_folder_of_their_cell(tmp_path: Path, cache: Path) -> None:
    space = "search: {trials: 2, space: {train.weight_decay: [0, 1e-4]}}\n"
    study = read_study(study_file(tmp_path, f"{STUDY}{space}"))
    paths = places_in(tmp_path / "runs", cache)
    ran = run(study, paths)
    cells = [*ran.search.search_cells, *ran.cells]
    assert all(cell_folder(paths.runs, cell.id).config() == cell.config for cell in cells)
    assert {cell_status(cell, paths).state for cell in cells} == {"done"}
    assert {cell.drawn["train.weight_decay"] for cell in ran.search.search_cells} == {0.0, 1e-4}

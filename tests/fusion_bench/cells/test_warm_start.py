"""Cells that start from another study's cells: what they take from there, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import FusionBenchError, StudyFileError
from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.collect import collect
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.study.archive import export_cells, import_cells
from fusion_bench.study.cell_status import cell_status
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.run import RunOptions, RunResult, StudyRun
from fusion_bench.training.config import CellConfig
from fusion_bench.training.paths import RunPaths
from toys import STUDY, study_file

SECOND = """
extends: toy.yaml
name: second
start: {study: toy.yaml}
data: {name: "toys:Fewer"}
train: {epochs: 1}
"""


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "runs", {}, {})


def studies(folder: Path, second: str = SECOND, *overrides: str) -> tuple[Study, Study]:
    first = read_study(study_file(folder, STUDY))
    return first, read_study(study_file(folder, second, "second.yaml"), overrides)


def run(study: Study, paths: RunPaths, *, keep: bool = False) -> RunResult:
    settings = WorkerSettings(paths, 0, threads=1, keep_weights=keep)
    return StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()


def test_the_source_is_part_of_the_identity_and_goes_by_seed(tmp_path: Path) -> None:
    first, second = studies(tmp_path)
    alone = read_study(study_file(tmp_path, SECOND.replace("start: {study: toy.yaml}", ""), "alone.yaml"))
    sources = {(cell.arm, cell.seed): cell.id for cell in confirm_cells(first.arms, first.seeds)}
    ids = {cell.id for cell in confirm_cells(alone.arms, alone.seeds)}
    for cell in confirm_cells(second.arms, second.seeds):
        assert cell.config.source is not None
        assert cell.config.source.id == sources[cell.arm, cell.seed]
        assert cell.id not in ids
        assert CellConfig.from_json(cell.config.to_json()) == cell.config


def test_without_an_epoch_the_source_is_judged_as_it_is_with_its_own_words_and_answers(
    tmp_path: Path, paths: RunPaths
) -> None:
    first, second = studies(tmp_path, SECOND, "train.epochs=0")
    with pytest.raises(FusionBenchError, match=r"is not trained: run the study .* --keep-weights"):
        run(second, paths)
    run(first, paths, keep=True)
    ran = run(second, paths, keep=True)
    assert ran.trained == 4
    for cell in ran.cells:
        own = cell_folder(paths.runs, cell.id)
        source = cell_folder(paths.runs, cell.config.source.id if cell.config.source else "")
        kept, begun = (load_file(folder.path / "model.safetensors") for folder in (own, source))
        assert all(kept[name].equal(begun[name]) for name in begun)
        # `Fewer` says neither "green" nor "no"; both are known from the source.
        assert own.result().vocabulary == source.result().vocabulary
        assert own.result().outputs == source.result().outputs == 2
        assert own.result().epochs == own.result().best_epoch == 0
    results = collect(second, paths)
    assert dict(results.setup)["Start"].startswith("Every arm starts from the weights")
    assert "evaluated without training" in write_report(results, tmp_path / "report").read_text()


def test_fine_tuning_moves_the_weights_and_goes_stale_with_them(tmp_path: Path, paths: RunPaths) -> None:
    first, second = studies(tmp_path)
    run(first, paths, keep=True)
    cell = run(second, paths, keep=True).cells[0]
    assert cell.config.source is not None
    file = cell_folder(paths.runs, cell.config.source.id).path / "model.safetensors"
    begun = load_file(file)
    kept = load_file(cell_folder(paths.runs, cell.id).path / "model.safetensors")
    assert any(not kept[name].equal(begun[name]) for name in begun)
    assert cell_status(cell, paths).state == "done"
    file.write_bytes(file.read_bytes() + b" ")
    assert cell_status(cell, paths).reason == "the weights that it starts from changed since it was trained"


def test_what_a_cell_starts_from_travels_with_it(tmp_path: Path, paths: RunPaths) -> None:
    first, second = studies(tmp_path)
    cells = confirm_cells(second.arms, second.seeds)
    with pytest.raises(FusionBenchError, match="is not trained: run the study"):
        export_cells(cells, tmp_path / "away", paths.runs)
    run(first, paths, keep=True)
    assert export_cells(cells, tmp_path / "away", paths.runs) == 4
    elsewhere = RunPaths(tmp_path / "away", {}, {})
    assert run(second, elsewhere).trained == 4
    imported = import_cells(elsewhere.runs, paths.runs)
    assert {*imported.taken} == {cell.id for cell in cells}
    assert {*imported.already_here} == {cell.id for cell in confirm_cells(first.arms, first.seeds)}
    assert run(second, paths).trained == 0


def test_a_source_without_weights_is_told_of_before_anything_trains(tmp_path: Path, paths: RunPaths) -> None:
    first, second = studies(tmp_path)
    run(first, paths)
    with pytest.raises(FusionBenchError, match="without keeping its weights"):
        run(second, paths)


def test_the_pretext_backbone_of_a_built_in_source_goes_along_to_any_data_set(tmp_path: Path) -> None:
    read_study(study_file(tmp_path, STUDY.replace("weights: random", "weights: pretext")))
    elsewhere = SECOND.replace("toys:Fewer", "toys:ColourData")
    second = read_study(study_file(tmp_path, elsewhere, "second.yaml"))
    assert all(arm.config.backbone.weights == "pretext" for arm in second.arms if arm.config.backbone)
    with pytest.raises(StudyFileError, match="pretext weights are trained on scenes of a built-in"):
        read_study(study_file(tmp_path, elsewhere.replace("start: {study: toy.yaml}", ""), "second.yaml"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("seeds: [0, 7]", "'toy' has no seed 7; its seeds are 0, 1"),
        ("fusion: {width: 4}", "the arm 'product' of 'toy' differs in fusion, so its weights do not fit"),
        ("arms: {third: {module: 'toys:Product', gain: 0.25}}", "'toy' has no arm 'third'"),
        ("search: {trials: 2}", "a study with a start cannot have a search"),
        ("start: {study: second.yaml}", "a study cannot start from itself"),
        ("start: {study: nowhere.yaml}", "cannot be read"),
        ("start: null\ntrain: {epochs: 0}", "must be at least 1, not 0, unless the study has a start"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, changes: str, message: str) -> None:
    lines = [line for line in SECOND.splitlines() if line.partition(":")[0] != changes.partition(":")[0]]
    if "train" in changes:
        lines = [line for line in lines if not line.startswith("train")]
    with pytest.raises(StudyFileError, match=message):
        studies(tmp_path, "\n".join([*lines, changes]))


def test_an_arm_starts_from_a_seed_that_this_arm_has(tmp_path: Path) -> None:
    arms = "".join(f"  more {gain}: {{module: 'toys:Product', gain: 0.{gain}}}\n" for gain in (6, 7, 8))
    first = STUDY.replace("arms:\n", f"arms:\n{arms}")
    lines = [line for line in first.splitlines() if not line.startswith(("seeds", "reference"))]
    counts = ["seeds: {arms: 2, reference: 3}", "reference: product"]
    study_file(tmp_path, "\n".join([*lines, *counts]))
    same = read_study(study_file(tmp_path, SECOND, "second.yaml"))
    assert same.arm_seeds == 2
    with pytest.raises(StudyFileError, match=r"'toy' has no seed 2 of '.*more 8.*'; its seeds are 0, 1"):
        read_study(study_file(tmp_path, f"{SECOND}seeds: 3\n", "second.yaml"))

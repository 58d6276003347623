"""Studies of tasks that find something in the picture, from the file to the published report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.errors import StudyFileError
from fusion_bench.reporting.published.publish import load
from fusion_bench.reporting.report.report import write_report
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.collect import collect
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.load import read_study
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.paths import RunPaths
from toys import study_file

REFERRING = """
version: 1
name: finding
title: Where is it?
data: {name: "referring_toys:ColouredSquares", image_size: [32, 32], images: 8}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: "toys:MeanText"}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 2, batch_size: 8, learning_rate: 0.01}
arms:
  product: {module: "toys:Product"}
controls: [late_concat]
seeds: [0, 1]
"""


def collected(folder: Path, task: str) -> StudyResults:
    study = read_study(study_file(folder, REFERRING), [f"data.task={task}"])
    paths = RunPaths(folder / "runs", {}, {})
    settings = WorkerSettings(paths, 0, threads=1)
    ran = StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    assert ran.trained == 4
    return collect(study, paths)


@pytest.mark.parametrize("head", ["dense", "laconvnet"])
@pytest.mark.parametrize("task", ["grounding", "segmentation"])
def test_a_module_without_numbers_in_evaluation_has_no_result(tmp_path: Path, task: str, head: str) -> None:
    head = "conv" if (task, head) == ("segmentation", "dense") else head
    overrides = [f"data.task={task}", f"head.kind={head}", "arms.product.module='hostile:NanInEvaluation'"]
    study = read_study(study_file(tmp_path, REFERRING), [*overrides, "controls=false", "seeds=[0]"])
    paths = RunPaths(tmp_path / "runs", {}, {})
    settings = WorkerSettings(paths, 0, threads=1)
    ran = StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    (cell,) = ran.cells
    reason = cell_folder(paths.runs, cell.id).failure
    assert reason is not None
    assert "the output was not finite for 24 of 24 samples" in reason
    assert "the first of them 'val-0-red'" in reason


def test_a_study_of_grounding_from_the_file_to_the_published_report(tmp_path: Path) -> None:
    results = collected(tmp_path, "grounding")
    assert (results.shows, results.measures) == ("box", ("iou",))
    assert results.slices == ("words", "spatial", "box")
    assert set(results.values["metric"]) == {"accuracy", "mean_iou", "accuracy_at_0_7"}
    assert dict(results.setup)["Head"].startswith("3x3 convolution of 8")
    assert results.floors["name"].unique().tolist() == ["constant box"]
    scores = results.floor_scores.groupby(["name", "split"])["score"].mean()
    assert scores.to_dict() == results.floors.set_index(["name", "split"])["accuracy"].to_dict()
    evaluated = set(map(tuple, results.samples[["split", "sample"]].drop_duplicates().to_numpy()))
    assert evaluated == set(map(tuple, results.floor_scores[["split", "sample"]].to_numpy())), (
        "each is paired"
    )
    write_report(results, tmp_path / "published")
    again = load(tmp_path / "published")
    assert np.array_equal(again.samples["iou"].sort_values(), results.samples["iou"].sort_values())
    means = build_tables(again).means
    assert means.loc[means["metric"] == "accuracy", "low"].notna().all()


def test_a_study_of_segmentation_from_the_file_to_the_published_report(tmp_path: Path) -> None:
    results = collected(tmp_path, "segmentation")
    assert (results.shows, results.lower_is_better) == ("mask", ("box_mask_disagreement",))
    write_report(results, tmp_path / "published")
    again = load(tmp_path / "published")
    stored = again.values.set_index(["metric", "split", "arm", "seed"])["value"].sort_index()
    rows = again.samples.groupby(["split", "arm", "seed"], observed=True)[["intersection", "union"]].sum()
    overall = (rows["intersection"] / rows["union"]).sort_index()
    assert np.allclose(stored.loc["overall_iou"].to_numpy(), overall.to_numpy(), rtol=0, atol=1e-12)
    means = build_tables(again).means
    assert means.loc[means["metric"].isin(["mean_iou", "overall_iou"]), "low"].notna().all()


@pytest.mark.parametrize(
    ("override", "mistake"),
    [
        ("head.pool=max", "head.pool: is not a setting of the heads of grounding; leave it out"),
        ("head.dropout=0.1", "head.dropout: is not a setting of the heads of grounding; leave it out"),
        ("head.kind=laconv", "head.kind: grounding has no head 'laconv' (did you mean 'laconvnet'?)"),
    ],
)
def test_a_head_is_told_only_what_it_knows(tmp_path: Path, override: str, mistake: str) -> None:
    with pytest.raises(StudyFileError) as caught:
        read_study(study_file(tmp_path, REFERRING), [override])
    assert mistake in str(caught.value)


def test_a_named_head_makes_other_cells_than_the_default(tmp_path: Path) -> None:
    file = study_file(tmp_path, REFERRING)
    plain, default, other = (
        read_study(file, given).arms[0].config.id
        for given in ([], ["head.kind=dense"], ["head.kind=laconvnet"])
    )
    assert plain == default != other

"""What ``plan`` says that a study can decide: from finished cells, or from a stated assumption."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from command_line import paths_of
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.result import ArmCosts, CellResult, Outcome, Provenance, Timing
from fusion_bench.reporting.decidable.decidable import Decidable, decidable
from fusion_bench.reporting.decidable.sentences import decidable_sentences, few_seeds
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.statistics.comparison import Question, compare, strictest_level
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.power import decidable_difference
from fusion_bench.statistics.scores import Scores
from fusion_bench.study.cell_status import CellStatus
from fusion_bench.study.plan import confirm_cells
from held_cells import finish_cell

ROOT = Path(__file__).parents[4]
STUDY = """\
version: 1
name: planned
data: {name: miniclevr, image_size: [32, 64], images: {train: 10, select: 5, evaluate: 60}, questions_per_image: 4}
backbone: {name: test_resnet, layer: 2}
arms:
  film: {module: film}
  concat: {module: concat}
  sum: {module: sum}
controls: [question_only]
"""
REFERRING = STUDY.replace("miniclevr,", "miniclevr_refer, task: segmentation,").replace(
    "questions_per_image", "expressions_per_image"
)
WHERE = Provenance("m", "n", "2", "1", "cpu", "d", "w", "cpu", 1, "3", "2", "linux")  # nothing here reads it


def study_of(folder: Path, text: str = STUDY, *overrides: str) -> Study:
    (folder / "s.yaml").write_text(text)
    return read_study(folder / "s.yaml", overrides)


def found(study: Study, runs: Path, statuses: Sequence[CellStatus] = ()) -> Decidable:
    result = decidable(study, study.arms, statuses, paths_of(study, runs))
    assert result is not None
    return result


def answers(study: Study, generator: np.random.Generator) -> pd.DataFrame:
    """Right and wrong answers of every cell, with a skill that differs by training and by image."""
    tables = []
    for cell in confirm_cells(study.arms, study.seeds):
        skill = np.clip(0.7 + generator.normal(0, 0.03) + generator.normal(0, 0.1, 60).repeat(4), 0, 1)
        score = (generator.random(240) < skill).astype(float)
        numbers = np.arange(240)
        table = pd.DataFrame(
            {"split": "test", "sample": [f"q{number}" for number in numbers], "score": score}
        )
        table["cluster"] = [f"i{number // 4}" for number in numbers]
        tables.append(table.assign(arm=cell.arm, seed=cell.seed, truth="yes", prediction="no"))
    return pd.concat(tables, ignore_index=True)


def finish(study: Study, runs: Path, rows: pd.DataFrame) -> list[CellStatus]:
    """Write the answers as the outcome of the study's cells; other cells of the study are missing."""
    statuses = []
    for cell in confirm_cells(study.arms, study.seeds):
        own = rows[(rows["arm"] == cell.arm) & (rows["seed"] == cell.seed)]
        if not len(own):
            statuses.append(CellStatus(cell, "missing"))
            continue
        metrics = {"test/accuracy": float(own["score"].mean())}
        result = CellResult(metrics, metrics, 1, 1, ArmCosts(1, 1, 1, 1), 5, 2, 10)
        samples = own.drop(columns=["arm", "seed"])
        curves = pd.DataFrame(columns=["epoch", "samples_seen", "quantity", "value"])
        finish_cell(cell_folder(runs, cell.id), Outcome(result, samples, curves, Timing(1.0, 1.0), WHERE))
        statuses.append(CellStatus(cell, "done"))
    return statuses


def test_finished_cells_tell_the_difference_of_their_report(tmp_path: Path) -> None:
    study = study_of(tmp_path, STUDY, "seeds=4")
    rows = answers(study, np.random.default_rng(0))
    result = found(study, tmp_path, finish(study, tmp_path, rows))
    arms = ("film", "concat", "sum")
    table = compare(Scores.of(rows, arms).influences(), Question("film", arms[1:]))
    assert result.difference is not None
    assert result.difference == pytest.approx(table["detectable"].iloc[0])
    assert (result.comparisons, result.seeds, result.finished_cells, result.clusters) == (2, 4, 12, 60)
    assert list(result.by_seeds) == [3, 5, 8, 12] and result.assumed is None
    said = decidable_sentences(result, "image")
    assert (
        f"{100 * result.difference:.1f} points (4 seeds, the strictest of 2 corrected comparisons" in said[0]
    )
    assert said[1] == "estimated from 12 finished cells: seeds 0, 1, 2 and 3 of film, concat and sum"
    first_two = rows[rows["seed"] < 2]
    more = study_of(tmp_path, STUDY, "seeds=5")
    early = found(more, tmp_path / "early", finish(more, tmp_path / "early", first_two))
    assert early.finished_cells == 6 and early.difference is not None
    assert early.difference == pytest.approx(result.by_seeds[5], rel=0.6), "from two seeds, roughly"


@pytest.mark.parametrize("further", [3, 5])
def test_further_seeds_of_the_reference_leave_the_scatter_of_the_others(tmp_path: Path, further: int) -> None:
    """The reference has 1.5 times the seeds of the other arms and more; the scatter is that of the others."""
    arms = ("mlb", "concat", "sum")
    overrides = ("arms.mlb={module: mlb}", f"seeds={2 * further}")
    study = study_of(tmp_path, STUDY, *overrides)
    rows = answers(study, np.random.default_rng(0))
    rows = rows[(rows["arm"] == "film") | (rows["seed"] < further)]
    result = found(study, tmp_path, finish(study, tmp_path, rows))
    assert result.assumed is None and result.finished_cells == 3 * further and result.difference is not None
    assert (set(result.arms), result.from_seeds) == (set(arms), tuple(range(further)))
    said = decidable_sentences(result, "image")[1]
    assert said.startswith(f"estimated from {3 * further} finished cells: seeds 0, 1") and "film" not in said
    influences = Scores.of(rows[rows["seed"] < further], arms).influences()
    pool = Differences(influences, arms)
    pairs = [pool.of(one, other) for one, other in itertools.combinations(arms, 2)]
    scatter = pool.scatter([pair for pair in pairs if pair is not None])
    assert scatter is not None
    expected = decidable_difference(scatter, 4, 2 * further, strictest_level(3))
    assert result.difference == pytest.approx(expected)


def test_cells_outside_the_pool_are_not_counted(tmp_path: Path) -> None:
    """Sum lacks three of five seeds, and concat has finished all: the pool holds film and concat alone."""
    study = study_of(tmp_path, STUDY, "seeds=5")
    rows = answers(study, np.random.default_rng(0))
    rows = rows[(rows["arm"] != "sum") | (rows["seed"] > 2)]
    result = found(study, tmp_path, finish(study, tmp_path, rows))
    assert (result.arms, result.from_seeds, result.finished_cells) == (
        ("film", "concat"),
        (0, 1, 2, 3, 4),
        10,
    )


def test_arms_without_the_reference_tell_the_scatter(tmp_path: Path) -> None:
    study = study_of(tmp_path, STUDY, "seeds=3")
    rows = answers(study, np.random.default_rng(0))
    result = found(study, tmp_path, finish(study, tmp_path, rows[rows["arm"] != "film"]))
    assert (result.arms, result.finished_cells) == (("concat", "sum"), 6) and result.assumed is None


def test_the_search_of_scatter_needs_two_seeds_of_two_arms(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    rows = answers(study, np.random.default_rng(1))
    assumed = found(study, tmp_path)
    for part in (rows[rows["seed"] == 0], rows[rows["arm"] == "film"], rows[rows["arm"] == "question_only"]):
        folder = tmp_path / f"{part['arm'].iloc[0]}{len(part)}"
        assert found(study, folder, finish(study, folder, part)) == assumed


def test_before_cells_are_finished_the_scatter_is_assumed_and_said(tmp_path: Path) -> None:
    result = found(study_of(tmp_path), tmp_path)
    assert result.assumed is not None and result.clusters == 60 and result.seeds == 5
    assert result.difference is not None
    every = {**result.by_seeds, 5: result.difference}
    values = [every[seeds] for seeds in sorted(every)]
    assert sorted(every) == [3, 5, 8, 12] and values == sorted(values, reverse=True)
    said = " ".join(decidable_sentences(result, "image"))
    assert "60 images" in said and "75 %" in said
    assert (
        "assumed until two arms have two finished seeds: the trainings of an arm scatter by 1.5 points, which "
        "holds for arms that converge (arms that still learn scatter several times as much), " in said
    )
    more_images = found(study_of(tmp_path, STUDY, "data.images.evaluate=6000"), tmp_path)
    more_arms = found(study_of(tmp_path, STUDY, "arms.mlb={module: mlb}", "arms.mfb={module: mfb}"), tmp_path)
    assert more_images.difference is not None and more_arms.difference is not None
    assert more_images.difference < result.difference < more_arms.difference
    no_verdict = found(study_of(tmp_path, STUDY, "seeds=2"), tmp_path)
    assert no_verdict.difference is None and no_verdict.by_seeds == every


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    overlap = found(study_of(tmp_path, REFERRING, "report.primary=overall_iou"), tmp_path)
    assert overlap.difference is None and not overlap.by_seeds
    (said,) = decidable_sentences(overlap, "image")
    assert "not known: overall_iou is no share of right answers" in said
    assert found(study_of(tmp_path, REFERRING), tmp_path).difference is not None, (
        "mean overlap is a mean score"
    )
    nlvr = STUDY.replace(
        "name: miniclevr, image_size: [32, 64], images: {train: 10, select: 5, evaluate: 60}, questions_per_image: 4",
        "name: nlvr, image_size: [32, 64]",
    )
    groups = found(study_of(tmp_path, nlvr), tmp_path)
    assert groups.clusters is None and groups.difference is not None
    assert (
        "the number of sentence groups is not known here" in decidable_sentences(groups, "sentence group")[1]
    )
    consistent = found(study_of(tmp_path, nlvr, "report.primary=consistency"), tmp_path)
    assert consistent.difference is not None


def test_cells_without_any_scatter_tell_nothing(tmp_path: Path) -> None:
    study = study_of(tmp_path, STUDY, "seeds=3")
    rows = answers(study, np.random.default_rng(2)).assign(score=1.0)
    result = found(study, tmp_path, finish(study, tmp_path, rows))
    assert result.difference is None and "do not scatter" in decidable_sentences(result, "image")[0]


def test_a_scatter_beyond_the_whole_scale_is_not_told_as_a_number(tmp_path: Path) -> None:
    study = study_of(tmp_path, STUDY, "seeds=3")
    rows = answers(study, np.random.default_rng(3))
    rows["score"] = ((rows["seed"] + rows["arm"].map({"film": 0, "concat": 1}).fillna(2)) % 3 > 0).astype(
        float
    )
    said = decidable_sentences(found(study, tmp_path, finish(study, tmp_path, rows)), "image")[0]
    assert "a true difference of over 100 points" in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seeds=1", "1 seed: no verdicts, for which every arm needs 3 seeds"),
        ("seeds=2", "2 seeds: no verdicts, for which every arm needs 3 seeds"),
        ("seeds=[7, 8, 9]", "3 seeds, fewer than the default of 5, can show large differences only; "),
        ("seeds=5", ""),
        ("seeds=8", ""),
    ],
)
def test_few_seeds_are_told(tmp_path: Path, override: str, said: str) -> None:
    study = study_of(tmp_path, STUDY, override)
    message = few_seeds(study, study.arms)
    assert message.startswith(said) and bool(message) == bool(said)
    assert not message or "--set seeds=5" in message


def test_a_study_that_compares_nothing_is_told_nothing(tmp_path: Path) -> None:
    alone = STUDY.replace("  concat: {module: concat}\n  sum: {module: sum}\n", "")
    study = study_of(tmp_path, alone, "seeds=2")
    assert few_seeds(study, study.arms) == ""
    assert decidable(study, study.arms, (), paths_of(study, tmp_path)) is None


def test_arms_outside_the_budget_are_not_among_the_comparisons(tmp_path: Path) -> None:
    text = STUDY.replace("sum: {module: sum}", 'sum: {module: "toys:Product"}')
    study = study_of(tmp_path, text + "budget: {match: params}\n")
    assert found(study, tmp_path).comparisons == 1

"""What finished cells hand in for VQA v2: the official results file, on val and on the secret test questions."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from command_line import CommandLine, command_line, finished, train
from fusion_bench.cells.folder import cell_folder
from fusion_bench.study.plan import file_name
from published_vqa2 import write_vqa2
from toys import study_file

STUDY = """\
version: 1
name: handed-in
data: {{name: vqa2, root: {root}, image_size: [32, 32], predict: [test-dev2015]}}
backbone: {{name: test_resnet, layer: 2, weights: random, frozen: true}}
text: {{embedding: 8, hidden: 6}}
fusion: {{width: 8, depth: 1}}
head: {{width: 8, hidden: 8}}
train: {{epochs: 1, batch_size: 32}}
arms:
  "by product": {{module: hadamard}}
controls: [question_only]
seeds: [4]
reference: "by product"
"""


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(capsys)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vqa2(tmp_path_factory.mktemp("vqa2"), images=40)


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The study file and the runs folder."""
    folder = tmp_path_factory.mktemp("handed-in")
    file = folder / "s.yaml"
    file.write_text(STUDY.format(root=root))
    train(file, folder / "runs")
    assert len(finished(folder / "runs")) == 2
    return file, folder / "runs"


def asked(root: Path, subtype: str) -> list[int]:
    file = root / "Questions" / f"v2_OpenEnded_mscoco_{subtype}_questions.json"
    return [record["question_id"] for record in json.loads(file.read_text())["questions"]]


def test_a_study_hands_in_every_question_of_every_split(
    trained: tuple[Path, Path], root: Path, cli: CommandLine, tmp_path: Path
) -> None:
    file, runs = trained
    said = cli("cells", "export", file, "--runs", runs, "--submission", tmp_path / "out")
    assert said.code == 0, said.err
    assert said.out.startswith("4 files written to")
    names = {
        f"v2_OpenEnded_mscoco_{subtype}_{author}-seed4_results.json"
        for subtype in ("val2014", "test-dev2015")
        for author in map(file_name, ("by product", "question_only"))
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name in names:
        entries = json.loads((tmp_path / "out" / name).read_text())
        assert [entry["question_id"] for entry in entries] == asked(root, name.split("_")[3])
        assert all(entry.keys() == {"question_id", "answer"} for entry in entries)
        assert all(entry["answer"] in {"red", "blue", "green", "yes", "no"} for entry in entries)


def test_a_module_without_numbers_in_evaluation_answers_nothing(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(STUDY.format(root=root))
    overrides = ("arms={bad: {module: 'hostile:NanInEvaluation'}}", "reference=bad", "controls=false")
    ran = train(file, tmp_path / "runs", *overrides)
    (cell,) = ran.cells
    assert "the output was not finite for 2 of 2 samples" in str(
        cell_folder(tmp_path / "runs", cell.id).failure
    )


def test_what_is_handed_in_is_what_the_cell_said_and_no_metric_saw_it(
    trained: tuple[Path, Path], root: Path, cli: CommandLine, tmp_path: Path
) -> None:
    _, runs = trained
    for cell in finished(runs):
        folder = cell_folder(runs, cell)
        outcome = folder.outcome()
        assert set(outcome.samples["split"]) == {"select", "val2014"}
        assert all(not key.startswith("test") for key in outcome.result.metrics)
        assert outcome.predictions is not None
        assert set(outcome.predictions["split"]) == {"test-dev2015"}
        said = cli("cells", "export", folder.path, "--submission", tmp_path / cell, "--data", f"vqa2={root}")
        assert said.code == 0, said.err
        for split, rows in (
            ("val2014", outcome.samples[outcome.samples["split"] == "val2014"]),
            ("test-dev2015", outcome.predictions),
        ):
            written = tmp_path / cell / f"v2_OpenEnded_mscoco_{split}_{cell}_results.json"
            entries = pd.DataFrame(json.loads(written.read_text()))
            assert entries["question_id"].astype(str).tolist() == rows["sample"].tolist()
            assert entries["answer"].tolist() == rows["prediction"].tolist()


def test_without_a_finished_cell_nothing_is_written(root: Path, cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(STUDY.format(root=root))
    runs = tmp_path / "runs"
    nothing = cli("cells", "export", file, "--runs", runs, "--submission", tmp_path / "out").refusal()
    assert nothing == "no cell is done, so there are no predictions to submit; run the study first"


def test_a_cell_of_fewer_questions_is_refused(
    trained: tuple[Path, Path], cli: CommandLine, tmp_path: Path, root: Path
) -> None:
    file, runs = trained
    questions = root / "Questions" / "v2_OpenEnded_mscoco_test-dev2015_questions.json"
    content = questions.read_text()
    more = json.loads(content)
    more["questions"].append(more["questions"][0] | {"question_id": 300_000_002})
    try:
        questions.write_text(json.dumps(more))
        options = ("--submission", tmp_path / "out", "--data", f"vqa2={root}")
        stale = cli("cells", "export", file, "--runs", runs, *options).refusal()
        cell = next((runs / "cells").glob("*/DONE")).parent
        said = cli("cells", "export", cell, *options).refusal()
    finally:
        questions.write_text(content)
    assert (
        "the data (Questions/v2_OpenEnded_mscoco_test-dev2015_questions.json) changed since it was" in stale
    )
    assert "answered 80 of the 81 samples of 'test-dev2015'; a submission covers all of them" in said


def test_a_data_set_that_takes_nothing_says_so(cli: CommandLine, tmp_path: Path) -> None:
    file = study_file(tmp_path)
    train(file, tmp_path / "runs")
    said = cli("cells", "export", file, "--runs", tmp_path / "runs", "--submission", tmp_path / "o").refusal()
    assert said == "the publishers of squares define no submission format"

"""Text encoders that read files: a cell knows them by content, and every part of a study finds them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.run_cell import main, run_cell
from fusion_bench.errors import FusionBenchError, StudyFileError
from fusion_bench.explain.load_model import load_trained_cell
from fusion_bench.results.collect import collect
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.storage import file_digest, folder_digest
from fusion_bench.study.archive import export_cells
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.load_cell_data import CellDataCache, load_cell_data
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.slot import instantiate_module
from pretrained_text import DIM, save_tiny
from toys import STUDY, study_file

TEXT = 'text: {encoder: "toys:MeanText"}'
GLOVE = STUDY.replace(TEXT, "text: {encoder: glove, file: words.txt, hidden: 4}").replace(
    "seeds: [0, 1]", "seeds: [0]"
)
VECTORS = "is 1 0 2\nit 0 1 1\nred -1 -1 0\ngreen 2 1 0\n"


def glove(folder: Path, text: str = GLOVE) -> Study:
    file = study_file(folder, text)
    (folder / "words.txt").write_text(VECTORS)
    return read_study(file)


def hugging(folder: Path, settings: str = "") -> Study:
    save_tiny("bert", folder / "bert")
    wanted = f"text: {{encoder: huggingface, model: bert{settings}}}"
    return read_study(study_file(folder, STUDY.replace(TEXT, wanted).replace("[0, 1]", "[0]")))


def run(study: Study, runs: Path) -> RunPaths:
    paths = RunPaths(runs, {}, study.weight_files)
    settings = WorkerSettings(paths, workers=1, threads=1, keep_weights=True)
    StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    return paths


def test_a_cell_knows_its_file_by_content_and_not_by_place(tmp_path: Path) -> None:
    here, there = glove(tmp_path / "here"), glove(tmp_path / "there")
    sha256 = file_digest(tmp_path / "here" / "words.txt")
    assert here.arms[0].config.text.settings == {"file": f"sha256:{sha256}", "hidden": 4}
    assert here.weight_files == {sha256: tmp_path / "here" / "words.txt"}
    assert [arm.config.id for arm in here.arms] == [arm.config.id for arm in there.arms]
    (tmp_path / "there" / "words.txt").write_text(VECTORS + "blue 1 1 1\n")
    other = read_study(tmp_path / "there" / "toy.yaml")
    assert here.arms[0].config.id != other.arms[0].config.id


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"toy.yaml, line 7: text.file: words.txt does not exist"),
        (
            "word\n",
            r"text: GloveEncoder refuses these settings: .*line 1: expected a word and its vector",
        ),
    ],
)
def test_a_study_tells_of_a_missing_or_empty_file_before_anything_runs(
    tmp_path: Path, content: str | None, message: str
) -> None:
    file = study_file(tmp_path, GLOVE)
    if content is not None:
        (tmp_path / "words.txt").write_text(content)
    with pytest.raises(StudyFileError, match=message) as refused:
        read_study(file)
    assert len(str(refused.value).splitlines()) == 1


def test_a_missing_setting_is_told_of_as_for_any_other(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"text\.file: is missing"):
        glove(tmp_path, GLOVE.replace("file: words.txt, ", ""))


def test_a_study_with_word_vectors_from_start_to_report(tmp_path: Path) -> None:
    study = glove(tmp_path)
    paths = run(study, tmp_path / "runs")
    results = collect(study, paths)
    words = dict(results.setup)["Words"]
    assert re.search(
        r"GloveEncoder \(file sha256:[0-9a-f]{12}, hidden 4\), 5 words from train, 4 of them", words
    )
    trained = load_trained_cell(cell_folder(paths.runs, study.arms[0].config.id), paths)
    weights = trained.model.text.embedding.weight
    row = trained.vocabulary.encode(["red"])[0, 0]
    assert weights[row].tolist() == [-1, -1, 0]
    assert instantiate_module(study.arms[0].config, study.weight_files) is not None


def test_equal_budgets_find_the_file_too(tmp_path: Path) -> None:
    text = GLOVE.replace('weaker: {module: "toys:Product", gain: 0.5}', 'wider: {module: "toys:Wider"}')
    study = glove(tmp_path, text + "budget: {match: params, tolerance: 0.9}\n")
    assert study.budget is not None
    assert study.budget.target > 0


@pytest.mark.slow
def test_a_bare_cell_is_told_where_the_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = glove(tmp_path)
    (cell, *_) = confirm_cells(study.arms, study.seeds)
    export_cells([cell], tmp_path / "away", tmp_path)
    (folder,) = (tmp_path / "away").rglob("config.json")
    arguments = [str(folder.parent), "--device", "cpu"]
    assert main(arguments) == 1
    (sha256,) = study.weight_files
    assert f"pass --weights {sha256}=PATH" in capsys.readouterr().err
    (folder.parent / "failed.json").unlink()
    shutil.move(tmp_path / "words.txt", tmp_path / "elsewhere")
    arguments += ["--weights", f"{sha256}={tmp_path / 'elsewhere'}"]
    root = Path(__file__).parents[3]
    paths = [root, root / "modules", root / "tests" / "support"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-m", "fusion_bench.study.cell", *arguments]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert json.loads((folder.parent / "result.json").read_text())["words"].startswith(
        "5 words from train, 4"
    )


def test_a_frozen_model_is_read_once_and_stays_out_of_the_cell(tmp_path: Path) -> None:
    study = hugging(tmp_path)
    sha256 = folder_digest(tmp_path / "bert")
    config = study.arms[0].config
    assert config.text.settings == {"model": f"sha256:{sha256}"}
    paths = run(study, tmp_path / "runs")
    cell_data = load_cell_data(config, paths)
    train = cell_data.encoded["train"]
    assert train.vectors is not None
    assert train.vectors.unique.shape == (3, 6, DIM), "three different questions of [CLS] is it ... ? [SEP]"
    folder = cell_folder(paths.runs, config.id)
    assert not any(name.startswith("text.") for name in folder_state(folder.path))
    judged = folder.outcome().samples
    trained = load_trained_cell(folder, paths)
    split = cell_data.encoded["test"].split
    rows = judged[judged["split"] == "test"].reset_index(drop=True)
    for number in range(0, len(split), 11):
        sample = split.sample(number)
        decided = trained.task.decide(trained.model(trained.batch(sample.image, sample.text)).detach())
        assert trained.task.answers[int(decided[0])] == rows["prediction"][number]


def folder_state(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return list(file.keys())


def test_a_trained_model_starts_from_its_weights_and_changes(tmp_path: Path) -> None:
    study = hugging(tmp_path, ", frozen: false")
    paths = RunPaths(tmp_path / "runs", {}, study.weight_files)
    config = study.arms[0].config
    folder = cell_folder(paths.runs, config.id)
    folder.write_config(config)
    assert run_cell(folder, CellDataCache(paths), lambda _: None, keep_weights=True).failure is None
    from safetensors.torch import load_file

    before = load_file(tmp_path / "bert" / "model.safetensors")
    after = load_file(folder.path / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    assert after[f"text.net.net.{name}"].shape == before[name].shape
    assert not torch.equal(after[f"text.net.net.{name}"], before[name])
    assert np.abs((after[f"text.net.net.{name}"] - before[name]).numpy()).max() < 0.5


def test_a_model_that_is_not_here_is_a_line_of_the_study(tmp_path: Path) -> None:
    text = STUDY.replace(TEXT, "text: {encoder: huggingface, model: nobody/nothing}")
    with pytest.raises(FusionBenchError, match=r"line 7: text\.model: 'nobody/nothing' is neither a folder"):
        read_study(study_file(tmp_path, text))

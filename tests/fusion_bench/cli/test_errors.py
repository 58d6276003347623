"""Every error is one clear message, and no finished result is lost."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import CommandLine, finished, train
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.lease import Lease
from fusion_bench.study.archive import export_cells
from toys import STUDY, study_file

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

ONE_CELL = ("seeds=[0]", "arms.weaker=null")

# The study file


@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        (
            STUDY.replace("epochs:", "epoch:"),
            None,
            r"line 10.*train\.epoch: unknown key.*did you mean 'epochs'",
        ),
        (STUDY + "seeds: [2]\n", None, r"line 16.*seeds: duplicate key, already given in line 15"),
        (STUDY.replace("0.01", '"1e-4"'), None, r"line 10.*learning_rate: must be a number.*without quotes"),
        (
            STUDY.replace("epochs: 2", "epochs: -2"),
            None,
            r"line 10.*train\.epochs: must be at least 0, not -2",
        ),
        (STUDY, "train.epochs=-1", r"--set train\.epochs: must be at least 0, not -1"),
        (STUDY, "train.learning_rate='1e-4'", r"--set train\.learning_rate: must be a number"),
        (STUDY, "train.epochs", r"--set train\.epochs: write KEY=VALUE"),
        (STUDY + "\tx", None, "this is not YAML"),
    ],
    ids=[
        "misspelt",
        "duplicate",
        "quoted number",
        "negative",
        "--set negative",
        "--set quoted",
        "no =",
        "no YAML",
    ],
)
def test_a_wrong_study_file_is_refused_before_anything_happens(
    tmp_path: Path, cli: CommandLine, text: str, override: str | None, message: str
) -> None:
    file = study_file(tmp_path, text)
    result = cli("run", file, "--runs", tmp_path / "runs", *(["--set", override] if override else []))
    assert re.search(message, result.refusal()), result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_all_mistakes_are_told_at_once(tmp_path: Path, cli: CommandLine) -> None:
    text = STUDY.replace("epochs: 2", "epochs: -2").replace("width: 8, depth", "wdth: 8, depth")
    result = cli("plan", study_file(tmp_path, text))
    assert len(result.refusal().splitlines()) == 2


@pytest.mark.parametrize("command", ["run", "plan", "report"])
def test_a_study_that_is_not_there_is_named(tmp_path: Path, cli: CommandLine, command: str) -> None:
    assert "cannot read" in cli(command, tmp_path / "nothing.yaml").refusal()


def test_a_folder_is_no_study(tmp_path: Path, cli: CommandLine) -> None:
    assert "Is a directory" in cli("run", tmp_path).refusal()
    assert "is no published report" in cli("report", tmp_path).refusal()


# The command line


def test_data_is_given_as_name_and_folder(tmp_path: Path, cli: CommandLine) -> None:
    file = study_file(tmp_path)
    assert (
        cli("plan", file, "--data", "squares").refusal()
        == "'squares' names no path; write NAME=PATH, for example vqa2=/data/vqa2"
    )
    assert "reads 'squares'" in cli("plan", file, "--data", "circles=/data").refusal()


def test_a_device_that_is_not_there_is_refused(tmp_path: Path, cli: CommandLine) -> None:
    file = study_file(tmp_path)
    for device in ("gpu", "cuda:99"):
        assert f"--device {device}" in cli("run", file, "--runs", tmp_path, "--device", device).refusal()


def test_a_runs_folder_that_cannot_be_made_is_named(tmp_path: Path, cli: CommandLine) -> None:
    (tmp_path / "file").touch()
    result = cli("run", study_file(tmp_path), "--runs", tmp_path / "file")
    assert str(tmp_path / "file") in result.refusal()


def test_nothing_is_reported_before_a_cell_is_done(tmp_path: Path, cli: CommandLine) -> None:
    file = study_file(tmp_path)
    result = cli("report", file, "--runs", tmp_path / "runs")
    assert result.refusal() == "no cell of the study 'toy' is finished"
    search = study_file(tmp_path, STUDY + "search: {trials: 2, space: {gain: [1.0, 2.0]}}\n", "search.yaml")
    result = cli("report", search, "--runs", tmp_path / "runs")
    assert result.refusal() == "the search of 'product' is not finished; run the study first"


def test_only_exported_folders_are_imported(tmp_path: Path, cli: CommandLine) -> None:
    result = cli("cells", "import", tmp_path / "nothing", "--runs", tmp_path / "runs")
    assert "has no folder 'cells'" in result.refusal()


def test_a_cell_that_is_being_trained_is_not_overwritten_by_an_import(
    tmp_path: Path, cli: CommandLine, runs: Path
) -> None:
    file = study_file(tmp_path)
    (cell,) = train(file, runs, *ONE_CELL).cells
    home = tmp_path / "home"
    export_cells([cell], home, runs)
    with Lease(home / "cells" / cell.id):
        result = cli("cells", "import", runs, "--runs", home)
    assert "is being trained here right now" in result.refusal()
    assert cli("cells", "import", runs, "--runs", home).code == 0
    assert finished(home) == {cell.id}


def test_two_runs_of_one_study_at_once(tmp_path: Path, cli: CommandLine) -> None:
    file = study_file(tmp_path)
    with Lease(tmp_path / "runs" / "studies" / "toy"):
        result = cli("run", file, "--runs", tmp_path / "runs")
    assert "another run of the study 'toy' is in progress" in result.refusal()


# The data

CLEVR = """
version: 1
name: small
title: CLEVR's own files
data: {name: clevr, image_size: [24, 36]}
backbone: {name: test_resnet, layer: 1, weights: random, frozen: true}
text: {encoder: "toys:MeanText"}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 1, batch_size: 16}
controls: false
arms: {product: {module: "toys:Product"}}
seeds: [0]
"""


@pytest.fixture(scope="module")
def clevr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in CLEVR's layout."""
    root = tmp_path_factory.mktemp("clevr") / "CLEVR_v1.0"
    images = {"train": 30, "select": 4, "evaluate": 4}  # of the first 30 train images number 28 is held out
    MiniClevr(root, images=images, questions_per_image=4, size=(24, 36), kinds=["zero_hop"]).prepare()
    return root


@pytest.fixture(scope="module")
def one_done(clevr: Path, fresh_runs: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder in which seed 0 of the study is done."""
    runs = fresh_runs()
    train(study_file(tmp_path_factory.mktemp("study"), CLEVR), runs, data=(f"clevr={clevr}",))
    return runs


def test_a_data_set_whose_files_nobody_named(tmp_path: Path, cli: CommandLine) -> None:
    message = cli(
        "run", study_file(tmp_path, CLEVR), "--runs", tmp_path / "runs", "--device", "cpu"
    ).refusal()
    for way in ("data.root", "--data clevr=FOLDER", "FUSION_BENCH_DATA_CLEVR"):
        assert way in message
    assert len(message.splitlines()) == 1
    assert not list((tmp_path / "runs" / "cells").glob("*/failed.json"))


def _cut_short(root: Path) -> str:
    file = root / "images" / "train" / "CLEVR_train_000003.png"
    file.write_bytes(file.read_bytes()[:-20])
    return f"{file} is damaged"


def _take_away(root: Path) -> str:
    (root / "images" / "val" / "CLEVR_val_000000.png").unlink()
    return "the first is CLEVR_val_000000.png"


def _spoil(root: Path) -> str:
    file = root / "questions" / "CLEVR_train_questions.json"
    file.write_text("{'questions': []}")
    return f"{file} is not JSON"


@pytest.mark.parametrize("damage", [_cut_short, _take_away, _spoil])
def test_damaged_data_stop_a_run_and_take_nothing_with_them(
    tmp_path: Path,
    cli: CommandLine,
    clevr: Path,
    one_done: Path,
    damage: Callable[[Path], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if damage is not _take_away:  # one worker is enough
        here = "fusion_bench.api.executors.LocalExecutor"
        monkeypatch.setattr(here, lambda settings, logs: InlineExecutor(settings))
    root = shutil.copytree(clevr, tmp_path / "CLEVR_v1.0")
    runs = shutil.copytree(one_done, tmp_path / "runs", symlinks=True)
    done = finished(runs)
    message = damage(root)
    file = study_file(tmp_path, CLEVR)
    options = (
        "--runs",
        runs,
        "--data",
        f"clevr={root}",
        "--set",
        "seeds=2",
        "--workers",
        1,
        "--device",
        "cpu",
    )
    assert message in cli("run", file, *options).refusal()
    assert finished(runs) == done
    assert not list((runs / "cells").glob("*/failed.json"))
    # Repaired, the run goes on where it was.
    assert train(file, runs, "seeds=2", data=(f"clevr={clevr}",)).trained == 1


def test_imagenet_weights_without_a_network(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    text = STUDY.replace("weights: random", "weights: imagenet")
    options = ("--runs", runs, "--workers", 1, "--device", "cpu")
    message = cli("run", study_file(tmp_path, text), *options).refusal()
    assert message.startswith("the ImageNet weights of 'test_vit' are not in the local cache")
    assert "write weights: file:PATH, pretext or random instead" in message
    assert not (runs / "cache" / "data").exists(), "no data is made for weights that cannot be had"
    assert not list((runs / "cells").glob("*/failed.json"))

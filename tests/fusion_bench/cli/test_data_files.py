"""``fusion-bench data`` and ``bench input`` from the command line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fusion_bench.cli.main import main
from fusion_bench.data.easy_vqa import EasyVqa
from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.load import read_study
from fusion_bench.training.paths import RunPaths
from published_easy_vqa import install_easy_vqa, write_easy_vqa
from published_vqa2 import write_vqa2

TOY = ("--set", 'images={"train": 8, "select": 2, "evaluate": 2}', "--set", "size=[16, 24]")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_a_built_in_data_set_is_made_verified_shown_and_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, sheet, sums = tmp_path / "mini", tmp_path / "sheet.png", tmp_path / "sums.json"
    assert run("data", "make", "miniclevr", "--out", str(root), *TOY) == 0
    assert "train: " in capsys.readouterr().out
    assert run("data", "verify", "miniclevr", "--root", str(root), *TOY, "--manifest", str(sums)) == 0
    assert "complete" in capsys.readouterr().out
    assert len([name for name in json.loads(sums.read_text()) if name.endswith(".png")]) == 12
    assert (
        run("data", "show", "miniclevr", "--root", str(root), *TOY, "--out", str(sheet), "--count", "3") == 0
    )
    assert sheet.stat().st_size > 1000
    next(root.rglob("*.png")).write_bytes(b"no picture")
    assert run("data", "verify", "miniclevr", "--root", str(root), *TOY) == 1
    assert "is damaged or not an image" in capsys.readouterr().err


STUDY = """\
version: 1
name: small
data: {name: miniclevr, image_size: [16, 24], size: [16, 24], images: {train: 8, select: 2, evaluate: 2}}
backbone: {name: test_resnet, layer: 1, weights: random}
arms: {film: {module: film}}
controls: false
seeds: 1
"""


def test_a_built_in_data_set_lies_in_the_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # processes of their own take seconds to start
    (tmp_path / "small.yaml").write_text(STUDY)
    assert run("data", "verify", "small.yaml") == 2
    said = capsys.readouterr().err
    assert "miniclevr with these settings is not made yet: there is no " in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
    assert run("data", "show", "small.yaml") == 0
    assert "Picture: miniclevr-test.png" in capsys.readouterr().out
    assert (tmp_path / "miniclevr-test.png").stat().st_size > 1000
    # The same data set, named itself, and where a run of the study looks for it.
    assert run("data", "verify", "miniclevr", *TOY) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "complete"
    study = read_study(tmp_path / "small.yaml")
    assert RunPaths(tmp_path / "runs", {}, {}).root(study.data).is_dir()
    assert len([*(tmp_path / "runs" / "cache" / "data").glob("miniclevr-*")]) == 1
    # Other settings are another folder; another runs folder is empty.
    assert run("data", "verify", "small.yaml", "--set", "seed=3") == 2
    assert run("data", "verify", "small.yaml", "--runs", "elsewhere") == 2
    capsys.readouterr()
    next((tmp_path / "runs").rglob("*.png")).write_bytes(b"no picture")
    assert run("data", "verify", "small.yaml") == 1
    assert "is damaged or not an image" in capsys.readouterr().err


def test_the_folder_of_a_published_data_set_comes_from_study_environment_or_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_vqa2(tmp_path / "vqa2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUSION_BENCH_DATA_VQA2", raising=False)
    study = STUDY.replace(
        "{name: miniclevr, image_size: [16, 24], size: [16, 24], images: {train: 8, select: 2, evaluate: 2}}",
        "{name: vqa2, image_size: [16, 24], root: vqa2}",
    )
    (tmp_path / "with_root.yaml").write_text(study)
    (tmp_path / "without.yaml").write_text(study.replace(", root: vqa2", ""))
    for name in ("vqa2", "without.yaml"):
        assert run("data", "show", name) == 2
        said = capsys.readouterr().err
        assert "pass --root FOLDER or set FUSION_BENCH_DATA_VQA2 (the files are published at https://" in said
    assert run("data", "show", "with_root.yaml", "--out", "one.png") == 0
    assert run("data", "show", "vqa2", "--root", str(root), "--out", "two.png") == 0
    monkeypatch.setenv("FUSION_BENCH_DATA_VQA2", str(root))
    assert run("data", "show", "without.yaml", "--out", "three.png") == 0
    pictures = {(tmp_path / f"{name}.png").read_bytes() for name in ("one", "two", "three")}
    assert len(pictures) == 1


def test_the_folder_may_be_that_of_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUSION_BENCH_DATA_EASY_VQA", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    installed = install_easy_vqa(tmp_path / "site")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "site").rglob("*")}
    assert run("data", "verify", "easy_vqa") == 1  # it is smaller than the published one
    assert "test: 96 samples on 24 images" in capsys.readouterr().out
    assert run("data", "show", "easy_vqa", "--out", "one.png") == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "site").rglob("*")} == before
    # A folder that is named takes precedence: in the environment, in the study, and by an option.
    other, third = (write_easy_vqa(tmp_path / str(images), test=images) for images in (20, 16))
    monkeypatch.setenv("FUSION_BENCH_DATA_EASY_VQA", str(other))
    (tmp_path / "small.yaml").write_text(
        re.sub(r"data: .*", f"data: {{name: easy_vqa, image_size: [16, 24], root: {third}}}", STUDY)
    )
    for name, options, images in (
        ("easy_vqa", (), 20),
        ("small.yaml", (), 16),
        ("small.yaml", ("--root", str(installed)), 24),
    ):
        capsys.readouterr()
        assert run("data", "verify", name, *options) == 1
        assert f"on {images} images" in capsys.readouterr().out
    # A damaged installation is named by its files.
    monkeypatch.delenv("FUSION_BENCH_DATA_EASY_VQA")
    (installed / "answers.txt").unlink()
    assert run("data", "verify", "easy_vqa") == 1
    assert f"{installed / 'answers.txt'} does not exist" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUSION_BENCH_DATA_EASY_VQA", raising=False)
    monkeypatch.setattr(EasyVqa, "package", replace(EasyVqa.package, distribution="not-installed-anywhere"))
    (tmp_path / "small.yaml").write_text(
        re.sub(r"data: .*", "data: {name: easy_vqa, image_size: [16, 24]}", STUDY)
    )
    command = "install its files with pip install 'laconv-fusion-bench[easy-vqa]', "
    variable = ", or set FUSION_BENCH_DATA_EASY_VQA (the files are published at https://"
    # Workers are other processes, in which the package may be installed: what they would say is asked here.
    assert run("data", "verify", "easy_vqa") == 2
    said = capsys.readouterr().err
    assert f"data set 'easy_vqa' is not known; {command}pass --root FOLDER{variable}" in said
    named = f"data set 'easy_vqa' is not known; {command}write data.root in the study, pass --data easy_vqa=FOLDER"
    assert run("plan", "small.yaml") == 0
    assert f"{named}{variable}" in capsys.readouterr().out
    with pytest.raises(FusionBenchError) as refused:
        RunPaths(tmp_path / "runs", {}, {}).root(read_study(tmp_path / "small.yaml").data)
    assert f"{named}{variable}" in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("make", "clevr", "--out", "x"), "clevr is not built in; download its files from https://"),
        (("make", "miniclevr", "--out", "x", "--set", "sizes=[2, 3]"), "does not accept these settings"),
        (("make", "miniclevr", "--out", "x", "--set", "sizes"), "write KEY=VALUE"),
        (("show", "clevr", "--root", "x", "--out", "x.jpg"), "write a name that ends in .png"),
        (("verify", "clever", "--root", "x"), "did you mean 'clevr'"),
        (("verify", "nothing.yaml"), "cannot read nothing.yaml"),
        (("show", "fractions:Fraction", "--root", "x"), "fractions:Fraction is no data set"),
        (("verify", "two words:A"), "'two words:A' names no class; write package.module:Class"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_way_to_a_batch_is_timed_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--size", "16", "24", "--images", "4", "--samples", "64")
    assert run("bench", "input", "miniclevr", *TOY, *size, "--json") == 0
    rates = json.loads(capsys.readouterr().out)
    assert len(rates) == 9
    assert all(rate["per_second"] == rate["count"] / rate["seconds"] > 0 for rate in rates)

"""The commands that look at a study read it as its last run did, and say so; what changed since is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from command_line import CommandLine, train
from fusion_bench.cells.folder import CELL_FILES
from fusion_bench.encoders.vision import build_backbone
from published_vqa2 import write_vqa2
from toys import STUDY, study_file

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

GATE = """
from toys import Product

class Gate(Product):
    scale = 1.0

    def forward(self, visual, language):
        return self.scale * super().forward(visual, language)
"""
ONE_EPOCH = "train.epochs=1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that ran with ``--set train.epochs=1``, and its ``runs``; not to be changed."""
    folder = tmp_path_factory.mktemp("last")
    train(study_file(folder), folder / "runs", ONE_EPOCH)
    return folder


@pytest.fixture
def ran(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder that may be changed."""
    shutil.copytree(trained, tmp_path / "copy")
    plan = tmp_path / "copy" / "runs" / "studies" / "toy" / "plan.json"
    plan.write_text(plan.read_text().replace(str(trained), str(tmp_path / "copy")))
    return tmp_path / "copy"


def shown(
    cli: CommandLine, folder: Path, *more: object, command: tuple[str, ...] = ("plan",)
) -> dict[str, object]:
    said = cli(*command, folder / "toy.yaml", "--runs", folder / "runs", "--json", *more)
    assert said.code == 0, said
    return json.loads(said.out)  # type: ignore[no-any-return]


@pytest.mark.parametrize("command", [("plan",), ("cells", "ls"), ("report",)], ids=" ".join)
@pytest.mark.parametrize("by_folder", [False, True], ids=["file", "folder"])
def test_the_overrides_of_the_last_run_are_used_and_told(
    cli: CommandLine, ran: Path, command: tuple[str, ...], by_folder: bool
) -> None:
    place = (ran / "runs/studies/toy",) if by_folder else (ran / "toy.yaml", "--runs", ran / "runs")
    said = cli(*command, *place)
    assert said.code == 0, said
    assert f"as in the last run of toy: --set {ONE_EPOCH}" in said.err
    assert "missing" not in said.out
    if command == ("report",):
        report = ran / "runs/studies/toy/report/report.md"
        assert f"Report: {report}" in said.out
        assert "1 epochs of batches" in report.read_text()


def test_other_overrides_replace_those_of_the_last_run(cli: CommandLine, ran: Path) -> None:
    said = cli("cells", "ls", ran / "toy.yaml", "--runs", ran / "runs", "--set", "train.epochs=2")
    assert said.err == ""
    assert said.out.count("missing") == 4
    assert (
        said.out.count(
            "not trained since train.epochs (1, now 2) changed; the result of the last run is kept"
        )
        == 4
    )
    train(ran / "toy.yaml", ran / "runs", "train.epochs=2")
    assert shown(cli, ran)["overrides"] == ["train.epochs=2"]
    assert shown(cli, ran, "--set", ONE_EPOCH)["states"] == {"done": 4, "failed": 0, "stale": 0, "missing": 0}
    train(ran / "toy.yaml", ran / "runs")
    assert shown(cli, ran)["overrides"] == []


def test_a_study_that_was_edited_since_says_so_and_names_what_changed(cli: CommandLine, ran: Path) -> None:
    file = ran / "toy.yaml"
    file.write_text(file.read_text() + "# a comment changes nothing\n")
    assert "was edited" not in cli("plan", file, "--runs", ran / "runs").err
    file.write_text(file.read_text().replace("batch_size: 16", "batch_size: 8"))
    said = cli("plan", file, "--runs", ran / "runs")
    assert f"{file} was edited since the last run of toy" in said.err
    assert "4 missing: not trained since train.batch_size (16, now 8) changed" in said.out
    refused = cli("report", ran / "runs/studies/toy").refusal()
    assert "no cell of the study 'toy' is finished: not trained since train.batch_size (16, now 8)" in refused


def test_a_study_file_that_is_gone_is_told_in_one_sentence(cli: CommandLine, ran: Path) -> None:
    folder = ran / "runs" / "studies" / "toy"
    (ran / "toy.yaml").rename(ran / "moved.yaml")
    for command in (("report",), ("plan",), ("cells", "ls")):
        refused = cli(*command, folder).refusal()
        assert refused.endswith(
            f"is not there any more; name the study file instead, with --runs {ran / 'runs'}"
        )
    assert "as in the last run of toy" in cli("plan", ran / "moved.yaml", "--runs", ran / "runs").err


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"study": "toy"}', '{"study": "toy", "cells": [{"arm": 1}]}', "7"]
)
def test_a_damaged_plan_is_told_in_one_sentence(cli: CommandLine, ran: Path, text: str) -> None:
    (ran / "runs/studies/toy/plan.json").write_text(text)
    refused = cli("plan", ran / "toy.yaml", "--runs", ran / "runs").refusal()
    assert "plan.json is" in refused and "\n" not in refused


def test_a_plan_of_an_older_version_is_read(cli: CommandLine, ran: Path) -> None:
    file = ran / "runs/studies/toy/plan.json"
    plan = json.loads(file.read_text())
    file.write_text(json.dumps({"study": plan["study"], "cells": plan["cells"]}))
    assert shown(cli, ran, "--set", ONE_EPOCH)["states"] == {"done": 4, "failed": 0, "stale": 0, "missing": 0}
    assert "its study file is not known; name the study file" in cli("report", file.parent).refusal()


def test_another_study_of_the_same_name_does_not_lend_its_overrides(cli: CommandLine, ran: Path) -> None:
    other = study_file(ran / "elsewhere")
    said = cli("plan", other, "--runs", ran / "runs")
    assert (
        f"the last run of toy read another file, {ran / 'toy.yaml'}; its --set and --data are not used"
        in said.err
    )
    assert "4 missing: not trained since train.epochs (1, now 2) changed" in said.out


def test_overrides_that_no_longer_fit_are_told_before_the_mistake(cli: CommandLine, ran: Path) -> None:
    train(ran / "toy.yaml", ran / "runs", "arms.weaker.gain=0.5")
    file = ran / "toy.yaml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "weaker" not in line))
    lines = cli("plan", file, "--runs", ran / "runs").refusal().splitlines()
    assert lines[0].startswith("as in the last run of toy: --set arms.weaker.gain=0.5")
    assert lines[1].startswith("--set arms.weaker")


def test_a_damaged_cell_that_is_no_longer_asked_for_ends_nothing(cli: CommandLine, ran: Path) -> None:
    for config in (ran / "runs" / "cells").glob("*/config.json"):
        config.unlink()
    plan = shown(cli, ran, "--set", "train.epochs=3")
    assert plan["states"] == {"done": 0, "failed": 0, "stale": 0, "missing": 4}


def test_a_folder_of_neither_kind_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    assert "no study that has run (it has no plan.json)" in cli("report", tmp_path).refusal()
    assert "is no folder of a study that has run" in cli("plan", tmp_path).refusal()


def test_a_context_names_the_study_that_holds_it(cli: CommandLine, tmp_path: Path) -> None:
    file = study_file(tmp_path, STUDY + "contexts: {mean: {head.pool: mean}}\n")
    train(file, tmp_path / "runs", ONE_EPOCH)
    studies = tmp_path / "runs" / "studies"
    shutil.copytree(studies / "toy", studies / "toy--mean")
    plan = studies / "toy--mean" / "plan.json"
    plan.write_text(plan.read_text().replace('"study": "toy"', '"study": "toy--mean"'))
    assert "toy--mean is a context of toy, whose report holds it" in cli("report", plan.parent).refusal()


def test_the_data_folder_of_the_last_run_is_used_and_told(cli: CommandLine, tmp_path: Path) -> None:
    root = write_vqa2(tmp_path / "vqa", images=30)
    text = STUDY.replace('{name: "toys:Squares", image_size: [32, 32]}', "{name: vqa2, image_size: [32, 32]}")
    file = study_file(tmp_path, text.replace("epochs: 2", "epochs: 1"))
    train(file, tmp_path / "runs", data=(f"vqa2={root}",))
    said = cli("cells", "ls", file, "--runs", tmp_path / "runs")
    assert f"as in the last run of toy: --data vqa2={root}" in said.err
    assert said.out.count("done") == 4
    other = write_vqa2(tmp_path / "other", images=30)
    (other / "Annotations/v2_mscoco_val2014_annotations.json").unlink()
    shutil.rmtree(other / "Images/mscoco/train2014")
    plan = shown(cli, tmp_path, "--data", f"vqa2={other}")
    (problem,) = plan["data_problems"]  # type: ignore[misc]
    assert problem.startswith(
        "the data of finished cells were not compared with today's: 2 files or folders do not"
    )
    assert "v2_mscoco_val2014_annotations.json" in problem and "Images/mscoco/train2014" in problem


def test_the_plan_names_missing_data_before_anything_ran(cli: CommandLine, tmp_path: Path) -> None:
    text = STUDY.replace(
        '{name: "toys:Squares", image_size: [32, 32]}', "{name: clevr, image_size: [32, 32]}"
    )
    file = study_file(tmp_path, text)
    said = cli("plan", file, "--runs", tmp_path / "runs", "--data", f"clevr={tmp_path / 'nowhere'}").out
    assert "4 files or folders do not exist" in said and "nowhere/questions/CLEVR_val_questions.json" in said
    said = cli("plan", file, "--runs", tmp_path / "runs").out
    assert "the folder of the data set 'clevr' is not known; write data.root" in said
    assert "4 cells to train; the time is not known, because no cell of this study is finished here" in said
    assert not (tmp_path / "runs").exists()


def test_errors_are_counted_in_json(cli: CommandLine, tmp_path: Path) -> None:
    file = study_file(tmp_path)
    overrides = (ONE_EPOCH, "arms.bad={module: 'toys:Explodes'}")
    train(file, tmp_path / "runs", *overrides)
    for done in [*(tmp_path / "runs/cells").glob("*/DONE")][:1]:
        shutil.rmtree(done.parent)
    for command in (("plan",), ("cells", "ls")):
        found = shown(cli, tmp_path, command=command)
        assert found["states"] == {"done": 3, "failed": 2, "stale": 0, "missing": 1}
        (reason,) = found["reasons"]  # type: ignore[misc]
        assert reason["state"] == "failed" and reason["cells"] == 2
        assert "the loss was not finite" in reason["reason"]


def test_time_disk_and_memory_come_from_finished_cells(cli: CommandLine, ran: Path) -> None:
    cells = [file.parent for file in (ran / "runs/cells").glob("*/timing.json")]
    assert all(json.loads((cell / "timing.json").read_text())["peak_bytes"] > 10**8 for cell in cells)
    for number, cell in enumerate(cells):
        timing = {"train_seconds": 100.0, "evaluation_seconds": 20.0, "peak_bytes": (number + 1) * 10**9}
        if number == 3:  # recorded before memory was looked at
            del timing["peak_bytes"]
        (cell / "timing.json").write_text(json.dumps(timing))
    nothing = {"disk_bytes": None, "worker_bytes": None, "gpu_bytes": None}
    assert shown(cli, ran)["estimate"] == {
        "cells": 0, "stale": 0, "seconds": 0.0, "measured": 0, "from_others": 0, **nothing
    }  # fmt: skip
    more = ("--set", ONE_EPOCH, "--set", "seeds=[0, 1, 2]", "--set", "arms.new={module: 'toys:Wider'}")
    found: dict[str, float] = shown(cli, ran, *more)["estimate"]  # type: ignore[assignment]
    on_disk = sum(
        (cell / name).stat().st_size for cell in cells for name in CELL_FILES if (cell / name).exists()
    )
    assert found.pop("disk_bytes") == pytest.approx(5 * on_disk / 4, rel=0.02)
    assert found == {
        "cells": 5, "stale": 0, "seconds": 600.0, "measured": 4, "from_others": 3, "worker_bytes": 3 * 10**9,
        "gpu_bytes": None,
    }  # fmt: skip
    said = cli("plan", ran / "toy.yaml", "--runs", ran / "runs", *more).out
    assert "5 cells to train: about 10 minutes of one worker, 0." in said
    assert "MB of disk, 3.0 GB of memory per worker (measured on 4 finished cells" in said
    assert ", of other arms for 3 of the cells" in said
    # Another length of training tells nothing about the time.
    longer = shown(cli, ran, "--set", "train.epochs=9")["estimate"]
    assert longer == {"cells": 4, "stale": 0, "seconds": None, "measured": 0, "from_others": 4, **nothing}


def test_an_edited_module_file_and_other_weights_are_named(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their content is part of what is asked, so the arm has other cells; the plan says why."""

    def weights(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save(build_backbone("test_vit", image_size=(32, 32)).net.state_dict(), tmp_path / "vit.pth")

    monkeypatch.setattr("fusion_bench.training.load_cell_data.initial_backbone", _random_backbone)
    weights(0)
    (tmp_path / "gate.py").write_text(GATE)
    text = STUDY.replace("weights: random", "weights: file:vit.pth")
    file = study_file(
        tmp_path, text.replace('weaker: {module: "toys:Product", gain: 0.5}', "weaker: {module: gate.py}")
    )
    train(file, tmp_path / "runs", ONE_EPOCH)
    (tmp_path / "gate.py").write_text(GATE.replace("1.0", "2.0"))
    said = cli("plan", file, "--runs", tmp_path / "runs").out
    assert "2 missing: not trained since gate.py changed; the result of the last run is kept" in said
    weights(1)
    said = cli("plan", file, "--runs", tmp_path / "runs").out
    assert "2 missing: not trained since the file of the backbone's weights changed" in said
    assert "2 missing: not trained since the file of the backbone's weights, gate.py changed" in said


def _random_backbone(config: object, *_: object) -> object:
    return build_backbone("test_vit", image_size=(32, 32), frozen=True)

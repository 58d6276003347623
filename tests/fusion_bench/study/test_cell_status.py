"""What makes a finished cell stale: data, weights and source that are not what it read, each by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from command_line import train
from fusion_bench.cells.current_inputs import CurrentInputs
from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import cell_folder
from fusion_bench.data import images
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.errors import FusionBenchError
from fusion_bench.results.collect import NOT_COMPARED, collect
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.storage import read_json, write_json
from fusion_bench.study.cell_status import CellStatus, cell_statuses, not_compared
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.run import RunOptions, RunResult, StudyRun
from fusion_bench.training import inputs
from fusion_bench.training.paths import RunPaths
from published_vqa2 import write_vqa2
from toys import STUDY, study_file

VQA = """\
version: 1
name: asked
data: {name: vqa2, image_size: [32, 32], answers: answers.json}
backbone: {name: test_resnet, layer: 2, weights: random, frozen: true}
text: {embedding: 8, hidden: 6}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 1, batch_size: 32}
arms:
  product: {module: hadamard}
controls: false
seeds: [0, 1]
"""
ANSWERS = ["red", "blue", "green", "yes", "no"]
TRAIN_ANSWERS = "Annotations/v2_mscoco_train2014_annotations.json"
TRAIN_QUESTIONS = "Questions/v2_OpenEnded_mscoco_train2014_questions.json"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with VQA v2 data in ``a``, a study file, and its finished cells in ``runs``; not to be changed."""
    folder = tmp_path_factory.mktemp("asked")
    write_vqa2(folder / "a", images=40)
    write_answers(folder / "a", ANSWERS)
    study_file(folder, VQA, "asked.yaml")
    train(folder / "asked.yaml", folder / "runs", data=(f"vqa2={folder / 'a'}",))
    return folder


@pytest.fixture
def asked(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder whose data may be changed."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def write_answers(root: Path, answers: list[str]) -> None:
    index = {answer: number for number, answer in enumerate(answers)}
    (root / "answers.json").write_text(json.dumps([index, {str(n): a for a, n in index.items()}]))


def paths_in(folder: Path, root: str = "a") -> RunPaths:
    return RunPaths(folder / "runs", {"vqa2": folder / root}, {})


def study_of(folder: Path) -> Study:
    return read_study(folder / "asked.yaml")


def statuses_of(folder: Path, root: str = "a") -> tuple[CellStatus, ...]:
    study = study_of(folder)
    return cell_statuses(confirm_cells(study.arms, study.seeds), paths_in(folder, root))


def run(study: Study, paths: RunPaths, **options: bool) -> RunResult:
    settings = WorkerSettings(paths, 0, threads=1)
    make = lambda: InlineExecutor(settings)  # noqa: E731
    return StudyRun(study, paths, make, SilentObserver(), RunOptions(**options)).run()


def other_answers(root: Path) -> None:
    """One answer of one question becomes another of the same length; size and time of change stay."""
    file = root / TRAIN_ANSWERS
    then = file.stat()
    text = file.read_text()
    file.write_text(text.replace('"answer": "blue"', '"answer": "gold"', 1))
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert file.stat().st_size == then.st_size


def one_more_image(root: Path) -> None:
    folder = root / "Images" / "mscoco" / "val2014"
    shutil.copy(next(folder.iterdir()), folder / "COCO_val2014_000000999999.jpg")


def one_more_line(root: Path) -> None:
    file = root / TRAIN_QUESTIONS
    file.write_text(file.read_text() + "\n")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (other_answers, TRAIN_ANSWERS),
        (one_more_line, TRAIN_QUESTIONS),
        (lambda root: write_answers(root, ANSWERS[::-1]), "answers.json"),
        (one_more_image, "Images/mscoco/val2014/"),
    ],
    ids=["answers", "questions", "answer_list", "images"],
)
def test_data_that_changed_under_finished_cells_are_named(
    asked: Path, change: Callable[[Path], object], name: str
) -> None:
    assert {status.state for status in statuses_of(asked)} == {"done"}
    change(asked / "a")
    found = {(status.state, status.reason) for status in statuses_of(asked)}
    assert found == {("stale", f"the data ({name}) changed since it was trained")}
    with pytest.raises(
        FusionBenchError, match=r"no cell .* is finished: the data .* changed .*--retry-stale"
    ):
        collect(study_of(asked), paths_in(asked))


def test_other_data_under_the_same_study_is_never_judged_by_old_cells(asked: Path) -> None:
    write_vqa2(asked / "b", images=60)
    write_answers(asked / "b", ANSWERS)
    study, elsewhere = study_of(asked), paths_in(asked, "b")
    assert run(study, elsewhere).trained == 0
    assert {status.state for status in statuses_of(asked, "b")} == {"stale"}
    assert run(study, elsewhere, retry_stale=True).trained == 2
    results = collect(study, elsewhere)
    assert set(results.cells["state"]) == {"done"}
    evaluated = results.samples[results.samples["split"] == "val2014"]
    assert evaluated.groupby("seed").size().tolist() == [120, 120]
    assert "val2014 (evaluate) 120 samples" in dict(results.setup)["Data"]
    assert {status.state for status in statuses_of(asked, "a")} == {"stale"}


def test_a_moved_or_touched_data_set_is_the_same(asked: Path) -> None:
    (asked / "a" / TRAIN_QUESTIONS).touch()
    (asked / "a").rename(asked / "moved")
    assert {status.state for status in statuses_of(asked, "moved")} == {"done"}


@pytest.mark.parametrize("root", ["nowhere", None], ids=["absent", "not_given"])
def test_without_the_data_the_report_is_made_and_says_that_nothing_was_compared(
    asked: Path, root: str | None
) -> None:
    paths = RunPaths(asked / "runs", {} if root is None else {"vqa2": asked / root}, {})
    study = study_of(asked)
    here = collect(study, paths_in(asked))
    results = collect(study, paths)
    assert set(results.cells["state"]) == {"done"}
    assert results.values.equals(here.values)
    assert results.slices == here.slices
    said = [caution for caution in results.cautions if caution.startswith(NOT_COMPARED)]
    assert len(said) == 1
    assert ("7 files or folders do not exist" if root else "is not known; write data.root") in said[0]
    assert not any(caution.startswith(NOT_COMPARED) for caution in here.cautions)


def test_no_picture_is_opened_to_compare(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} is opened")

    monkeypatch.setattr(images, "read_bytes", refuse)
    shutil.rmtree(asked / "runs" / "cache")
    assert {status.state for status in statuses_of(asked)} == {"done"}


def test_the_data_are_looked_at_once_for_all_cells(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    find = inputs.data_contents
    monkeypatch.setattr(
        "fusion_bench.cells.current_inputs.data_contents",
        lambda config, *rest: (looked.append(config.data.name), find(config, *rest))[1],
    )
    statuses_of(asked)
    assert looked == ["vqa2"]


def test_a_cell_recorded_before_files_were_listed_is_read_and_compared_by_its_source(asked: Path) -> None:
    for status in statuses_of(asked):
        file = cell_folder(asked / "runs", status.cell.id).path / "provenance.json"
        recorded = read_json(file)
        del recorded["files"], recorded["weights_file"]
        write_json(file, recorded)
    assert {status.state for status in statuses_of(asked)} == {"done"}


def toy_statuses(study: Study, paths: RunPaths) -> set[tuple[str, str]]:
    return {
        (status.state, status.reason)
        for status in cell_statuses(confirm_cells(study.arms, study.seeds), paths)
    }


def test_other_weights_of_the_backbone_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloaded or trained beforehand: the file that the weights came from is compared, without loading it."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"one")
    monkeypatch.setattr(inputs, "weights_file", lambda config, paths: weights if weights.exists() else None)
    study, paths = read_study(study_file(tmp_path)), RunPaths(tmp_path / "runs", {}, {})
    run(study, paths)
    assert toy_statuses(study, paths) == {("done", "")}
    weights.write_bytes(b"two")
    assert toy_statuses(study, paths) == {
        ("stale", "the weights of the backbone changed since it was trained")
    }
    weights.unlink()
    assert toy_statuses(study, paths) == {("done", "")}  # nothing to compare with


def test_an_adapter_that_states_its_manifest_alone_is_compared_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, paths = read_study(study_file(tmp_path)), RunPaths(tmp_path / "runs", {}, {})
    run(study, paths)
    assert toy_statuses(study, paths) == {("done", "")}
    monkeypatch.setattr("toys.Squares.manifest", lambda data: "others")
    assert toy_statuses(study, paths) == {("stale", "the data (its manifest) changed since it was trained")}


def test_a_built_in_data_set_that_is_gone_is_not_generated_to_compare(tmp_path: Path) -> None:
    study, paths = read_study(study_file(tmp_path)), RunPaths(tmp_path / "runs", {}, {})
    run(study, paths)
    shutil.rmtree(paths.cache)
    now = CurrentInputs(paths)
    statuses = cell_statuses(confirm_cells(study.arms, study.seeds), paths, now)
    assert {status.state for status in statuses} == {"done"}
    (problem,) = not_compared(statuses, now)
    assert problem.startswith("the built-in data set squares is not in")
    assert not paths.cache.exists()


def edit_provenance(paths: RunPaths, cell: str, **changes: str) -> None:
    file = cell_folder(paths.runs, cell).path / "provenance.json"
    write_json(file, {**read_json(file), **changes})


def test_data_that_cannot_be_read_cost_no_finished_cell_and_no_kept_option(asked: Path) -> None:
    plan = asked / "runs" / "studies" / "asked" / "plan.json"
    study, kept = study_of(asked), plan.read_text()
    shutil.copytree(asked / "a", asked / "b")
    next((asked / "b" / "Images" / "mscoco" / "val2014").iterdir()).unlink()
    with pytest.raises(FusionBenchError, match=r"1 of .* images are missing"):
        run(study, paths_in(asked, "b"), retry_stale=True)
    assert {status.state for status in statuses_of(asked)} == {"done"}
    assert plan.read_text() == kept


@pytest.mark.parametrize("changes", [{"device_kind": "cuda"}, {"torch": "1.0"}, {"timm": "0.1"}])
def test_retry_stale_reaches_cells_of_other_circumstances(tmp_path: Path, changes: dict[str, str]) -> None:
    study, paths = read_study(study_file(tmp_path)), RunPaths(tmp_path / "runs", {}, {})
    first = run(study, paths).cells[0]
    edit_provenance(paths, first.id, **changes)
    ((name, value),) = changes.items()
    stale = [status for status in toy_statuses(study, paths) if status[0] == "stale"]
    assert [reason.partition(";")[0] for _, reason in stale] == [f"trained with {name} {value}"]
    assert run(study, paths).trained == 0
    assert run(study, paths, retry_stale=True).trained == 1
    assert toy_statuses(study, paths) == {("done", "")}


def test_a_cell_that_would_come_out_the_same_is_not_trained_again(tmp_path: Path) -> None:
    study, paths = read_study(study_file(tmp_path)), RunPaths(tmp_path / "runs", {}, {})
    first, *others = run(study, paths).cells
    for cell in others:
        edit_provenance(paths, cell.id, torch="1.0")
    assert run(study, paths, retry_stale=True).trained == 0
    assert cell_folder(paths.runs, first.id).done
    reasons = {reason for state, reason in toy_statuses(study, paths) if state == "stale"}
    (reason,) = reasons
    assert "most cells with torch 1.0; training it here again would give the same" in reason


def test_a_cell_of_data_that_are_not_here_is_trained_again_on_those_that_are(asked: Path) -> None:
    """As after an import: the files are the same, and the manifest tells more than the files by name."""
    study, paths = study_of(asked), paths_in(asked)
    first = confirm_cells(study.arms, (0, 1, 2))[0]
    more = read_study(asked / "asked.yaml", ["seeds=[0, 1, 2]"])
    run(more, paths)
    edit_provenance(paths, first.id, data="1" * 64)
    found = cell_statuses(confirm_cells(more.arms, more.seeds), paths)
    assert [status.state for status in found] == ["stale", "done", "done"]
    assert "would give the same" not in found[0].reason
    assert run(more, paths, retry_stale=True).trained == 1
    assert {status.state for status in cell_statuses(confirm_cells(more.arms, more.seeds), paths)} == {"done"}


def test_where_the_data_cannot_be_opened_cells_on_other_data_are_not_mixed(asked: Path) -> None:
    study, paths = study_of(asked), RunPaths(asked / "runs", {}, {})
    more = read_study(asked / "asked.yaml", ["seeds=[0, 1, 2]"])
    write_vqa2(asked / "b", images=60)
    write_answers(asked / "b", ANSWERS)
    run(more, paths_in(asked, "b"))
    found = cell_statuses(confirm_cells(more.arms, more.seeds), paths)
    assert [status.state for status in found] == ["done", "done", "stale"]
    assert found[2].reason.startswith("trained with data ")
    assert set(collect(study, paths).cells["state"]) == {"done"}


def test_a_cell_that_starts_from_another_is_stale_with_the_data_of_its_words(tmp_path: Path) -> None:
    """The vocabulary of a warm-started cell comes from the data set of the first cell."""
    first = read_study(study_file(tmp_path))
    text = 'extends: toy.yaml\nname: second\nstart: {study: toy.yaml}\ndata: {name: "toys:Fewer"}\n'
    second = read_study(study_file(tmp_path, text, "second.yaml"))
    paths = RunPaths(tmp_path / "runs", {}, {})
    settings = WorkerSettings(paths, 0, threads=1, keep_weights=True)
    for study in (first, second):
        StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    assert toy_statuses(second, paths) == {("done", "")}
    cell = confirm_cells(second.arms, second.seeds)[0]
    recorded = cell_folder(paths.runs, cell.id).provenance()
    assert set(recorded.files) == {"", "squares: "}
    files = {**recorded.files, "squares: ": "others"}
    file = cell_folder(paths.runs, cell.id).path / "provenance.json"
    write_json(file, {**read_json(file), "files": files})
    assert ("stale", "the data (squares: ) changed since it was trained") in toy_statuses(second, paths)


def test_no_cell_starts_from_the_weights_of_a_stale_one(tmp_path: Path) -> None:
    first = read_study(study_file(tmp_path))
    text = "extends: toy.yaml\nname: second\nstart: {study: toy.yaml}\ntrain: {epochs: 1}\n"
    second = read_study(study_file(tmp_path, text, "second.yaml"))
    paths = RunPaths(tmp_path / "runs", {}, {})
    settings = WorkerSettings(paths, 0, threads=1, keep_weights=True)
    ran = StudyRun(first, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    edit_provenance(paths, ran.cells[0].id, module="other")
    with pytest.raises(
        FusionBenchError, match="which is stale: the module's source changed since it was trained"
    ):
        run(second, paths)


def test_costs_are_those_of_the_data_that_were_trained_on(asked: Path) -> None:
    """Other questions have other words, and so another text encoder; what was measured before is not reused."""
    study, paths = study_of(asked), paths_in(asked)
    before = collect(study, paths).arms[0].around_parameters
    file = asked / "a" / TRAIN_QUESTIONS
    file.write_text(file.read_text().replace("What color is it?", "What colour has that thing?"))
    run(study, paths, retry_stale=True)
    after = collect(study, paths).arms[0].around_parameters
    assert before is not None and after is not None and after > before


def test_pictures_of_a_built_in_data_set_that_another_machine_encoded_are_the_same_data(
    tmp_path: Path,
) -> None:
    data = MiniClevr(tmp_path / "mini", images={"train": 3, "select": 2, "evaluate": 2}, size=(32, 48))
    data.prepare()
    contents, manifest = data.contents(), data.manifest()
    file = next((tmp_path / "mini" / "images" / "val").iterdir())
    Image.open(file).save(file, compress_level=0)
    assert data.contents() == contents
    assert data.manifest() != manifest
    file.unlink()
    assert data.contents() != contents


def test_search_cells_on_other_data_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = read_study(
        study_file(tmp_path, STUDY), ["search={trials: 2, batch: 2, space: {gain: [0.5, 2.0]}}", "seeds=[0]"]
    )
    paths = RunPaths(tmp_path / "runs", {}, {})
    ran = run(study, paths)
    for cell in ran.search.search_cells:
        edit_provenance(paths, cell.id, numerics="other")
    assert any("of the search's" in caution for caution in collect(study, paths).cautions)
    monkeypatch.setattr("toys.Squares.manifest", lambda data: "others")
    assert run(study, paths, retry_stale=True).trained == len(
        {cell.id for cell in (*ran.search.search_cells, *ran.cells)}
    )

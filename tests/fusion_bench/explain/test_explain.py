"""The explanation of a finished cell agrees with its training and its evaluation."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.inline import InlineExecutor
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.errors import FusionBenchError
from fusion_bench.explain.explain import (
    ExplainedCell,
    ExplainedInput,
    ExplainRequest,
    explain,
    explaining_modules,
)
from fusion_bench.spec.load import read_study
from fusion_bench.spec.study import Study
from fusion_bench.storage import read_json, write_json
from fusion_bench.study.observer import SilentObserver
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.run import RunOptions, StudyRun
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.load_cell_data import load_cell_data
from fusion_bench.training.loop import build_model
from fusion_bench.training.paths import RunPaths
from fusion_bench.training.slot import Slot
from held_cells import fail_cell
from toys import STUDY, study_file

EXPLAINERS = """
import torch
from torch import nn
from fusion_bench.contract import Citation, Explanation, FusionModule, Pyramid, VisionLanguageNetwork

CITATION = Citation("A toy", "Nobody", "tests", 2026, "")

class Wrong(FusionModule):
    citation, width, listens, position_code = CITATION, None, "words", "none"

    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {}

    def __init__(self, visual_dim, language_dim):
        super().__init__()
        self.out_dim = visual_dim
        self.project = nn.Linear(language_dim, visual_dim)

    def forward(self, visual, language):
        return visual * self.project(language.sentence)[:, :, None, None]

    def explain(self, visual, language):
        return Explanation(language.words)

class Block(nn.Module):
    def __init__(self, language_dim, channels):
        super().__init__()
        self.scale = nn.Linear(language_dim, channels)

    def forward(self, visual, language):
        return visual * self.scale(language.sentence)[:, :, None, None]

    def explain(self, visual, language):
        heard = (language.words * language.sentence[:, None]).sum(2)  # [B, T]
        shares = heard.masked_fill(~language.mask, float("-inf")).softmax(1)
        return Explanation(shares[..., None, None].expand(*shares.shape, *visual.shape[2:]))

class Net(VisionLanguageNetwork):
    citation = CITATION

    def __init__(self, language_dim):
        super().__init__()
        self.out_dims = (6,)
        self.stem = nn.Conv2d(3, 6, 4, stride=4)
        self.blocks = nn.ModuleList([Block(language_dim, 6), Block(language_dim, 6)])

    def forward(self, image, language):
        visual = self.stem(image)
        for block in self.blocks:
            visual = block(visual, language=language)
        return Pyramid((visual,), (4,))
"""
"""A module that breaks the protocol, and a network whose blocks keep it."""

ARMS = """
arms:
  laconv: {module: laconv, kernel_size: 3, groups: 2, heads: 2}
  cross: {module: cross_attention, heads: 2}
  wrong: {module: "explainers.py:Wrong"}
  product: {module: "toys:Product"}
"""
FROZEN = re.sub(r"arms:\n( .*\n)+", ARMS.lstrip(), STUDY)
FROZEN = FROZEN.replace("[32, 32]", "[32, 48]").replace("seeds: [0, 1]", "seeds: [0]")
FROZEN = FROZEN.replace("test_vit,", "test_resnet, layer: 2,").replace("depth: 1", "depth: 2")


@dataclass(frozen=True)
class TrainedStudy:
    """A study whose cells are done, with their weights."""

    study: Study
    paths: RunPaths

    def ask(self, arm: str, about: ExplainedInput | str, **further: int) -> ExplainedCell:
        return explain(self.study, ExplainRequest(arm, about, **further), self.paths)

    def folder(self, arm: str) -> CellFolder:
        (cell,) = confirm_cells([a for a in self.study.arms if a.label == arm], [self.study.seeds[0]])
        return cell_folder(self.paths.runs, cell.id)


def trained(folder: Path, text: str, *, keep_weights: bool = True) -> TrainedStudy:
    file = study_file(folder, text)
    (folder / "explainers.py").write_text(EXPLAINERS)
    study, paths = read_study(file), RunPaths(folder / "runs", {}, {})
    settings = WorkerSettings(paths, workers=1, threads=1, keep_weights=keep_weights)
    StudyRun(study, paths, lambda: InlineExecutor(settings), SilentObserver(), RunOptions()).run()
    return TrainedStudy(study, paths)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> TrainedStudy:
    """Arms on the cached maps of a frozen backbone."""
    return trained(tmp_path_factory.mktemp("frozen"), FROZEN)


@pytest.fixture
def copied(frozen: TrainedStudy, tmp_path: Path) -> TrainedStudy:
    """The same cells in a runs folder of their own, to be damaged."""
    shutil.copytree(frozen.paths.runs / "cells", tmp_path / "runs" / "cells")
    (tmp_path / "runs" / "cache").symlink_to(frozen.paths.runs / "cache")
    return TrainedStudy(frozen.study, RunPaths(tmp_path / "runs", {}, {}))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(FusionBenchError) as refused:
        call()
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Explanations


@pytest.mark.parametrize("arm", ["laconv", "cross"])
def test_the_answer_is_the_one_that_the_cell_was_judged_by(frozen: TrainedStudy, arm: str) -> None:
    samples = frozen.folder(arm).outcome().samples
    for row in samples[samples["split"] == "test"].iloc[::17].to_dict("records"):
        explained = frozen.ask(arm, row["sample"])
        assert explained.answer is not None
        assert explained.answer.text == row["prediction"]
        assert explained.explained_input.truth == row["truth"]
        assert 0.5 <= explained.answer.probability <= 1  # of two answers


@pytest.mark.parametrize("copy", [1, 2])
def test_a_copy_is_asked_about_what_it_was_given_on_the_way(frozen: TrainedStudy, copy: int) -> None:
    # The same sample from the cell data and the batch loader of the training loop.
    folder = frozen.folder("laconv")
    cell_data = load_cell_data(folder.config(), frozen.paths)
    model = build_model(folder.config(), cell_data)
    model.load_state_dict(load_file(folder.path / "model.safetensors"))
    model.eval()
    encoded = cell_data.encoded["test"]
    row = 10
    batch = BatchLoader(encoded, cell_data, torch.device("cpu")).batch(torch.tensor([row]))
    assert isinstance(model.slot, Slot)
    with torch.no_grad():
        language = model.text(batch.tokens, batch.mask)
        fused = model.slot.projection(batch.visual)
        for module in list(model.slot.fusion)[: copy - 1]:
            fused = module(fused, language)
        expected = model.slot.fusion[copy - 1].explain(fused, language)  # type: ignore[operator]
    found = frozen.ask("laconv", encoded.split.sample(row).id, copy=copy)
    assert (found.copy, found.copies) == (copy, 2)
    assert found.kernels is not None
    # A cached map is rounded to half precision, and a batch of one rounds otherwise before that.
    assert np.allclose(found.attention, expected.words[0], atol=2e-3)
    assert np.allclose(found.kernels, expected.kernels[0], atol=5e-3)


def test_the_last_copy_is_asked_unless_another_is_named(frozen: TrainedStudy) -> None:
    assert frozen.ask("laconv", "test-0-red").copy == 2


def test_a_module_without_kernels_shows_its_words_alone(frozen: TrainedStudy) -> None:
    explained = frozen.ask("cross", "test-1-green")
    assert explained.words == ("is", "it", "green")
    assert explained.kernels is None
    assert explained.attention.shape[0] == 3
    assert explained.attention.shape[1] < explained.attention.shape[2]  # 32 x 48 pixels
    assert np.allclose(explained.attention.sum(0), 1, atol=1e-5)


def test_a_picture_and_a_sentence_of_ones_own(frozen: TrainedStudy, tmp_path: Path) -> None:
    sample = frozen.ask("laconv", "test-4-green")
    elsewhere = tmp_path / "mine.png"
    shutil.copy(sample.explained_input.image, elsewhere)
    own = frozen.ask("laconv", ExplainedInput(elsewhere, "Is it GREEN?"))
    assert own.answer == sample.answer
    assert np.array_equal(own.attention, sample.attention)
    assert own.explained_input.truth is None


def test_words_that_training_did_not_hold_are_named(frozen: TrainedStudy) -> None:
    image = frozen.ask("laconv", "test-0-red").explained_input.image
    explained = frozen.ask("laconv", ExplainedInput(image, "is the zebra red?"))
    assert explained.words == ("is", "the", "zebra", "red")
    assert explained.known == (True, False, False, True)


def test_a_trained_backbone_comes_with_the_weights(tmp_path: Path) -> None:
    text = FROZEN.replace("frozen: true", "frozen: false")
    text = re.sub(r"  (cross|wrong|product): .*\n", "", text).replace("epochs: 2", "epochs: 1")
    own = trained(tmp_path, text)
    samples = own.folder("laconv").outcome().samples
    for row in samples[samples["split"] == "test"].iloc[::25].to_dict("records"):
        answer = own.ask("laconv", row["sample"]).answer
        assert answer is not None and answer.text == row["prediction"]


def test_the_blocks_of_a_network_are_its_copies(tmp_path: Path) -> None:
    arms = 'arms:\n  net: {network: "explainers.py:Net"}\n  tiny: {network: "toys:TinyNetwork"}\n'
    text = re.sub(r"arms:\n( .*\n)+", arms, FROZEN)
    text = text.replace("frozen: true", "frozen: false")
    own = trained(tmp_path, text)
    explained = own.ask("net", "test-2-blue", copy=1)
    assert explained.copies == 2
    assert explained.attention.shape == (3, 8, 12)
    samples = own.folder("net").outcome().samples.set_index("sample")
    assert explained.answer is not None
    assert explained.answer.text == samples.loc["test-2-blue", "prediction"]
    assert "'tiny' cannot be explained: TinyNetwork has no explain" in refusal(
        lambda: own.ask("tiny", "test-2-blue")
    )


def test_what_explains_itself_is_found_outermost_first() -> None:
    class Speaks(torch.nn.Module):
        def explain(self) -> None: ...

    inner, outer, second = Speaks(), Speaks(), Speaks()
    outer.inner = inner
    slot = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Sequential(outer), second)
    assert explaining_modules(slot) == [outer, second]


# Errors


@pytest.mark.parametrize(
    ("arm", "about", "further", "message"),
    [
        ("lacon", "test-0-red", {}, "the study 'toy' has no arm 'lacon' (did you mean 'laconv'?)"),
        (
            "product",
            "test-0-red",
            {},
            "'product' cannot be explained: Product has no explain(visual, language)",
        ),
        ("product", "test-0-red", {}, "use 'laconv', 'cross', 'wrong'"),
        ("laconv", "test-0-red", {"seed": 7}, "--seed 7: 'laconv' of the study 'toy' has the seeds 0"),
        ("laconv", "test-0-red", {"copy": 3}, "--copy 3: the arm 'laconv' has 2 copies, counted from 1"),
        ("laconv", "test-0-red", {"copy": 0}, "--copy 0: the arm 'laconv' has 2 copies, counted from 1"),
        ("laconv", "test-0-pink", {}, "(test, val, train) has a sample 'test-0-pink'"),
        ("laconv", "test-0-pink", {}, "the first of test is 'test-0-red'"),
        ("laconv", ExplainedInput(Path("none.png"), "is it red?"), {}, "cannot read the image none.png"),
        ("laconv", ExplainedInput(Path("none.png"), "?!"), {}, "the sentence '?!' contains no word"),
        ("wrong", "test-0-red", {}, "Wrong.explain gives words [1, 3, 8] for one sentence of 3 words"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_sentence(
    frozen: TrainedStudy, arm: str, about: ExplainedInput | str, further: dict[str, int], message: str
) -> None:
    assert message in refusal(lambda: frozen.ask(arm, about, **further))


def test_a_cell_that_is_not_trained_says_how_to_train_it(frozen: TrainedStudy, tmp_path: Path) -> None:
    elsewhere = TrainedStudy(frozen.study, RunPaths(tmp_path / "runs", {}, {}))
    message = refusal(lambda: elsewhere.ask("laconv", "test-0-red"))
    assert f"not trained in {tmp_path / 'runs'}" in message
    assert f"`fusion-bench run {frozen.study.path} --keep-weights`" in message


def test_a_cell_that_failed_says_why(copied: TrainedStudy) -> None:
    folder = copied.folder("laconv")
    (folder.path / "DONE").unlink()
    fail_cell(folder, "the loss was not finite", "")
    assert "could not be trained (the loss was not finite)" in refusal(
        lambda: copied.ask("laconv", "test-0-red")
    )


def test_a_cell_without_weights_says_how_to_get_them(copied: TrainedStudy) -> None:
    folder = copied.folder("laconv")
    (folder.path / "model.safetensors").unlink()
    message = refusal(lambda: copied.ask("laconv", "test-0-red"))
    assert f"delete {folder.path} and run" in message and "--keep-weights" in message


@pytest.mark.parametrize("damage", ["cut", "another arm's"])
def test_weights_that_do_not_fit_are_refused(copied: TrainedStudy, damage: str) -> None:
    file = copied.folder("laconv").path / "model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    else:
        shutil.copy(copied.folder("cross").path / "model.safetensors", file)
    assert "does not fit the current source of the arm" in refusal(lambda: copied.ask("laconv", "test-0-red"))


def test_a_frozen_backbone_that_comes_out_otherwise_is_refused(copied: TrainedStudy) -> None:
    file = copied.folder("laconv").path / "provenance.json"
    write_json(file, {**read_json(file), "weights": "another"})
    assert "'test_resnet' has other weights here" in refusal(lambda: copied.ask("laconv", "test-0-red"))


def test_a_stale_cell_is_explained_and_says_so(copied: TrainedStudy) -> None:
    assert copied.ask("laconv", "test-0-red").stale_reason == ""
    file = copied.folder("laconv").path / "provenance.json"
    write_json(file, {**read_json(file), "module": "older"})
    assert (
        copied.ask("laconv", "test-0-red").stale_reason == "the module's source changed since it was trained"
    )

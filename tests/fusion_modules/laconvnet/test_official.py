"""The authors' networks: sizes, strict loading, and every number against a second derivation from published facts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fusion_bench.contract import Language, multiply_adds_of
from fusion_bench.errors import WeightsError
from fusion_modules.laconvnet.official import OfficialLaConvNet, load_official
from official_laconvnet import CASES, WORDS, Case, one_number_each, random_weights
from rederived_laconvnet import RederivedLaConvNetS

EVERY = pytest.mark.parametrize("case", CASES, ids=" ".join)
TOKENS = torch.tensor([[3, 5, 2, 0, 0], [4, 1, 6, 2, 5]])


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# Sizes -----------------------------------------------------------------------------------------------------


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@EVERY
def test_parameters_are_as_many_as_the_authors(case: Case) -> None:
    """The numbers were counted on the authors' code, with a vocabulary of 1000 words."""
    with torch.device("meta"):
        model = OfficialLaConvNet(*case, 1000)
    small, boxes = case[0] == "s", case[1] == "det"
    assert count(model.text) == 5_096_929
    assert count(model.network.visual) == (10_631_788 if small else 22_268_920)
    assert count(model.network.neck) == 4_887_296
    assert (0 if model.mask_neck is None else count(model.mask_neck)) == (0 if boxes else 1_028_608)
    assert count(model.head) == (1_313_541 if boxes else 477_057)
    totals = [21_929_554, 22_121_678, 33_566_686, 33_758_810]
    assert count(model) == dict(zip(CASES, totals, strict=True))[case]


@pytest.mark.parametrize(
    ("case", "giga"), [*zip(CASES, (8.486, 10.481, 14.543, 16.538), strict=True)], ids=str
)
def test_multiply_adds_are_those_measured_on_the_authors_code(case: Case, giga: float) -> None:
    """The count is for one image of 416 x 416 and 15 words: convolutions, matrix products and the aggregation."""
    with torch.device("meta"):
        model = OfficialLaConvNet(*case, 1000)
        images, tokens = torch.empty(1, 3, 416, 416), torch.ones(1, 15, dtype=torch.int64)
        language = Language(torch.empty(1, 15, 512), tokens > 0, torch.empty(1, 512))
    assert multiply_adds_of(model, images, tokens) / 1e9 == pytest.approx(giga, rel=1e-3)
    visual = multiply_adds_of(model.network.visual, images, language) / 1e9
    assert visual == pytest.approx(6.180 if case[0] == "s" else 12.237, rel=1e-3)


# Every number against the second derivation ------------------------------------------------------------------------


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Require equality to 1e-9 of the largest value."""
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-9 * float(expected.abs().max())


def test_the_detection_network_equals_the_authors() -> None:
    weights = random_weights(("s", "det"))
    model, facts = load_official(weights).double(), RederivedLaConvNetS(weights)
    with torch.inference_mode():
        maps = model.features(images(), TOKENS)
        found = model(images(), TOKENS)
        expected = facts.features(images(), TOKENS)
        assert [tuple(x.shape[1:]) for x in maps] == [
            (16, 32, 32),
            (64, 16, 16),
            (128, 8, 8),
            (256, 4, 4),
            (512, 2, 2),
        ]
        for one, other in zip(maps, expected, strict=True):
            assert 0.1 < float(other.abs().max()) < 1e4
            assert_close(one, other)
        assert list(found) == ["box"]
        assert_close(found["box"], facts.box(facts.neck(expected[2:])[2]))


def test_the_segmentation_network_equals_the_authors() -> None:
    weights = random_weights(("s", "seg"))
    model, facts = load_official(weights).double(), RederivedLaConvNetS(weights)
    with torch.inference_mode():
        maps = facts.top_down("detection_neck", facts.neck(facts.features(images(), TOKENS)[2:]))
        logits = facts.mask_logits(maps[0])
        middle = logits.mean()  # random weights can give a constant mask, which would prove little
        model.head.project.bias -= middle  # type: ignore[operator, union-attr]
        found = model(images(), TOKENS)
    expected = torch.sigmoid(logits - middle) > 0.5
    assert list(found) == ["mask"]
    assert found["mask"].dtype == torch.bool
    assert torch.equal(found["mask"], expected)
    assert 0.1 < float(expected.double().mean()) < 0.9


# Loading ---------------------------------------------------------------------------------------------------


def refusal(source: Any, vocabulary: Any = None) -> str:
    with pytest.raises(WeightsError) as caught:
        load_official(source, vocabulary)
    return str(caught.value)


@EVERY
@pytest.mark.parametrize("prefix", ["", "module."])
def test_all_four_networks_load_strictly(case: Case, prefix: str) -> None:
    weights = one_number_each(case)
    model = load_official({"epoch": 9, "state_dict": {prefix + name: x for name, x in weights.items()}})
    assert (model.variant, model.task, model.epoch, model.vocabulary) == (*case, 9, None)
    assert not any(module.training for module in model.modules())
    assert sorted(float(x.flatten()[0]) for x in model.state_dict().values()) == list(range(len(weights)))


def test_every_difference_is_listed_at_once() -> None:
    weights = one_number_each(("s", "seg"))
    for name in [name for name in weights if name.startswith("lang_encoder.sa_list.0.norm1.")]:
        del weights[name]
    del weights["head.sconv.0.out_proj.bias"]
    weights["head.stems.0.bn.weight"] = weights["head.stems.0.bn.bias"] = torch.zeros(256)
    weights["optimizer_step"] = torch.zeros(())
    weights["visual_encoder.blocks.0.1.conv1.linear.weight"] = torch.zeros(36, 64, 1, 1)
    weights["head.sconv.0.conv0.conv.weight"] = torch.zeros(128, 128, 1, 1, dtype=torch.float16)
    weights["visual_encoder.stem.conv.bn.num_batches_tracked"] = torch.tensor(1.5)
    message = refusal(weights)
    assert message.splitlines()[0] == (
        "the state_dict does not fit LaConvNet-S seg, so nothing was loaded; these tensors differ from the "
        "authors' network:"
    )
    assert [line.strip() for line in message.splitlines()[1:]] == [
        "missing: lang_encoder.sa_list.0.norm1.{weight,bias}",
        "missing: head.sconv.0.out_proj.bias",
        "unused: head.stems.0.bn.{weight,bias}",
        "unused: optimizer_step",
        "shape: visual_encoder.blocks.0.1.conv1.linear.weight is [36, 64, 1, 1], expected [100, 64, 1, 1]",
        "type: visual_encoder.stem.conv.bn.num_batches_tracked is torch.float32, expected torch.int64",
        "type: head.sconv.0.conv0.conv.weight is torch.float16, expected torch.float32",
    ]


@pytest.mark.parametrize("shape", [(7, 200), (2100,), ()])
def test_an_embedding_of_another_width_is_reported_as_a_wrong_shape(shape: tuple[int, ...]) -> None:
    weights = {**one_number_each(("s", "det")), "lang_encoder.embedding.weight": torch.zeros(shape)}
    assert f"shape: lang_encoder.embedding.weight is {list(shape)}, expected" in refusal(weights)


def test_a_missing_embedding_is_reported() -> None:
    weights = one_number_each(("s", "det"))
    del weights["lang_encoder.embedding.weight"]
    assert refusal(weights).endswith("\n  missing: lang_encoder.embedding.weight")


def test_weights_keep_their_type_and_are_copied() -> None:
    weights = {
        name: value.double() if value.is_floating_point() else value
        for name, value in one_number_each(("s", "det")).items()
    }
    weights["head.obj_preds.0.bias"] = bias = torch.zeros(1, dtype=torch.float64)
    model = load_official(weights)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    bias += 1
    assert model.state_dict()["head.objectness.bias"].item() == 0


def test_a_vocabulary_has_one_word_per_row(tmp_path: Path) -> None:
    weights, words = one_number_each(("s", "det")), ["PAD", "UNK", "CLS", "the", "größte", "cube", "left"]
    file = tmp_path / "words.txt"
    file.write_text("\n".join(words) + "\n", encoding="utf-8")
    assert len(words) == WORDS
    assert load_official(weights, words).vocabulary == tuple(words)
    assert load_official(weights, file).vocabulary == tuple(words)
    assert load_official(weights, str(file)).vocabulary == tuple(words)
    assert "the vocabulary has 6 words and the embedding of the state_dict has 7 rows" in refusal(
        weights, words[1:]
    )
    assert "repeats 1 words ('the', ...)" in refusal(weights, ["the", *words[1:]])
    file.write_text("PAD\n\nCLS\n")
    assert "has no word in line 2" in refusal(weights, file)
    file.write_bytes(b"\xff\xfe")
    assert "cannot be read as UTF-8 text" in refusal(weights, file)
    assert "cannot be read as UTF-8 text" in refusal(weights, tmp_path / "none.txt")


# Using -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> OfficialLaConvNet:
    return load_official(random_weights(("s", "det")))


@torch.inference_mode()
def test_reads_pictures_of_any_sides_divisible_by_32(model: OfficialLaConvNet) -> None:
    box = model(torch.rand(2, 3, 96, 64), TOKENS)["box"]
    assert box.shape == (2, 5)
    assert box.dtype == torch.float32
    assert ((box[:, 2:4] > box[:, :2]).all() and (box[:, 4] > 0).all() and (box[:, 4] < 1).all()).item()


@torch.inference_mode()
def test_more_padding_changes_nothing(model: OfficialLaConvNet) -> None:
    exact = copy.deepcopy(model).double()
    longer = torch.cat((TOKENS, torch.zeros(2, 10, dtype=torch.int64)), dim=1)
    torch.testing.assert_close(exact(images(), longer)["box"], exact(images(), TOKENS)["box"])


@pytest.mark.parametrize(
    ("images", "tokens", "message"),
    [
        (torch.rand(2, 3, 64, 70), TOKENS, "multiples of 32, not 64 x 70"),
        (torch.rand(2, 1, 64, 64), TOKENS, r"images must be \[B, 3, H, W\], not \[2, 1, 64, 64\]"),
        (torch.rand(3, 3, 64, 64), TOKENS, r"tokens must be integers \[B, T\] for 3 images"),
        (torch.rand(2, 3, 64, 64), TOKENS.float(), "tokens must be integers"),
        (torch.rand(2, 3, 64, 64), TOKENS + 3, "row numbers of the embedding, 0 to 6"),
        (
            torch.rand(2, 3, 64, 64),
            TOKENS * torch.tensor([[1], [0]]),
            "each sentence must have at least one word",
        ),
    ],
    ids=["sides", "channels", "samples", "type", "range", "empty"],
)
def test_inputs_that_do_not_fit_are_rejected(
    model: OfficialLaConvNet, images: Tensor, tokens: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(images, tokens)

"""The visual encoder: the exact sizes of the paper, the Focus order, and the effect of words on every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from fusion_bench.contract import Language
from fusion_modules.laconvnet.convolution import space_to_depth
from fusion_modules.laconvnet.encoder import BASE_STAGES, SMALL_STAGES, StageConfig, VisualEncoder

Array = npt.NDArray[np.float64]
STAGES = {"small": SMALL_STAGES, "base": BASE_STAGES}


def on_meta(size: str) -> VisualEncoder:
    with torch.device("meta"):
        return VisualEncoder(512, STAGES[size]).eval()


def words_on_meta(words: int = 15) -> Language:
    with torch.device("meta"):
        return Language(
            torch.empty(1, words, 512), torch.ones(1, words, dtype=torch.bool), torch.empty(1, 512)
        )


@pytest.mark.parametrize(("size", "parameters"), [("small", 10_631_788), ("base", 22_268_920)])
def test_has_the_parameters_of_the_released_networks(size: str, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in on_meta(size).parameters()) == parameters


@pytest.mark.parametrize(
    ("size", "giga_projections", "giga_aggregation"), [("small", 6.050, 0.130), ("base", 11.947, 0.291)]
)
def test_has_the_multiply_adds_of_the_released_networks(
    size: str, giga_projections: float, giga_aggregation: float
) -> None:
    """The counts are for 416 x 416 and 15 words; the published table has three decimals."""
    encoder = on_meta(size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(torch.empty(1, 3, 416, 416, device="meta"), words_on_meta())
    by_operator = {str(op): flops / 2e9 for op, flops in counter.get_flop_counts()["Global"].items()}
    aggregation = sum(giga for op, giga in by_operator.items() if not op.startswith("aten."))
    projections = sum(by_operator.values()) - aggregation
    sides = [416 // stride for stride in encoder.strides]
    formula = sum(
        stage.channels * k**2 * side**2
        for stage, side in zip(STAGES[size], sides, strict=True)
        for k in stage.kernel_sizes
    )
    assert aggregation * 1e9 == pytest.approx(formula, abs=0.5), "C k^2 H W, exactly"
    assert round(aggregation, 3) == giga_aggregation
    assert projections == pytest.approx(giga_projections, rel=1e-3)


def test_every_block_has_the_widths_of_the_table() -> None:
    """The shapes of the weights give condition width E, packing t, groups G and kernel size k."""
    table = {16: (64, 8, 4), 64: (128, 4, 4), 128: (128, 2, 8), 256: (256, 1, 8), 512: (512, 1, 16)}
    kernels = {"small": "35 7 77 7777 7", "base": "357 777 7777 777777 777"}
    for size, listed in kernels.items():
        weights = {name: tuple(tensor.shape) for name, tensor in on_meta(size).state_dict().items()}
        for number, (channels, (cond_dim, packing, groups)) in enumerate(table.items()):
            for index, k in enumerate(map(int, listed.split()[number])):
                block = f"stages.{number}.blocks.{index}"
                assert weights[f"{block}.condition.query.weight"] == (cond_dim, channels * packing**2, 1, 1)
                assert weights[f"{block}.condition.merge.weight"] == (cond_dim * packing**2, cond_dim, 1, 1)
                assert weights[f"{block}.kernels.weight"] == (groups * k**2, cond_dim, 1, 1)
                assert weights[f"{block}.mlp.0.weight"] == (4 * channels, channels, 1, 1)
            assert f"stages.{number}.blocks.{len(listed.split()[number])}.kernels.weight" not in weights


def test_gives_five_maps_at_strides_2_to_32() -> None:
    maps = on_meta("small")(torch.empty(1, 3, 64, 96, device="meta"), words_on_meta())
    assert [tuple(visual.shape[1:]) for visual in maps] == [
        (16, 32, 48),
        (64, 16, 24),
        (128, 8, 12),
        (256, 4, 6),
        (512, 2, 3),
    ]


def focus(x: Array) -> Array:
    """Return ``[4C, H/2, W/2]``: top left, bottom left, top right, bottom right, each with all channels."""
    return np.concatenate([x[:, dy::2, dx::2] for dx in (0, 1) for dy in (0, 1)])


def normed_convolution(x: Array, weights: dict[str, Array], name: str) -> Array:
    """Return SiLU(BN(conv(x))) with zero padding, computed position by position and tap by tap."""
    kernel = weights[f"{name}.conv.weight"]
    reach = kernel.shape[2] // 2
    out = np.zeros((kernel.shape[0], *x.shape[1:]))
    for y in range(x.shape[1]):
        for column in range(x.shape[2]):
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    if 0 <= y + dy < x.shape[1] and 0 <= column + dx < x.shape[2]:
                        tap = kernel[:, :, dy + reach, dx + reach]
                        out[:, y, column] += tap @ x[:, y + dy, column + dx]
    mean, var, weight, bias = (
        weights[f"{name}.norm.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    normed = (out - mean) / np.sqrt(var + 1e-5) * weight + bias
    return np.asarray(normed / (1 + np.exp(-normed)))


def test_halves_the_map_as_focus_does(sentences: Any) -> None:
    """A stage without blocks has only the Focus order, a 3 x 3 (image) or 1 x 1 convolution, BN and SiLU."""
    torch.manual_seed(3)
    bare = tuple(StageConfig(channels, 1, 1, ()) for channels in (4, 8))
    encoder = VisualEncoder(5, bare).double().eval()
    with torch.no_grad():
        for stage in encoder.stages:
            stage.down.norm.weight.normal_()
            stage.down.norm.bias.normal_()
            stage.down.norm.running_mean.normal_()
            stage.down.norm.running_var.uniform_(0.5, 2.0)
        image = torch.randn(1, 3, 32, 32, dtype=torch.float64)
        maps = encoder(image, sentences([2], words=3, dim=5))
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    expected = image[0].numpy()
    for number, visual in enumerate(maps):
        expected = normed_convolution(focus(expected), weights, f"stages.{number}.down")
        np.testing.assert_allclose(visual[0].numpy(), expected, rtol=1e-12, atol=1e-12)


def test_focus_order_is_a_permutation_of_torchs() -> None:
    """``pixel_unshuffle`` orders by channel, Focus by quarter of the square."""
    x = torch.randn(2, 3, 4, 6)
    channelwise, quarterwise = F.pixel_unshuffle(x, 2), space_to_depth(x)
    for channel in range(3):
        for quarter, (dy, dx) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
            assert torch.equal(
                quarterwise[:, quarter * 3 + channel], channelwise[:, 4 * channel + 2 * dy + dx]
            )


def small_encoder(**dropouts: float) -> VisualEncoder:
    torch.manual_seed(5)
    stages = (
        StageConfig(16, groups=4, packing=4, kernel_sizes=(3,)),
        StageConfig(32, groups=8, packing=1, kernel_sizes=(3, 5)),
    )
    return VisualEncoder(6, stages, **dropouts).double()


def test_words_affect_every_level_and_padding_affects_none(sentences: Any) -> None:
    encoder, image = small_encoder().eval(), torch.randn(1, 3, 32, 64, dtype=torch.float64)
    sentence: Language = sentences([3], words=5, dim=6)
    other = Language(sentence.words.flip(1), sentence.mask, sentence.sentence)
    noisy = Language(sentence.words + 9 * ~sentence.mask[..., None], sentence.mask, sentence.sentence)
    with torch.no_grad():
        first, changed, with_noise = (encoder(image, language) for language in (sentence, other, noisy))
    for one, two, three in zip(first, changed, with_noise, strict=True):
        assert (one - two).abs().max() > 1e-6
        torch.testing.assert_close(one, three, rtol=0, atol=0)


def test_both_dropouts_reach_the_blocks(sentences: Any) -> None:
    image, language = torch.randn(1, 3, 32, 32, dtype=torch.float64), sentences([3], words=5, dim=6)
    for dropouts, alike in (
        ({"dropout": 0.0, "kernel_dropout": 0.0}, True),
        ({"dropout": 0.5, "kernel_dropout": 0.0}, False),
        ({"dropout": 0.0, "kernel_dropout": 0.5}, False),
    ):
        encoder = small_encoder(**dropouts).train()
        with torch.no_grad():
            once, again = (encoder(image, language)[-1] for _ in range(2))
        assert torch.equal(once, again) is alike, dropouts


@pytest.mark.parametrize(("height", "width"), [(416, 400), (48, 96), (31, 32)])
def test_sides_that_do_not_fit_are_rejected(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"multiples of 32, not {height} x {width}"):
        on_meta("small")(torch.empty(1, 3, height, width, device="meta"), words_on_meta())

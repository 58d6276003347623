"""The LaConv block against loops over samples, positions, words, groups and taps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fusion_bench.contract import Explains, Language, multiply_adds_of
from fusion_modules.laconv import LaConv, LaConvBlock, LaConvConfig

Array = npt.NDArray[np.float64]
Settings = dict[str, Any]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def silu(x: Array) -> Array:
    out: Array = x / (1 + np.exp(-x))
    return out


def sine_code(channels: int, row: int, column: int) -> Array:
    """Return the code of one position, with rows and columns counted from 0."""
    half = channels // 2
    code = np.zeros(channels)
    for i in range(half):
        frequency = 10000 ** (-(i - i % 2) / half)
        wave = math.sin if i % 2 == 0 else math.cos
        code[i] = wave((row + 1) * frequency)
        code[half + i] = wave((column + 1) * frequency)
    return code


class ByHand:
    """A LaConv block, computed one position at a time from its weights by name.

    With ``training``, batch norms use the statistics of the batch.
    """

    def __init__(self, block: LaConvBlock, settings: Settings, *, stride: int, training: bool) -> None:
        self.w: dict[str, Array] = {key: value.numpy() for key, value in block.state_dict().items()}
        config = LaConvConfig(**settings)
        self.k, self.groups, self.heads = config.kernel_size, config.groups, config.heads
        self.t = config.packing
        self.softmax, self.sine = config.kernel_softmax, config.position == "sine"
        self.norms, self.stride, self.training = config.norm, stride, training

    def linear(self, name: str, x: Array) -> Array:
        """Apply a linear layer or 1x1 convolution to the vector of one position."""
        weight = self.w[f"{name}.weight"].reshape(self.w[f"{name}.weight"].shape[0], -1)
        return weight @ x + self.w.get(f"{name}.bias", np.zeros(len(weight)))

    def everywhere(self, name: str, x: Array) -> Array:
        """Apply a linear layer at all positions of ``[B, C, H, W]``."""
        batch, _, height, width = x.shape
        out = np.zeros((batch, len(self.w[f"{name}.weight"]), height, width))
        for b in range(batch):
            for row in range(height):
                for column in range(width):
                    out[b, :, row, column] = self.linear(name, x[b, :, row, column])
        return out

    def norm(self, name: str, x: Array) -> Array:
        if self.norms == "none":
            return x
        out = np.zeros_like(x)
        size = len(x[0]) // max(number for number in (1, 2, 4, 8) if len(x[0]) % number == 0)
        for b in range(len(x)):
            for c in range(len(x[0])):
                if self.norms == "group":
                    members = x[b, c // size * size : (c // size + 1) * size]
                    mean, variance = members.mean(), members.var()
                elif self.training:
                    mean, variance = x[:, c].mean(), x[:, c].var()
                else:
                    mean, variance = self.w[f"{name}.running_mean"][c], self.w[f"{name}.running_var"][c]
                scale = self.w[f"{name}.weight"][c] / math.sqrt(variance + 1e-5)
                out[b, c] = (x[b, c] - mean) * scale + self.w[f"{name}.bias"][c]
        return out

    def attend(self, located: Array, words: list[Array]) -> Array:
        """Return the condition ``[E, t, t]`` of a square of t x t positions ``[C, t, t]``, before the norm."""
        query = self.linear("condition.query", located.reshape(-1))
        keys = [self.linear("condition.key", word) for word in words]
        values = [self.linear("condition.value", word) for word in words]
        size = len(query) // self.heads
        answer = np.zeros(len(query))
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            weights = np.array([math.exp(query[part] @ key[part] / math.sqrt(size)) for key in keys])
            for weight, value in zip(weights / weights.sum(), values, strict=True):
                answer[part] += weight * value[part]
        return relu(self.linear("condition.merge", answer)).reshape(len(query), self.t, self.t)

    def from_words(self, visual: Array, words: list[Array]) -> Array:
        """Return ``[E, H, W]`` of one sample, before the norm; the map is padded with zeros."""
        channels, height, width = visual.shape
        rows, columns = -(-height // self.t), -(-width // self.t)
        located = np.zeros((channels, rows * self.t, columns * self.t))
        for y in range(height):
            for x in range(width):
                located[:, y, x] = visual[:, y, x] + self.sine * sine_code(channels, y, x)
        squares = [
            [
                self.attend(located[:, i * self.t : (i + 1) * self.t, j * self.t : (j + 1) * self.t], words)
                for j in range(columns)
            ]
            for i in range(rows)
        ]
        return np.block(squares)[:, :height, :width]

    def from_sentence(self, visual: Array, sentence: Array) -> Array:
        condition = relu(self.linear("condition.merge", self.linear("condition.value", sentence)))
        return np.stack([np.full(visual.shape[1:], value) for value in condition])

    def condition(self, visual: Array, language: Language) -> Array:
        """Return ``Z`` ``[B, E, H, W]``."""
        condition = []
        for b in range(len(visual)):
            if "condition.query.weight" in self.w:
                words = [word.numpy() for word in language.words[b][language.mask[b]]]
                condition.append(self.from_words(visual[b], words))
            else:
                condition.append(self.from_sentence(visual[b], language.sentence[b].numpy()))
        return relu(self.norm("condition.norm", np.stack(condition)))

    def taps(self, z: Array) -> Array:
        """Return the kernels ``[G, k, k]`` of one position from its condition."""
        kernels = self.linear("kernels", z).reshape(self.groups, -1)
        if self.softmax:
            kernels = np.exp(kernels) / np.exp(kernels).sum(axis=1, keepdims=True)
        return kernels.reshape(self.groups, self.k, self.k)

    def filtered(self, visual: Array, z: Array) -> Array:
        """Return ``U`` ``[B, C, H_out, W_out]``."""
        batch, channels, height, width = visual.shape
        rows, columns = range(0, height, self.stride), range(0, width, self.stride)
        out = np.zeros((batch, channels, len(rows), len(columns)))
        for b in range(batch):
            for i, y in enumerate(rows):
                for j, x in enumerate(columns):
                    taps = self.taps(z[b, :, y, x])
                    for c in range(channels):
                        for dy in range(self.k):
                            for dx in range(self.k):
                                row, column = y + dy - self.k // 2, x + dx - self.k // 2
                                if 0 <= row < height and 0 <= column < width:
                                    out[b, c, i, j] += (
                                        taps[c % self.groups, dy, dx] * visual[b, c, row, column]
                                    )
                    if "kernels.dynamic_bias.weight" in self.w:
                        out[b, :, i, j] += self.linear("kernels.dynamic_bias", z[b, :, y, x])
        return out

    def shortcut(self, visual: Array) -> Array:
        """Return the map itself, or with a stride a depthwise 3x3 and a 1x1 convolution of it."""
        if self.stride == 1:
            return visual
        height, width = visual.shape[2:]
        padded = np.pad(visual, ((0, 0), (0, 0), (1, 1), (1, 1)))
        rows, columns = range(0, height, self.stride), range(0, width, self.stride)
        small = np.zeros((*visual.shape[:2], len(rows), len(columns)))
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                window = padded[:, :, y : y + 3, x : x + 3] * self.w["shortcut.0.weight"][:, 0]
                small[:, :, i, j] = window.sum(axis=(2, 3)) + self.w["shortcut.0.bias"]
        return self.everywhere("shortcut.1", small)

    def block(self, visual: Array, language: Language) -> Array:
        u = self.filtered(visual, self.condition(visual, language))
        mixed = silu(self.shortcut(visual) + self.norm("norm", u))
        hidden = silu(self.norm("mlp.1", self.everywhere("mlp.0", mixed)))
        return silu(mixed + self.norm("mlp.4", self.everywhere("mlp.3", hidden)))


SMALL: Settings = {"kernel_size": 3, "groups": 4, "heads": 2}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("settings", "height", "width"),
    [
        ({}, 3, 4),
        ({"kernel_size": 5}, 4, 3),
        ({"kernel_size": 1}, 1, 1),
        ({"groups": 1, "heads": 4}, 3, 3),
        ({"groups": 8, "cond_dim": 6}, 3, 3),
        ({"packing": 2}, 4, 6),
        ({"packing": 2}, 3, 5),
        ({"packing": 4}, 5, 2),
        ({"mlp_dim": 12}, 2, 3),
        ({"position": "none"}, 3, 4),
        ({"kernel_softmax": True}, 3, 4),
        ({"dynamic_bias": True}, 3, 4),
        ({"norm": "group"}, 3, 4),
        ({"norm": "none"}, 3, 4),
        ({"condition": "sentence"}, 3, 4),
        ({"norm": "group", "kernel_softmax": True, "dynamic_bias": True, "packing": 2}, 3, 4),
    ],
    ids=str,
)
def test_equals_the_paper_computed_by_hand(
    sentences: Any,
    random_module: Any,
    settings: Settings,
    height: int,
    width: int,
    stride: int,
    training: bool,
) -> None:
    """Evaluation uses the default dropout, training no dropout."""
    settings = SMALL | settings
    if settings.get("condition") == "sentence":
        del settings["heads"]
    if training:
        settings["kernel_dropout"] = 0.0
        if "heads" in settings:
            settings["dropout"] = 0.0
    block = strided(random_module("laconv", 8, 5, **settings), settings, stride).train(training)
    language: Language = sentences([4, 1, 3], words=4, dim=5)
    visual = torch.randn(3, 8, height, width, dtype=torch.float64)
    by_hand = ByHand(block, settings, stride=stride, training=training)
    with torch.no_grad():
        out = block(visual, language).numpy()
    np.testing.assert_allclose(out, by_hand.block(visual.numpy(), language), rtol=1e-10, atol=1e-10)


def strided(module: LaConv, settings: Settings, stride: int) -> LaConvBlock:
    """Return a block with these weights and another stride; only its shortcut has other weights."""
    block = LaConvBlock(8, 5, LaConvConfig(**settings), stride).double().eval()
    loaded = block.load_state_dict(module.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert all(key.startswith("shortcut.") for key in loaded.missing_keys)
    assert bool(loaded.missing_keys) == (stride > 1)
    return block


def test_the_default_block_has_the_parameter_names_of_the_checkpoint_reader() -> None:
    norms = ("norm", "mlp.1", "mlp.4", "condition.norm")
    expected = {f"{name}.{key}" for name in norms for key in torch.nn.BatchNorm2d(1).state_dict()}
    for name in ("query", "key", "value", "merge"):
        expected |= {f"condition.{name}.weight", f"condition.{name}.bias"}
    expected |= {"kernels.weight", "kernels.bias", "mlp.0.weight", "mlp.3.weight"}
    assert LaConvBlock(64, 48, LaConvConfig()).state_dict().keys() == expected
    expected |= {f"shortcut.{i}.{key}" for i in (0, 1) for key in ("weight", "bias")}
    assert LaConvBlock(64, 48, LaConvConfig(), stride=2).state_dict().keys() == expected


def test_the_kernel_weights_are_initialised_as_those_of_a_convolution() -> None:
    torch.manual_seed(0)
    weight = LaConvBlock(64, 48, LaConvConfig()).state_dict()["kernels.weight"]  # 32 inputs each
    assert 0.9 < weight.abs().max() * math.sqrt(32) <= 1


@pytest.mark.parametrize(
    ("visual_dim", "packing", "expected"),
    [(16, 8, 64), (64, 4, 128), (64, 1, 32), (128, 2, 128), (256, 1, 256)],
)
def test_the_condition_has_the_width_of_the_papers_rule(visual_dim: int, packing: int, expected: int) -> None:
    module = LaConv(visual_dim, 12, packing=packing)
    assert module.state_dict()["kernels.weight"].shape[1] == expected


@pytest.mark.parametrize("stride", [1, 2])
def test_explains_the_word_attention_of_each_position(sentences: Any, stride: int) -> None:
    block = LaConvBlock(8, 5, LaConvConfig(3, 4, 2, packing=2), stride).double().eval()
    language: Language = sentences([4, 2], words=4, dim=5)
    assert isinstance(block, Explains)
    explanation = block.explain(torch.randn(2, 8, 3, 5, dtype=torch.float64), language)
    assert explanation.words.shape == (2, 4, 3, 5)
    torch.testing.assert_close(explanation.words.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert explanation.words[1, 2:].abs().max() == 0, "padding gets no attention"
    assert (explanation.words[..., 0, 0] == explanation.words[..., 1, 1]).all(), (
        "packed positions share their attention"
    )
    assert explanation.kernels is not None
    assert explanation.kernels.shape == (2, 4, 9, *((3, 5) if stride == 1 else (2, 3)))


def test_positions_with_the_same_condition_have_the_same_kernel(sentences: Any, random_module: Any) -> None:
    """A sentence of one word gives the same attention, and therefore the same kernel, at every position."""
    module = random_module("laconv", 8, 5, kernel_size=3, groups=4, heads=2)
    kernels = module.explain(
        torch.randn(1, 8, 4, 4, dtype=torch.float64), sentences([1], words=3, dim=5)
    ).kernels
    assert kernels is not None
    torch.testing.assert_close(kernels, kernels[..., :1, :1].expand_as(kernels))


@pytest.mark.parametrize("stride", [1, 2])
def test_multiply_adds_are_the_sum_of_its_parts(stride: int) -> None:
    """Projections, attention to T words, merge, kernels, C k^2 H W of aggregation, and the 1x1 convolutions."""
    c, d, h, w, t, k, g = 64, 48, 6, 10, 7, 5, 8
    e, hw, out = c // 2, h * w, h * w // stride**2
    expected = c * e * hw + 2 * t * d * e + 2 * t * e * hw + e * e * hw + e * g * k * k * out
    expected += c * k * k * out + 2 * c * 4 * c * out
    expected += (c * 9 + c * c) * out if stride > 1 else 0
    language = Language(torch.empty(1, t, d), torch.ones(1, t, dtype=torch.bool), torch.empty(1, d))
    block = LaConvBlock(c, d, LaConvConfig(kernel_size=k), stride)
    assert multiply_adds_of(block, torch.empty(1, c, h, w), language) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": 5}, "groups .5. must divide the visual channels .64."),
        ({"cond_dim": 12}, "heads .8. must divide the condition width .12."),
    ],
)
def test_widths_that_do_not_fit_are_rejected(settings: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LaConv(64, 48, **settings)


def test_a_sine_code_needs_a_multiple_of_four_channels() -> None:
    with pytest.raises(ValueError, match="multiple of 4 channels, not 6"):
        LaConv(6, 5, groups=2, heads=1)
    assert LaConv(6, 5, groups=2, heads=1, position="none").position_code == "none"


def test_a_stride_of_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match="stride must be at least 1, not 0"):
        LaConvBlock(64, 48, LaConvConfig(), stride=0)

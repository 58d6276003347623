"""The LaConv block against loops over samples, positions, words, groups and taps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fusion_bench.contract import Explains, Language
from fusion_modules.laconv import LaConv

Array = npt.NDArray[np.float64]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def sine_code(channels: int, row: int, column: int) -> Array:
    """The code of one position, rows and columns counted from 0."""
    half = channels // 2
    code = np.zeros(channels)
    for i in range(half):
        frequency = 10000 ** (-(i - i % 2) / half)
        wave = math.sin if i % 2 == 0 else math.cos
        code[i] = wave((row + 1) * frequency)
        code[half + i] = wave((column + 1) * frequency)
    return code


class ByHand:
    """A LaConv block computed one position at a time from the module's weights, read by name."""

    def __init__(self, module: LaConv, *, kernel_size: int, groups: int, heads: int, packing: int) -> None:
        self.w: dict[str, Array] = {key: value.numpy() for key, value in module.state_dict().items()}
        self.k, self.groups, self.heads, self.t = kernel_size, groups, heads, packing

    def pointwise(self, name: str, x: Array) -> Array:
        weight = self.w[f"{name}.weight"].reshape(self.w[f"{name}.weight"].shape[0], -1)
        return weight @ x + self.w.get(f"{name}.bias", np.zeros(len(weight)))

    def norm(self, name: str, x: Array) -> Array:
        scaled = (x - self.w[f"{name}.running_mean"]) / np.sqrt(self.w[f"{name}.running_var"] + 1e-5)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def ask(self, located: Array, words: list[Array]) -> Array:
        """What the square of t x t positions ``[C, t, t]`` hears: ``[E, t, t]``, before the norm."""
        query = self.pointwise("condition.query", located.reshape(-1))
        keys = [self.pointwise("condition.key", word) for word in words]
        values = [self.pointwise("condition.value", word) for word in words]
        size = len(query) // self.heads
        answer = np.zeros(len(query))
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            weights = np.array([math.exp(query[part] @ key[part] / math.sqrt(size)) for key in keys])
            for weight, value in zip(weights / weights.sum(), values, strict=True):
                answer[part] += weight * value[part]
        return relu(self.pointwise("condition.merge", answer)).reshape(len(query), self.t, self.t)

    def condition(self, visual: Array, words: list[Array]) -> Array:
        """Z ``[E, H, W]``; what lies beyond the map is zero."""
        channels, height, width = visual.shape
        rows, columns = -(-height // self.t), -(-width // self.t)
        located = np.zeros((channels, rows * self.t, columns * self.t))
        for y in range(height):
            for x in range(width):
                located[:, y, x] = visual[:, y, x] + sine_code(channels, y, x)
        heard = np.zeros((len(self.w["condition.norm.weight"]), rows * self.t, columns * self.t))
        for i in range(rows):
            for j in range(columns):
                square = (
                    slice(None),
                    slice(i * self.t, (i + 1) * self.t),
                    slice(j * self.t, (j + 1) * self.t),
                )
                heard[square] = self.ask(located[square], words)
        z = np.zeros((len(heard), height, width))
        for y in range(height):
            for x in range(width):
                z[:, y, x] = relu(self.norm("condition.norm", heard[:, y, x]))
        return z

    def block(self, visual: Array, words: list[Array]) -> Array:
        channels, height, width = visual.shape
        z = self.condition(visual, words)
        out = np.zeros_like(visual)
        for y in range(height):
            for x in range(width):
                kernels = self.pointwise("kernels", z[:, y, x])
                filtered = np.zeros(channels)
                for c in range(channels):
                    for dy in range(self.k):
                        for dx in range(self.k):
                            row, column = y + dy - self.k // 2, x + dx - self.k // 2
                            if 0 <= row < height and 0 <= column < width:
                                tap = kernels[(c % self.groups) * self.k**2 + dy * self.k + dx]
                                filtered[c] += tap * visual[c, row, column]
                mixed = silu(visual[:, y, x] + self.norm("norm", filtered))
                hidden = silu(self.norm("mlp.1", self.pointwise("mlp.0", mixed)))
                out[:, y, x] = silu(mixed + self.norm("mlp.4", self.pointwise("mlp.3", hidden)))
        return out


@pytest.mark.parametrize(
    ("packing", "kernel_size", "height", "width"), [(1, 3, 3, 4), (1, 5, 4, 3), (2, 3, 4, 6), (2, 3, 3, 5)]
)
def test_equals_the_paper_computed_by_hand(
    sentences: Any, drawn: Any, packing: int, kernel_size: int, height: int, width: int
) -> None:
    settings = {"kernel_size": kernel_size, "groups": 4, "heads": 2, "packing": packing}
    module = drawn("laconv", 8, 5, **settings)
    language: Language = sentences([4, 1], words=4, dim=5)
    visual = torch.randn(2, 8, height, width, dtype=torch.float64)
    by_hand = ByHand(module, **settings)
    with torch.no_grad():
        out = module(visual, language).numpy()
    for image, words, mask, fused in zip(visual, language.words, language.mask, out, strict=True):
        expected = by_hand.block(image.numpy(), [word.numpy() for word in words[mask]])
        np.testing.assert_allclose(fused, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("visual_dim", "packing", "expected"),
    [(16, 8, 64), (64, 4, 128), (64, 1, 32), (128, 2, 128), (256, 1, 256)],
)
def test_the_condition_is_as_wide_as_the_paper_makes_it(visual_dim: int, packing: int, expected: int) -> None:
    module = LaConv(visual_dim, 12, packing=packing)
    assert module.condition.merge.in_channels == expected


def test_explains_which_words_each_position_heard(sentences: Any, drawn: Any) -> None:
    module = drawn("laconv", 8, 5, kernel_size=3, groups=4, heads=2, packing=2)
    language: Language = sentences([4, 2], words=4, dim=5)
    assert isinstance(module, Explains)
    told = module.explain(torch.randn(2, 8, 3, 5, dtype=torch.float64), language)
    assert told.words.shape == (2, 4, 3, 5)
    torch.testing.assert_close(told.words.sum(dim=1), torch.ones(2, 3, 5, dtype=torch.float64))
    assert told.words[1, 2:].abs().max() == 0, "padding is never heard"
    assert (told.words[..., 0, 0] == told.words[..., 1, 1]).all(), "packed positions ask as one"
    assert told.kernels is not None
    assert told.kernels.shape == (2, 4, 9, 3, 5)


def test_positions_that_hear_the_same_get_the_same_kernel(sentences: Any, drawn: Any) -> None:
    """A sentence of one word leaves nothing to choose: its kernel is the same everywhere."""
    module = drawn("laconv", 8, 5, kernel_size=3, groups=4, heads=2)
    kernels = module.explain(
        torch.randn(1, 8, 4, 4, dtype=torch.float64), sentences([1], words=3, dim=5)
    ).kernels
    assert kernels is not None
    torch.testing.assert_close(kernels, kernels[..., :1, :1].expand_as(kernels))


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    """Projections, attention to T words, merge, kernels, C k^2 H W of aggregation, and the 1x1 convolutions."""
    c, d, h, w, t, k, g = 64, 48, 6, 10, 7, 5, 8
    e, hw = c // 2, h * w
    expected = c * e * hw + 2 * t * d * e + 2 * t * e * hw + e * e * hw + e * g * k * k * hw
    expected += c * k * k * hw + 2 * c * 4 * c * hw
    assert LaConv(c, d, kernel_size=k).multiply_adds(c, d, h, w, t) == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"groups": 5}, "groups .5. must divide"),
        ({"cond_dim": 12}, "heads .8. must divide the condition width .12."),
    ],
)
def test_widths_that_do_not_fit_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LaConv(64, 48, **settings)  # type: ignore[arg-type]

"""The LaConv block against a second derivation from its definition, in loops over positions, words and taps.

The derivation shares no code with the module: no tensor operation, no position code and no norm. It uses the
arguments of the module, its parameters by name, and Python's floats (float64). Symbols and the order of steps are
those of the definition:

    X' = X + P                                  the sine code is added to the queries only
    Q = conv1x1(pack_t(X'))                     one query per t x t square, zeros below and right of the map
    A = softmax(Q K^T / sqrt(E/h))              per head, over real words
    Z = ReLU(BN(unpack_t(ReLU(conv1x1(A V)))))
    W = conv1x1_stride_s(Z)                     channel g k^2 + j is tap j of group g
    U[c,p] = sum_j W[c mod G, j, p] X[c, s p + offset_j]
    a = SiLU(shortcut(X) + BN(U)),  out = SiLU(a + BN(conv1x1(SiLU(BN(conv1x1(a))))))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.laconv import LaConv, LaConvBlock, LaConvConfig

Vector: TypeAlias = list[float]
Map: TypeAlias = list[list[Vector]]
"""``map[c][y][x]``"""

CHANNELS, WIDTH, LANGUAGE = 8, 12, 6
WORDS, LENGTHS = 4, [4, 2, 1]
EPSILON = 1e-5
"""The constant that a batch norm adds to the variance."""


# The derivation


@dataclass(frozen=True)
class Rederived:
    """One block in plain numbers.

    Attributes:
        weights: the block's parameters and statistics by name, as nested lists.
        kernel_size, groups, heads, packing, stride, position: the block's arguments.
        batch_statistics: True if norms use the statistics of the batch (training), else the running statistics.
    """

    weights: dict[str, Any]
    kernel_size: int
    groups: int
    heads: int
    packing: int
    stride: int
    position: bool
    batch_statistics: bool

    def outputs(self, visual: list[Map], words: list[list[Vector]]) -> list[Map]:
        """Return one map per sample; ``words`` holds only the real words."""
        kernels = self.kernels(visual, words)
        aggregated = [self._aggregated(x, w) for x, w in zip(visual, kernels, strict=True)]
        normed = self._batch_norm("norm", aggregated)
        mixed = [each(silu, plus(self._shortcut(x), u)) for x, u in zip(visual, normed, strict=True)]
        hidden = self._batch_norm("mlp.1", [self._pointwise("mlp.0", a) for a in mixed])
        back = self._batch_norm("mlp.4", [self._pointwise("mlp.3", each(silu, h)) for h in hidden])
        return [each(silu, plus(a, m)) for a, m in zip(mixed, back, strict=True)]

    def kernels(self, visual: list[Map], words: list[list[Vector]]) -> list[Map]:
        """Return the kernels ``[b][g k^2 + j][y][x]`` at every ``stride``-th row and column."""
        merged = [self._unpacked(self._squares(x, y), x) for x, y in zip(visual, words, strict=True)]
        condition = [each(relu, z) for z in self._batch_norm("condition.norm", merged)]
        return [self._pointwise("kernels", thinned(z, self.stride)) for z in condition]

    def attention(self, visual: Map, words: list[Vector]) -> Map:
        """Return ``[t][y][x]``: the attention of each position to each real word, averaged over heads."""
        result = [[[0.0] * width_of(visual) for _ in rows_of(visual)] for _ in words]
        for y, x in positions(visual):
            per_head = self._attention_of_square(visual, words, y // self.packing, x // self.packing)
            for t in range(len(words)):
                result[t][y][x] = sum(head[t] for head in per_head) / self.heads
        return result

    def _attention_of_square(self, visual: Map, words: list[Vector], row: int, column: int) -> list[Vector]:
        """Return the attention ``[head][word]`` of one square of ``packing`` x ``packing`` positions."""
        query = self._affine("condition.query", self._packed(visual, row, column))
        keys = [self._affine("condition.key", word) for word in words]
        width = len(query) // self.heads
        result = []
        for head in range(self.heads):
            own = range(head * width, (head + 1) * width)
            logits = [sum(query[e] * key[e] for e in own) / math.sqrt(width) for key in keys]
            exponentials = [math.exp(logit - max(logits)) for logit in logits]
            result.append([value / sum(exponentials) for value in exponentials])
        return result

    def _squares(self, visual: Map, words: list[Vector]) -> list[list[Vector]]:
        """Return ``[row][column][e t^2 + ...]``: the features of each square after the merge and the first ReLU."""
        rows = -(-len(visual[0]) // self.packing)
        columns = -(-width_of(visual) // self.packing)
        values = [self._affine("condition.value", word) for word in words]
        result = []
        for row in range(rows):
            features = []
            for column in range(columns):
                attention = self._attention_of_square(visual, words, row, column)
                width = len(values[0]) // self.heads
                mixture = [
                    sum(attention[e // width][t] * values[t][e] for t in range(len(words)))
                    for e in range(len(values[0]))
                ]
                features.append([relu(value) for value in self._affine("condition.merge", mixture)])
            result.append(features)
        return result

    def _packed(self, visual: Map, row: int, column: int) -> Vector:
        """Return the ``C t^2`` numbers of one square, channel-major: index ``c t^2 + dy t + dx``."""
        height, width, t = len(visual[0]), width_of(visual), self.packing
        result = []
        for c in range(len(visual)):
            for dy in range(t):
                for dx in range(t):
                    y, x = row * t + dy, column * t + dx
                    inside = y < height and x < width
                    code = sine_code(len(visual), c, y, x) if self.position else 0.0
                    result.append(visual[c][y][x] + code if inside else 0.0)
        return result

    def _unpacked(self, squares: list[list[Vector]], like: Map) -> Map:
        t = self.packing
        width = len(squares[0][0]) // t**2
        return [
            [
                [squares[y // t][x // t][e * t**2 + (y % t) * t + x % t] for x in range(width_of(like))]
                for y in range(len(like[0]))
            ]
            for e in range(width)
        ]

    def _aggregated(self, visual: Map, kernels: Map) -> Map:
        height, width, reach = len(visual[0]), width_of(visual), self.kernel_size // 2
        result = []
        for c in range(len(visual)):
            rows = [[0.0] * width_of(kernels) for _ in kernels[0]]
            for y, x in positions(kernels):
                for j in range(self.kernel_size**2):
                    v = y * self.stride + j // self.kernel_size - reach
                    u = x * self.stride + j % self.kernel_size - reach
                    if 0 <= v < height and 0 <= u < width:
                        tap = kernels[(c % self.groups) * self.kernel_size**2 + j][y][x]
                        rows[y][x] += tap * visual[c][v][u]
            result.append(rows)
        return result

    def _shortcut(self, visual: Map) -> Map:
        """The identity; with a stride a 3x3 convolution channel by channel and a 1x1 convolution."""
        if self.stride == 1:
            return visual
        height, width = len(visual[0]), width_of(visual)
        weight, bias = self.weights["shortcut.0.weight"], self.weights["shortcut.0.bias"]
        filtered = []
        for c in range(len(visual)):
            rows = [[bias[c]] * len(range(0, width, self.stride)) for _ in range(0, height, self.stride)]
            for y, row in enumerate(rows):
                for x in range(len(row)):
                    for dy in range(3):
                        for dx in range(3):
                            v, u = y * self.stride + dy - 1, x * self.stride + dx - 1
                            if 0 <= v < height and 0 <= u < width:
                                row[x] += weight[c][0][dy][dx] * visual[c][v][u]
            filtered.append(rows)
        return self._pointwise("shortcut.1", filtered)

    def _batch_norm(self, name: str, maps: list[Map]) -> list[Map]:
        """Per channel ``weight (x - mean) / sqrt(variance + epsilon) + bias``."""
        result = [[[list(row) for row in channel] for channel in one] for one in maps]
        for c in range(len(maps[0])):
            if self.batch_statistics:
                values = [value for one in maps for row in one[c] for value in row]
                mean = math.fsum(values) / len(values)
                variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
            else:
                mean = self.weights[f"{name}.running_mean"][c]
                variance = self.weights[f"{name}.running_var"][c]
            gain = self.weights[f"{name}.weight"][c] / math.sqrt(variance + EPSILON)
            for one in result:
                one[c] = [
                    [(v - mean) * gain + self.weights[f"{name}.bias"][c] for v in row] for row in one[c]
                ]
        return result

    def _pointwise(self, name: str, visual: Map) -> Map:
        """A 1x1 convolution."""
        at = {(y, x): self._affine(name, [channel[y][x] for channel in visual]) for y, x in positions(visual)}
        return [
            [[at[y, x][o] for x in range(width_of(visual))] for y in range(len(visual[0]))]
            for o in range(len(at[0, 0]))
        ]

    def _affine(self, name: str, vector: Sequence[float]) -> Vector:
        """``weight . vector + bias``; the weight of a 1x1 convolution has two more axes of length one."""
        bias = self.weights.get(f"{name}.bias")
        rows = [flat(row) for row in self.weights[f"{name}.weight"]]
        return [
            sum(w * v for w, v in zip(row, vector, strict=True)) + (bias[o] if bias else 0.0)
            for o, row in enumerate(rows)
        ]


def sine_code(channels: int, c: int, y: int, x: int) -> float:
    """Return one channel of the sine code: the row in the first half, the column in the second, from 1."""
    half = channels // 2
    i, index = (c, y + 1) if c < half else (c - half, x + 1)
    angle = index / 10000 ** (2 * (i // 2) / half)
    return math.cos(angle) if i % 2 else math.sin(angle)


def relu(value: float) -> float:
    return max(value, 0.0)


def silu(value: float) -> float:
    return value / (1 + math.exp(-value))


def each(function: Callable[[float], float], visual: Map) -> Map:
    return [[[function(value) for value in row] for row in channel] for channel in visual]


def plus(left: Map, right: Map) -> Map:
    return [
        [
            [a + b for a, b in zip(above, below, strict=True)]
            for above, below in zip(ours, theirs, strict=True)
        ]
        for ours, theirs in zip(left, right, strict=True)
    ]


def thinned(visual: Map, stride: int) -> Map:
    return [[row[::stride] for row in channel[::stride]] for channel in visual]


def rows_of(visual: Map) -> range:
    return range(len(visual[0]))


def width_of(visual: Map) -> int:
    return len(visual[0][0])


def positions(visual: Map) -> Iterator[tuple[int, int]]:
    for y in rows_of(visual):
        for x in range(width_of(visual)):
            yield y, x


def flat(row: Any) -> Vector:
    return [row] if isinstance(row, float) else [value for item in row for value in flat(item)]


# The comparison


def with_random_weights(block: nn.Module) -> nn.Module:
    """Return the block in float64 with random weights and statistics, so that none is 0 or 1."""
    generator = torch.Generator().manual_seed(5)
    block.double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
        for name, statistic in block.named_buffers():
            if name.endswith("running_mean"):
                statistic.copy_(torch.randn(statistic.shape, generator=generator, dtype=torch.float64))
            if name.endswith("running_var"):
                statistic.copy_(torch.rand(statistic.shape, generator=generator, dtype=torch.float64) + 0.5)
    return block


def rederived(block: nn.Module, config: LaConvConfig, stride: int, *, training: bool) -> Rederived:
    return Rederived(
        {name: value.tolist() for name, value in block.state_dict().items()},
        kernel_size=config.kernel_size,
        groups=config.groups,
        heads=config.heads,
        packing=config.packing,
        stride=stride,
        position=config.position == "sine",
        batch_statistics=training,
    )


def settings(**changed: Any) -> LaConvConfig:
    return LaConvConfig(**{"kernel_size": 3, "groups": 4, "heads": 3, "cond_dim": WIDTH, **changed})


def image(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(len(LENGTHS), CHANNELS, height, width, generator=generator, dtype=torch.float64)


def real_words(language: Language) -> list[list[Vector]]:
    return [
        words[: int(mask.sum())].tolist() for words, mask in zip(language.words, language.mask, strict=True)
    ]


def disagreement(
    config: LaConvConfig, stride: int, visual: Tensor, language: Language, training: bool
) -> float:
    """Return the largest difference between the block and its derivation."""
    block = with_random_weights(LaConvBlock(CHANNELS, LANGUAGE, config, stride=stride)).train(training)
    derivation = rederived(block, config, stride, training=training)  # before a forward moves the statistics
    with torch.no_grad():
        result = block(visual, language)
    expected = torch.tensor(derivation.outputs(visual.tolist(), real_words(language)), dtype=torch.float64)
    assert result.shape == expected.shape
    return float((result - expected).abs().max())


@pytest.fixture
def language(sentences: Callable[..., Language]) -> Language:
    return sentences(LENGTHS, words=WORDS, dim=LANGUAGE)


@pytest.mark.parametrize("training", [False, True], ids=["running statistics", "batch statistics"])
@pytest.mark.parametrize("stride", [1, 2], ids=["stride 1", "stride 2"])
@pytest.mark.parametrize("packing", [1, 2, 4], ids=["packing 1", "packing 2", "packing 4"])
@pytest.mark.parametrize(
    ("height", "width"), [(4, 8), (5, 7), (6, 3)], ids=["divides", "odd", "lower than it packs"]
)
def test_the_block_equals_its_definition(
    language: Language, height: int, width: int, packing: int, stride: int, training: bool
) -> None:
    # Dropout must have no effect in evaluation. It is off in training, because it is random.
    dropouts = (
        {"dropout": 0.0, "kernel_dropout": 0.0} if training else {"dropout": 0.5, "kernel_dropout": 0.5}
    )
    config = settings(packing=packing, **dropouts)
    assert disagreement(config, stride, image(height, width), language, training) < 1e-10


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel_size": 1},
        {"kernel_size": 7},
        {"groups": 1},
        {"groups": CHANNELS},
        {"heads": 1},
        {"cond_dim": 3},
        {"mlp_dim": 5},
        {"position": "none"},
    ],
    ids=lambda changed: ", ".join(f"{name} {value}" for name, value in changed.items()),
)
def test_the_block_equals_its_definition_at_other_sizes(language: Language, changed: dict[str, Any]) -> None:
    config = settings(packing=2, **changed)
    assert disagreement(config, 1, image(5, 4), language, training=False) < 1e-10


@pytest.mark.parametrize("packing", [1, 2], ids=["packing 1", "packing 2"])
def test_the_explanation_equals_the_attention_and_kernels_of_the_definition(
    language: Language, packing: int
) -> None:
    config, visual = settings(packing=packing), image(5, 4)
    module = with_random_weights(LaConv(CHANNELS, LANGUAGE, **vars(config))).eval()
    assert isinstance(module, LaConv)
    explanation = module.explain(visual, language)
    derivation = rederived(module, config, 1, training=False)
    maps, words = visual.tolist(), real_words(language)
    kernels = torch.tensor(derivation.kernels(maps, words), dtype=torch.float64)
    assert explanation.kernels is not None
    assert (explanation.kernels.flatten(1, 2) - kernels).abs().max() < 1e-10
    for sample, length in enumerate(LENGTHS):
        attention = torch.tensor(derivation.attention(maps[sample], words[sample]), dtype=torch.float64)
        assert (explanation.words[sample, :length] - attention).abs().max() < 1e-10
        assert not explanation.words[sample, length:].any()

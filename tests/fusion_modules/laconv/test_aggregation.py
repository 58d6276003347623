"""The aggregation of LaConv: every variant against its definition, and the properties of every setting."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.laconv import LaConv, LaConvBlock, LaConvConfig
from fusion_modules.laconv.aggregation import (
    Aggregation,
    ImageKernels,
    KernelOptions,
    LanguageKernels,
    StaticKernel,
)

Settings = dict[str, Any]
C, D, E, G, K = 8, 5, 4, 4, 3
SMALL: Settings = {"kernel_size": K, "groups": G, "heads": 2}
VARIANTS = ("full", "static_kernel", "z_add", "no_language_kernel", "no_mlp")
CHOICES: list[Settings] = [
    {},
    {"packing": 2},
    {"position": "none"},
    {"kernel_softmax": True},
    {"dynamic_bias": True},
    {"condition": "sentence"},
    {"norm": "group"},
    {"norm": "none"},
    *({"variant": variant} for variant in VARIANTS[1:]),
    {"variant": "no_language_kernel", "condition": "sentence", "kernel_softmax": True, "norm": "none"},
    {"variant": "static_kernel", "kernel_softmax": True, "norm": "group"},
    {"variant": "no_mlp", "dynamic_bias": True},
]
EVERY = pytest.mark.parametrize("settings", CHOICES, ids=str)


def small(settings: Settings) -> Settings:
    """Return the settings of a small block, without those that its choices do not use."""
    unused = {"kernel_size", "groups"} if settings.get("variant") == "z_add" else set()
    unused |= {"heads"} if settings.get("condition") == "sentence" else set()
    return {key: value for key, value in SMALL.items() if key not in unused} | settings


def without_dropout(settings: Settings) -> Settings:
    """Return the settings of a small block without dropout."""
    dropouts = {"dropout", "kernel_dropout"}
    dropouts -= {"kernel_dropout"} if settings.get("variant") == "z_add" else set()
    dropouts -= {"dropout"} if settings.get("condition") == "sentence" else set()
    return small(settings) | dict.fromkeys(dropouts, 0.0)


def image(height: int = 3, width: int = 5, samples: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, C, height, width, generator=generator, dtype=torch.float64)


# --- Each variant against a separate derivation -------------------------------------------------------


def windows(visual: Tensor, stride: int) -> Tensor:
    """Return ``[B, C, k^2, H_out, W_out]``: the input of each tap, from a padded copy."""
    height, width = visual.shape[2:]
    padded = F.pad(visual, [K // 2] * 4)
    cuts = [padded[:, :, dy : dy + height, dx : dx + width] for dy in range(K) for dx in range(K)]
    return torch.stack(cuts, dim=2)[..., ::stride, ::stride]


def pointwise(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A 1x1 convolution at every position."""
    out = torch.einsum("oi,bi...->bo...", weights[f"{name}.weight"].flatten(1), x)
    bias = weights.get(f"{name}.bias")
    return out if bias is None else out + bias[:, None, None]


def normed(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Batch norm in evaluation mode."""
    mean, variance, scale, shift = (
        weights[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def film(weights: dict[str, Tensor], u: Tensor, z: Tensor) -> Tensor:
    gamma = 1 + pointwise(weights, "kernels.film.gamma", z)
    return gamma * u + pointwise(weights, "kernels.film.beta", z)


def sine_code(height: int, width: int) -> Tensor:
    """Return the sine position code of 8 channels, with the two frequencies 1 and 1/100."""
    rows = torch.arange(1, height + 1, dtype=torch.float64)[:, None].expand(height, width)
    columns = torch.arange(1, width + 1, dtype=torch.float64).expand(height, width)
    waves = [(axis * f).sin() if wave == 0 else (axis * f).cos()
             for axis in (rows, columns) for f in (1.0, 0.01) for wave in (0, 1)]  # fmt: skip
    return torch.stack(waves)


def filtered_by(variant: str, weights: dict[str, Tensor], visual: Tensor, z: Tensor, stride: int) -> Tensor:
    """Return ``U`` of each variant from ``X`` and ``Z``."""
    windows_of_x, small_z = windows(visual, stride), z[..., ::stride, ::stride]
    by_channel = torch.arange(C) % G
    if variant == "z_add":
        return pointwise(weights, "kernels.project", small_z)
    if variant == "static_kernel":
        taps = weights["kernels.weight"].reshape(G, K * K)[by_channel]  # [C, k^2]
        return film(weights, torch.einsum("ck,bckhw->bchw", taps, windows_of_x), small_z)
    if variant == "no_language_kernel":
        located = visual + sine_code(*visual.shape[2:])
        features = normed(weights, "kernels.norm", pointwise(weights, "kernels.reduce", located)).clamp(min=0)
        kernels = pointwise(weights, "kernels.project", features[..., ::stride, ::stride])
    else:
        kernels = pointwise(weights, "kernels", small_z)
    taps = kernels.reshape(len(visual), G, K * K, *windows_of_x.shape[3:])[:, by_channel]  # [B, C, k^2, ...]
    u = torch.einsum("bckhw,bckhw->bchw", taps, windows_of_x)
    return film(weights, u, small_z) if variant == "no_language_kernel" else u


def mixed_by(variant: str, weights: dict[str, Tensor], x: Tensor, u: Tensor) -> Tensor:
    """Return the result of the two residual parts of the block, or of the first only."""
    a = F.silu(x + normed(weights, "norm", u))
    if variant == "no_mlp":
        return a
    hidden = F.silu(normed(weights, "mlp.1", pointwise(weights, "mlp.0", a)))
    return F.silu(a + normed(weights, "mlp.4", pointwise(weights, "mlp.3", hidden)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(3, 5), (1, 1), (4, 2)])
def test_each_variant_equals_its_definition(
    random_module: Any, sentences: Any, variant: str, height: int, width: int
) -> None:
    module = random_module("laconv", C, D, **small({"variant": variant}))
    weights = {key: value.detach() for key, value in module.state_dict().items()}
    visual, language = image(height, width), sentences([4, 1, 2], words=4, dim=D)
    with torch.no_grad():
        z = module.condition(visual, language)
        expected = mixed_by(variant, weights, visual, filtered_by(variant, weights, visual, z, 1))
        torch.testing.assert_close(module(visual, language), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(5, 7), (4, 6), (1, 2)])
def test_each_variant_equals_its_definition_with_a_stride(
    sentences: Any, variant: str, height: int, width: int
) -> None:
    torch.manual_seed(5)
    block = LaConvBlock(C, D, LaConvConfig(**small({"variant": variant})), stride=2).double().eval()
    weights = {key: value.detach() for key, value in block.state_dict().items()}
    visual, language = image(height, width), sentences([4, 1, 2], words=4, dim=D)
    with torch.no_grad():
        u = filtered_by(variant, weights, visual, block.condition(visual, language), 2)
        expected = mixed_by(variant, weights, block.shortcut(visual), u)
        torch.testing.assert_close(block(visual, language), expected, rtol=1e-10, atol=1e-10)
    assert u.shape == (3, C, (height + 1) // 2, (width + 1) // 2)


def test_the_softmax_is_over_the_taps_of_one_kernel(random_module: Any, sentences: Any) -> None:
    """The kernels from the image have a softmax too; a constant image keeps its value inside the map."""
    for variant in ("full", "no_language_kernel"):
        module = random_module("laconv", C, D, **small({"variant": variant, "kernel_softmax": True}))
        kernels = module.explain(image(), sentences([4, 1, 2], words=4, dim=D)).kernels
        assert (kernels > 0).all()
        torch.testing.assert_close(kernels.sum(dim=2), torch.ones(3, G, 3, 5, dtype=torch.float64))
    static = StaticKernel(C, E, KernelOptions(K, G, 1, softmax=True, dropout=0.0)).double()
    nn.init.zeros_(static.film.gamma.weight)
    nn.init.zeros_(static.film.gamma.bias)  # type: ignore[arg-type]
    nn.init.zeros_(static.film.beta.weight)
    nn.init.zeros_(static.film.beta.bias)  # type: ignore[arg-type]
    out = static(torch.ones(1, C, 5, 5, dtype=torch.float64), torch.zeros(1, E, 5, 5, dtype=torch.float64))
    torch.testing.assert_close(out[..., 1:-1, 1:-1], torch.ones(1, C, 3, 3, dtype=torch.float64))
    assert (out[..., 0, 0] < 1).all(), "taps outside the map keep their weights"


def test_film_by_position_starts_around_the_identity() -> None:
    torch.manual_seed(0)
    options = KernelOptions(K, G, 1, softmax=False, dropout=0.0)
    static = StaticKernel(64, 32, options)
    gamma = 1 + static.film.gamma(torch.rand(4, 32, 5, 5))
    assert 0.8 < gamma.mean() < 1.2
    assert gamma.min() > -0.5


# --- The effect of the language, and the explanation of each variant ----------------------------------


@pytest.mark.parametrize(("variant", "explained"), list(zip(VARIANTS, (1, 0, 0, 1, 1), strict=True)))
def test_explains_kernels_only_if_every_position_has_its_own(
    random_module: Any, sentences: Any, variant: str, explained: int
) -> None:
    explanation = random_module("laconv", C, D, **small({"variant": variant})).explain(
        image(), sentences([4, 1, 2], words=4, dim=D)
    )
    assert explanation.words.shape == (3, 4, 3, 5)
    assert (explanation.kernels is not None) == bool(explained)
    if explanation.kernels is not None:
        assert explanation.kernels.shape == (3, G, K * K, 3, 5)


def test_kernels_depend_on_the_image_only_without_a_language_kernel(
    random_module: Any, sentences: Any
) -> None:
    one, other = sentences([4, 1, 2], words=4, dim=D), sentences([4, 1, 2], words=4, dim=D)
    other = Language(other.words.flip(2), other.mask, other.sentence)
    by_image = random_module("laconv", C, D, **small({"variant": "no_language_kernel"}))
    assert torch.equal(by_image.explain(image(), one).kernels, by_image.explain(image(), other).kernels)
    assert not torch.equal(by_image(image(), one), by_image(image(), other)), (
        "the language has an effect through FiLM"
    )
    by_words = random_module("laconv", C, D, **SMALL)
    assert not torch.equal(by_words.explain(image(), one).kernels, by_words.explain(image(), other).kernels)


@EVERY
def test_an_instance_declares_what_it_listens_to_and_its_position_code(
    random_module: Any, sentences: Any, settings: Settings
) -> None:
    """A periodic image reveals a position code; changed words and sentences reveal which of them is read."""
    module = random_module("laconv", C, D, **small(settings))
    language: Language = sentences([4, 3, 2], words=4, dim=D)
    base = module(image(), language)
    words = Language(language.words.flip(2), language.mask, language.sentence)
    sentence = Language(language.words, language.mask, language.sentence.flip(1))
    assert (not torch.equal(base, module(image(), words))) == (module.listens == "words")
    assert (not torch.equal(base, module(image(), sentence))) == (module.listens == "sentence")
    chequered = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2) * torch.ones(3, C, 1, 1).double()
    alike = module(chequered, language)[..., 2:-2:2, 2:-2:2]  # away from the border, a period apart
    differ = not torch.allclose(alike, alike[..., :1, :1].expand_as(alike), rtol=1e-9, atol=1e-9)
    assert differ == (module.position_code == "sine")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("condition", ["words", "sentence"])
def test_learns_whether_word_and_image_agree(variant: str, condition: str) -> None:
    """The target is the exclusive or of one bit of the sentence and one of the image, so both are needed."""
    torch.manual_seed(0)
    block = LaConv(C, D, **without_dropout({"variant": variant, "condition": condition}))
    readout = nn.Linear(C, 1)
    optimizer = torch.optim.Adam([*block.parameters(), *readout.parameters()], 0.01)
    bits = torch.tensor(list(product((-1.0, 1.0), repeat=2)))  # [4, 2]: of the sentence, of the image
    truth = (bits[:, 0] == bits[:, 1]).float()
    word = bits[:, :1].expand(4, D)
    language = Language(word[:, None], torch.ones(4, 1, dtype=torch.bool), word)
    visual = bits[:, 1, None, None, None].expand(4, C, 3, 3)
    for _ in range(150):
        loss = F.binary_cross_entropy_with_logits(readout(block(visual, language).mean((2, 3)))[:, 0], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


# --- Dropout of kernels --------------------------------------------------------------------------------


def aggregations(dropout: float) -> list[Aggregation]:
    """Return the three aggregations with kernels, with FiLM set to the identity."""
    torch.manual_seed(2)
    options = KernelOptions(K, G, 1, softmax=False, dropout=dropout)
    made: list[Aggregation] = [
        LanguageKernels(2 * G, E, options, dynamic_bias=False),
        StaticKernel(2 * G, E, options),
        ImageKernels(2 * G, E, options, position="none", norm="none"),
    ]
    for aggregation in made:
        for name, parameter in aggregation.named_parameters():
            if "film" in name:
                nn.init.zeros_(parameter)
    return [aggregation.double() for aggregation in made]


@pytest.mark.parametrize("index", range(3), ids=["language", "static", "image"])
def test_kernel_dropout_is_independent_for_each_tap_and_position(index: int) -> None:
    """A map with one nonzero value isolates one tap per position: channels 0 and G isolate two taps of one kernel."""
    training, evaluation = aggregations(0.25)[index].train(), aggregations(0.25)[index].eval()
    samples = 400
    visual = torch.zeros(samples, 2 * G, 3, 3, dtype=torch.float64)
    visual[:, 0, 1, 1] = 1.0
    visual[:, G, 1, 2] = 1.0
    z = torch.rand(1, E, 3, 3, dtype=torch.float64).expand(samples, -1, -1, -1)
    with torch.no_grad():
        ratio = training(visual, z) / evaluation(visual, z)  # 0/0 where no tap reads the nonzero value
    centre, right = ratio[:, 0, 1, 1], ratio[:, G, 1, 1]  # taps 4 and 5 of the central position's kernel
    for tap in (centre, right):
        assert set(tap.round(decimals=9).tolist()) == {0.0, round(4 / 3, 9)}
        assert 60 < (tap == 0).sum() < 140
    both = ((centre == 0) & (right == 0)).sum()
    assert 8 < both < 45, "two taps of a kernel are dropped independently (both with probability 1/16)"
    neighbour = ratio[:, 0, 1, 0]
    assert 8 < ((centre == 0) & (neighbour == 0)).sum() < 45, (
        "the taps of two positions are dropped independently"
    )


@EVERY
def test_training_without_dropout_is_deterministic(sentences: Any, settings: Settings) -> None:
    torch.manual_seed(0)
    module = LaConv(C, D, **without_dropout(settings)).double().train()
    language = sentences([4, 3, 2], words=4, dim=D)
    assert torch.equal(module(image(), language), module(image(), language))
    if settings.get("norm") in {"group", "none"}:
        torch.testing.assert_close(module.eval()(image(), language), module.train()(image(), language))


@EVERY
def test_evaluation_is_deterministic(sentences: Any, settings: Settings) -> None:
    module = LaConv(C, D, **small(settings)).double().eval()
    language = sentences([4, 3, 2], words=4, dim=D)
    assert torch.equal(module(image(), language), module(image(), language))


# --- Properties of every setting -----------------------------------------------------------------------


@EVERY
def test_padding_changes_nothing(random_module: Any, sentences: Any, settings: Settings) -> None:
    module = random_module("laconv", C, D, **small(settings))
    language: Language = sentences([4, 1, 2], words=4, dim=D)
    longer = Language(
        F.pad(torch.where(language.mask[..., None], language.words, 1e6), (0, 0, 0, 3), value=-7.0),
        F.pad(language.mask, (0, 3)),
        language.sentence,
    )
    base = module(image(), language)
    torch.testing.assert_close(module(image(), longer), base, rtol=1e-12, atol=1e-12)


@EVERY
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (2, 9)])
def test_height_and_width_are_kept(
    random_module: Any, sentences: Any, settings: Settings, height: int, width: int
) -> None:
    module = random_module("laconv", C, D, **small(settings))
    out = module(image(height, width), sentences([1, 1, 1], words=1, dim=D))
    assert out.shape == (3, C, height, width)
    assert out.isfinite().all()


@EVERY
def test_every_parameter_is_trained(sentences: Any, settings: Settings) -> None:
    torch.manual_seed(0)
    module = LaConv(C, D, **small(settings)).double().train()
    module(image(), sentences([4, 3, 2], words=4, dim=D)).square().sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@EVERY
def test_bfloat16_agrees_within_its_precision(random_module: Any, sentences: Any, settings: Settings) -> None:
    module = random_module("laconv", C, D, **small(settings))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.3)
    language: Language = sentences([4, 3, 2], words=4, dim=D)
    exact = module(image(), language)
    rounded = module.bfloat16()(image().bfloat16(), language.to(torch.bfloat16))
    assert rounded.dtype is torch.bfloat16
    assert (rounded.double() - exact).abs().mean() < 0.02 * exact.abs().mean() + 0.02


@EVERY
def test_compiles_into_one_graph(sentences: Any, settings: Settings) -> None:
    torch.manual_seed(0)
    module = LaConv(C, D, **small(settings)).double().eval()
    language = sentences([4, 3, 2], words=4, dim=D)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image(), language), module(image(), language), rtol=1e-12, atol=1e-12)
    torch.compiler.reset()


@pytest.mark.parametrize("variant", ["full", "static_kernel"])
def test_compiles_into_one_graph_with_dropout(sentences: Any, variant: str) -> None:
    module = LaConv(C, D, **small({"variant": variant})).double().train()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    compiled(image(), sentences([4, 3, 2], words=4, dim=D)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    torch.compiler.reset()

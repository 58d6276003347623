"""Every choice of LaConv as an argument, and the variants that say where its gain comes from."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_bench.contract import Language
from fusion_modules.laconv import LaConv, LaConvBlock, LaConvConfig
from fusion_modules.laconv.aggregation import Aggregation, ImageKernels, LanguageKernels, StaticKernel, Taps

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
    """The settings of a small block, as far as its choices use them."""
    unused = {"kernel_size", "groups"} if settings.get("variant") == "z_add" else set()
    unused |= {"heads"} if settings.get("condition") == "sentence" else set()
    return {key: value for key, value in SMALL.items() if key not in unused} | settings


def quiet(settings: Settings) -> Settings:
    """The same without dropout."""
    dropouts = {"dropout", "kernel_dropout"}
    dropouts -= {"kernel_dropout"} if settings.get("variant") == "z_add" else set()
    dropouts -= {"dropout"} if settings.get("condition") == "sentence" else set()
    return small(settings) | dict.fromkeys(dropouts, 0.0)


def image(height: int = 3, width: int = 5, samples: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, C, height, width, generator=generator, dtype=torch.float64)


# --- Each variant, derived apart from the module -------------------------------------------------------


def windows(visual: Tensor, stride: int) -> Tensor:
    """``[B, C, k^2, H_out, W_out]``: what each tap sees, cut out of a bordered copy."""
    height, width = visual.shape[2:]
    bordered = F.pad(visual, [K // 2] * 4)
    cuts = [bordered[:, :, dy : dy + height, dx : dx + width] for dy in range(K) for dx in range(K)]
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
    """The sine position code of 8 channels, written out: two frequencies, 1 and 1/100."""
    rows = torch.arange(1, height + 1, dtype=torch.float64)[:, None].expand(height, width)
    columns = torch.arange(1, width + 1, dtype=torch.float64).expand(height, width)
    waves = [(axis * f).sin() if wave == 0 else (axis * f).cos()
             for axis in (rows, columns) for f in (1.0, 0.01) for wave in (0, 1)]  # fmt: skip
    return torch.stack(waves)


def filtered_by(variant: str, weights: dict[str, Tensor], visual: Tensor, z: Tensor, stride: int) -> Tensor:
    """``U`` of each variant from ``X`` and ``Z``."""
    seen, small_z = windows(visual, stride), z[..., ::stride, ::stride]
    by_channel = torch.arange(C) % G
    if variant == "z_add":
        return pointwise(weights, "kernels.project", small_z)
    if variant == "static_kernel":
        taps = weights["kernels.weight"].reshape(G, K * K)[by_channel]  # [C, k^2]
        return film(weights, torch.einsum("ck,bckhw->bchw", taps, seen), small_z)
    if variant == "no_language_kernel":
        located = visual + sine_code(*visual.shape[2:])
        written = normed(weights, "kernels.norm", pointwise(weights, "kernels.reduce", located)).clamp(min=0)
        kernels = pointwise(weights, "kernels.project", written[..., ::stride, ::stride])
    else:
        kernels = pointwise(weights, "kernels", small_z)
    taps = kernels.reshape(len(visual), G, K * K, *seen.shape[3:])[:, by_channel]  # [B, C, k^2, ...]
    u = torch.einsum("bckhw,bckhw->bchw", taps, seen)
    return film(weights, u, small_z) if variant == "no_language_kernel" else u


def mixed_by(variant: str, weights: dict[str, Tensor], x: Tensor, u: Tensor) -> Tensor:
    """The block's two residual parts, or only the first."""
    a = F.silu(x + normed(weights, "norm", u))
    if variant == "no_mlp":
        return a
    hidden = F.silu(normed(weights, "mlp.1", pointwise(weights, "mlp.0", a)))
    return F.silu(a + normed(weights, "mlp.4", pointwise(weights, "mlp.3", hidden)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(3, 5), (1, 1), (4, 2)])
def test_each_variant_is_what_its_docstring_says(
    drawn: Any, sentences: Any, variant: str, height: int, width: int
) -> None:
    module = drawn("laconv", C, D, **small({"variant": variant}))
    weights = {key: value.detach() for key, value in module.state_dict().items()}
    visual, language = image(height, width), sentences([4, 1, 2], words=4, dim=D)
    with torch.no_grad():
        z = module.condition(visual, language)
        expected = mixed_by(variant, weights, visual, filtered_by(variant, weights, visual, z, 1))
        torch.testing.assert_close(module(visual, language), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(5, 7), (4, 6), (1, 2)])
def test_each_variant_strides(sentences: Any, variant: str, height: int, width: int) -> None:
    torch.manual_seed(5)
    block = LaConvBlock(C, D, LaConvConfig(**small({"variant": variant})), stride=2).double().eval()
    weights = {key: value.detach() for key, value in block.state_dict().items()}
    visual, language = image(height, width), sentences([4, 1, 2], words=4, dim=D)
    with torch.no_grad():
        u = filtered_by(variant, weights, visual, block.condition(visual, language), 2)
        expected = mixed_by(variant, weights, block.shortcut(visual), u)
        torch.testing.assert_close(block(visual, language), expected, rtol=1e-10, atol=1e-10)
    assert u.shape == (3, C, (height + 1) // 2, (width + 1) // 2)


def test_the_softmax_is_over_the_taps_of_one_kernel(drawn: Any, sentences: Any) -> None:
    """Also for the kernels that language does not write: constant images keep their value inside the map."""
    for variant in ("full", "no_language_kernel"):
        module = drawn("laconv", C, D, **small({"variant": variant, "kernel_softmax": True}))
        kernels = module.explain(image(), sentences([4, 1, 2], words=4, dim=D)).kernels
        assert (kernels > 0).all()
        torch.testing.assert_close(kernels.sum(dim=2), torch.ones(3, G, 3, 5, dtype=torch.float64))
    static = StaticKernel(C, E, Taps(K, G, 1, softmax=True, dropout=0.0)).double()
    nn.init.zeros_(static.film.gamma.weight)
    nn.init.zeros_(static.film.gamma.bias)  # type: ignore[arg-type]
    nn.init.zeros_(static.film.beta.weight)
    nn.init.zeros_(static.film.beta.bias)  # type: ignore[arg-type]
    out = static(torch.ones(1, C, 5, 5, dtype=torch.float64), torch.zeros(1, E, 5, 5, dtype=torch.float64))
    torch.testing.assert_close(out[..., 1:-1, 1:-1], torch.ones(1, C, 3, 3, dtype=torch.float64))
    assert (out[..., 0, 0] < 1).all(), "taps beside the map keep their share"


def test_film_by_position_starts_around_the_identity() -> None:
    torch.manual_seed(0)
    taps = Taps(K, G, 1, softmax=False, dropout=0.0)
    static = StaticKernel(64, 32, taps)
    gamma = 1 + static.film.gamma(torch.rand(4, 32, 5, 5))
    assert 0.8 < gamma.mean() < 1.2
    assert gamma.min() > -0.5


# --- Where language enters, and what each variant explains ---------------------------------------------


@pytest.mark.parametrize(("variant", "explained"), list(zip(VARIANTS, (1, 0, 0, 1, 1), strict=True)))
def test_explains_its_kernels_where_positions_have_their_own(
    drawn: Any, sentences: Any, variant: str, explained: int
) -> None:
    told = drawn("laconv", C, D, **small({"variant": variant})).explain(
        image(), sentences([4, 1, 2], words=4, dim=D)
    )
    assert told.words.shape == (3, 4, 3, 5)
    assert (told.kernels is not None) == bool(explained)
    if told.kernels is not None:
        assert told.kernels.shape == (3, G, K * K, 3, 5)


def test_only_without_a_language_kernel_does_the_image_write_it(drawn: Any, sentences: Any) -> None:
    one, other = sentences([4, 1, 2], words=4, dim=D), sentences([4, 1, 2], words=4, dim=D)
    other = Language(other.words.flip(2), other.mask, other.sentence)
    by_image = drawn("laconv", C, D, **small({"variant": "no_language_kernel"}))
    assert torch.equal(by_image.explain(image(), one).kernels, by_image.explain(image(), other).kernels)
    assert not torch.equal(by_image(image(), one), by_image(image(), other)), "language enters by FiLM"
    by_words = drawn("laconv", C, D, **SMALL)
    assert not torch.equal(by_words.explain(image(), one).kernels, by_words.explain(image(), other).kernels)


@EVERY
def test_an_instance_declares_what_it_listens_to_and_where_it_looks(
    drawn: Any, sentences: Any, settings: Settings
) -> None:
    """A chequered image shows a position code; exchanged words and sentences show who is heard."""
    module = drawn("laconv", C, D, **small(settings))
    language: Language = sentences([4, 3, 2], words=4, dim=D)
    base = module(image(), language)
    words = Language(language.words.flip(2), language.mask, language.sentence)
    sentence = Language(language.words, language.mask, language.sentence.flip(1))
    assert (not torch.equal(base, module(image(), words))) == (module.listens == "words")
    assert (not torch.equal(base, module(image(), sentence))) == (module.listens == "sentence")
    chequered = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2) * torch.ones(3, C, 1, 1).double()
    alike = module(chequered, language)[..., 2:-2:2, 2:-2:2]  # away from the border, a period apart
    told_apart = not torch.allclose(alike, alike[..., :1, :1].expand_as(alike), rtol=1e-9, atol=1e-9)
    assert told_apart == (module.position_code == "sine")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("condition", ["words", "sentence"])
def test_learns_to_say_whether_word_and_image_agree(variant: str, condition: str) -> None:
    """An exclusive or of one bit of the sentence and one of the image: neither alone says anything."""
    torch.manual_seed(0)
    block = LaConv(C, D, **quiet({"variant": variant, "condition": condition}))
    readout = nn.Linear(C, 1)
    optimizer = torch.optim.Adam([*block.parameters(), *readout.parameters()], 0.01)
    bits = torch.tensor(list(product((-1.0, 1.0), repeat=2)))  # [4, 2]: of the sentence, of the image
    truth = (bits[:, 0] == bits[:, 1]).float()
    said = bits[:, :1].expand(4, D)
    language = Language(said[:, None], torch.ones(4, 1, dtype=torch.bool), said)
    seen = bits[:, 1, None, None, None].expand(4, C, 3, 3)
    for _ in range(150):
        loss = F.binary_cross_entropy_with_logits(readout(block(seen, language).mean((2, 3)))[:, 0], truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


# --- Dropout of kernels --------------------------------------------------------------------------------


def aggregations(dropout: float) -> list[Aggregation]:
    """The three that have kernels; FiLM, where it follows, is the identity."""
    torch.manual_seed(2)
    taps = Taps(K, G, 1, softmax=False, dropout=dropout)
    made: list[Aggregation] = [
        LanguageKernels(2 * G, E, taps, dynamic_bias=False),
        StaticKernel(2 * G, E, taps),
        ImageKernels(2 * G, E, taps, position="none", norm="none"),
    ]
    for aggregation in made:
        for name, parameter in aggregation.named_parameters():
            if "film" in name:
                nn.init.zeros_(parameter)
    return [aggregation.double() for aggregation in made]


@pytest.mark.parametrize("index", range(3), ids=["language", "static", "image"])
def test_kernel_dropout_falls_on_single_taps_of_single_positions(index: int) -> None:
    """A map with one light shows one tap per position: channels 0 and G two taps of one kernel."""
    noisy, still = aggregations(0.25)[index].train(), aggregations(0.25)[index].eval()
    samples = 400
    visual = torch.zeros(samples, 2 * G, 3, 3, dtype=torch.float64)
    visual[:, 0, 1, 1] = 1.0
    visual[:, G, 1, 2] = 1.0
    z = torch.rand(1, E, 3, 3, dtype=torch.float64).expand(samples, -1, -1, -1)
    with torch.no_grad():
        ratio = noisy(visual, z) / still(visual, z)  # 0/0 where the light is out of reach
    near, far = ratio[:, 0, 1, 1], ratio[:, G, 1, 1]  # taps 4 and 5 of the central position's kernel
    for tap in (near, far):
        assert set(tap.round(decimals=9).tolist()) == {0.0, round(4 / 3, 9)}
        assert 60 < (tap == 0).sum() < 140
    both = ((near == 0) & (far == 0)).sum()
    assert 8 < both < 45, "two taps of a kernel are dropped apart (a sixteenth of the time both)"
    beside = ratio[:, 0, 1, 0]
    assert 8 < ((near == 0) & (beside == 0)).sum() < 45, "and so are two positions' taps"


@EVERY
def test_training_without_dropout_repeats_itself(sentences: Any, settings: Settings) -> None:
    torch.manual_seed(0)
    module = LaConv(C, D, **quiet(settings)).double().train()
    language = sentences([4, 3, 2], words=4, dim=D)
    assert torch.equal(module(image(), language), module(image(), language))
    if settings.get("norm") in {"group", "none"}:
        torch.testing.assert_close(module.eval()(image(), language), module.train()(image(), language))


@EVERY
def test_evaluation_repeats_itself(sentences: Any, settings: Settings) -> None:
    module = LaConv(C, D, **small(settings)).double().eval()
    language = sentences([4, 3, 2], words=4, dim=D)
    assert torch.equal(module(image(), language), module(image(), language))


# --- What holds for every choice -----------------------------------------------------------------------


@EVERY
def test_padding_changes_nothing(drawn: Any, sentences: Any, settings: Settings) -> None:
    module = drawn("laconv", C, D, **small(settings))
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
    drawn: Any, sentences: Any, settings: Settings, height: int, width: int
) -> None:
    module = drawn("laconv", C, D, **small(settings))
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
def test_bfloat16_is_the_same_up_to_its_precision(drawn: Any, sentences: Any, settings: Settings) -> None:
    module = drawn("laconv", C, D, **small(settings))
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

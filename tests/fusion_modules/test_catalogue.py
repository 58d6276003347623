"""What the contract promises, for every module of the catalogue."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.contract import FusionModule, Language
from fusion_bench.registry import Target
from fusion_modules import CATALOGUE

EVERY = pytest.mark.parametrize("name", CATALOGUE)
C, D, T = 16, 12, 5


def load(name: str) -> type[FusionModule]:
    return Target(CATALOGUE[name]).load()


@pytest.fixture
def language(sentences: Any) -> Language:
    made: Language = sentences([5, 1, 3], words=T, dim=D)
    return made


def image(height: int = 4, width: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, C, height, width, generator=generator, dtype=torch.float64)


def test_the_catalogue_is_read_without_torch() -> None:
    program = "import sys, fusion_modules; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@EVERY
@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (1, 1)])
def test_height_and_width_are_kept(
    drawn: Any, language: Language, name: str, height: int, width: int
) -> None:
    module = drawn(name, C, D)
    assert module(image(height, width), language).shape == (3, module.out_dim, height, width)


@EVERY
def test_garbage_in_the_padding_changes_nothing(drawn: Any, language: Language, name: str) -> None:
    module = drawn(name, C, D)
    garbage = torch.where(language.mask[..., None], language.words, 1e6)
    changed = Language(garbage, language.mask, language.sentence)
    assert torch.equal(module(image(), changed), module(image(), language))


@EVERY
def test_more_padding_changes_nothing(drawn: Any, language: Language, name: str) -> None:
    module = drawn(name, C, D)
    longer = Language(
        nn.functional.pad(language.words, (0, 0, 0, 3), value=7.0),
        nn.functional.pad(language.mask, (0, 3)),
        language.sentence,
    )
    torch.testing.assert_close(module(image(), longer), module(image(), language), rtol=1e-12, atol=1e-12)


@EVERY
def test_reads_what_it_declares_and_nothing_else(drawn: Any, language: Language, name: str) -> None:
    module = drawn(name, C, D)
    base = module(image(), language)
    words = Language(language.words.flip(2), language.mask, language.sentence)
    sentence = Language(language.words, language.mask, language.sentence.flip(1))
    assert torch.equal(base, module(image(seed=1), language)) != ("image" in module.reads)
    assert torch.equal(base, module(image(), words)) != (module.listens in {"words", "both"})
    assert torch.equal(base, module(image(), sentence)) != (module.listens in {"sentence", "both"})
    assert ("language" in module.reads) == (module.listens != "nothing")


@EVERY
def test_a_sample_alone_gives_what_it_gives_in_a_batch(drawn: Any, language: Language, name: str) -> None:
    module = drawn(name, C, D)
    alone = Language(language.words[1:2], language.mask[1:2], language.sentence[1:2])
    together = module(image(), language)[1:2]
    torch.testing.assert_close(module(image()[1:2], alone), together, rtol=1e-12, atol=1e-12)


@EVERY
def test_every_parameter_is_trained(language: Language, name: str) -> None:
    torch.manual_seed(0)
    module = load(name)(C, D).double().train()
    module(image(), language).square().sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@EVERY
def test_copies_and_saved_states_are_the_module_again(drawn: Any, language: Language, name: str) -> None:
    module = drawn(name, C, D)
    expected = module(image(), language)
    assert torch.equal(copy.deepcopy(module)(image(), language), expected)
    torch.manual_seed(99)
    other = load(name)(C, D).double().eval()
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(image(), language), expected)


@EVERY
def test_compiles_into_one_graph(drawn: Any, language: Language, name: str) -> None:
    module = drawn(name, C, D)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image(), language), module(image(), language), rtol=1e-12, atol=1e-12)
    torch.compiler.reset()


@EVERY
def test_trains_under_bfloat16_autocast(sentences: Any, name: str) -> None:
    torch.manual_seed(0)
    module = load(name)(C, D).train()
    language = sentences([5, 1, 3], words=T, dim=D, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(image().float(), language)
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@EVERY
def test_the_width_argument_scales_the_cost(name: str) -> None:
    kind = load(name)
    if kind.width is None:
        pytest.skip("its cost cannot be matched")
    narrow, wide = (kind.width.minimum + steps * kind.width.step for steps in (0, 5))
    costs = [
        kind(C, D, **{kind.width.argument: value}).multiply_adds(C, D, 4, 6, T) for value in (narrow, wide)
    ]
    assert costs[0] < costs[1]


@EVERY
def test_the_search_space_names_arguments_of_the_constructor(name: str) -> None:
    import inspect

    assert load(name).search_space(C, D).keys() <= inspect.signature(load(name)).parameters.keys()

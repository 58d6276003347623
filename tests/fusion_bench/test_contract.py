"""What a module must declare, and that `Language` passes through torch's tools."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fusion_bench.contract import (
    Citation,
    Cost,
    Explains,
    Explanation,
    FusionModule,
    Language,
    Listens,
    PositionCode,
    Space,
    Width,
    multiply_adds_of,
)

PAPER = Citation("A paper", "Somebody et al.", "Somewhere", 2020, "https://example.org")


class Gate(FusionModule):
    """Channels scaled by the sentence, then a convolution."""

    citation: ClassVar[Citation] = PAPER
    width: ClassVar[Width | None] = None
    listens: ClassVar[Listens] = "sentence"
    position_code: ClassVar[PositionCode] = "none"

    def __init__(self, visual_dim: int, language_dim: int) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.gate = nn.Linear(language_dim, visual_dim)
        self.conv = nn.Conv2d(visual_dim, visual_dim, 3, padding=1)

    @classmethod
    def search_space(cls, visual_dim: int, language_dim: int) -> Mapping[str, Space]:
        del visual_dim, language_dim
        return {}

    def forward(self, visual: Tensor, language: Language) -> Tensor:
        gated: Tensor = self.conv(visual * self.gate(language.sentence)[..., None, None])
        return gated


def language(batch: int = 2, words: int = 3, dim: int = 4) -> Language:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(words) < torch.tensor([[words], [1]])[:batch]
    return Language(
        torch.randn(batch, words, dim, generator=generator),
        mask,
        torch.randn(batch, dim, generator=generator),
    )


def test_a_module_that_declares_nothing_fails_when_it_is_defined() -> None:
    with pytest.raises(
        TypeError, match="does not declare citation, width, listens, position_code, search_space"
    ):

        class Bare(FusionModule):
            pass


@pytest.mark.parametrize("name", ["citation", "width", "listens", "position_code", "search_space"])
def test_each_declaration_is_asked_for_by_name(name: str) -> None:
    body = {key: vars(Gate)[key] for key in ("citation", "width", "listens", "position_code", "search_space")}
    del body[name]
    with pytest.raises(TypeError, match=rf"does not declare {name}$"):
        type("Lacks", (FusionModule,), body)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("citation", "Somebody 2020"),
        ("width", 8),
        ("listens", "everything"),
        ("position_code", None),
        ("reads", "image"),
    ],
)
def test_a_declaration_of_another_type_is_told_with_its_value(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"Wrong declares {name} = {value!r}; see fusion_bench\.contract"):
        type("Wrong", (Gate,), {name: value})


def test_a_declaration_may_be_inherited_and_an_abstract_base_declares_nothing() -> None:
    class Child(Gate):
        pass

    class Base(FusionModule, abstract=True):
        pass

    assert Child.citation is PAPER
    assert not hasattr(Base, "citation")


def test_a_module_can_read_only_what_there_is() -> None:
    with pytest.raises(TypeError, match=r"Deaf.reads names \['sound'\]"):

        class Deaf(Gate):
            reads = frozenset({"image", "sound"})


def test_language_is_a_pytree_of_three_tensors() -> None:
    spoken = language()
    leaves, structure = pytree.tree_flatten(spoken)
    assert len(leaves) == 3
    doubled = pytree.tree_map(lambda leaf: leaf * 2, spoken)
    assert isinstance(doubled, Language)
    assert torch.equal(doubled.words, spoken.words * 2)
    assert isinstance(pytree.tree_unflatten(leaves, structure), Language)


def test_language_moves_like_a_tensor_and_its_mask_stays_boolean() -> None:
    moved = language().to(torch.float64)
    assert (moved.words.dtype, moved.sentence.dtype, moved.mask.dtype) == (
        torch.float64,
        torch.float64,
        torch.bool,
    )
    assert language().to("meta").mask.device.type == "meta"


def test_a_module_can_be_exported_with_language_as_an_input() -> None:
    module, visual, spoken = Gate(5, 4).eval(), torch.ones(2, 5, 3, 3), language()
    exported = torch.export.export(module, (visual, spoken))
    assert torch.allclose(exported.module()(visual, spoken), module(visual, spoken))


def test_multiply_adds_are_those_of_matmul_and_convolution() -> None:
    module = Gate(5, 4)
    height, width = 6, 7
    expected = 4 * 5 + 5 * 5 * 3 * 3 * height * width
    assert module.multiply_adds(5, 4, height, width, words=3) == expected
    assert next(module.parameters()).device.type == "cpu", "counting leaves the module where it was"


class Transform(nn.Module):
    """One Fourier transform."""

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, values: Tensor) -> Tensor:
        return self.transform(values)


@pytest.mark.parametrize(
    ("transform", "shape", "kind", "length"),
    [
        (torch.fft.fft, (3, 16), torch.complex64, 16),
        (torch.fft.rfft, (3, 16), torch.float32, 16 / 2),
        (torch.fft.irfft, (3, 9), torch.complex64, 16 / 2),
        (torch.fft.fft2, (3, 4, 4), torch.complex64, 16),
        (torch.fft.rfft2, (3, 4, 4), torch.float32, 16 / 2),
    ],
)
def test_fourier_transforms_are_counted(
    transform: Callable[[Tensor], Tensor], shape: tuple[int, ...], kind: torch.dtype, length: float
) -> None:
    """5/2 n log2 n for n = 16 complex numbers, three times over; half of it where one side is real."""
    counted = multiply_adds_of(Transform(transform), torch.ones(*shape, dtype=kind))
    assert counted == 3 * 5 / 2 * length * 4


def test_a_transform_of_any_length_is_counted() -> None:
    counted = multiply_adds_of(Transform(torch.fft.rfft), torch.ones(2, 7))
    assert counted == pytest.approx(2 * 5 / 4 * 7 * math.log2(7), abs=1)
    assert multiply_adds_of(Transform(torch.fft.rfft), torch.ones(2, 1)) == 0


def test_costs_add_up() -> None:
    assert Cost(1, 10) + Cost(2, 20) == Cost(3, 30)


def test_explaining_is_optional() -> None:
    class Shows(Gate):
        def explain(self, visual: Tensor, language: Language) -> Explanation:
            return Explanation(language.mask[..., None, None].expand(-1, -1, *visual.shape[-2:]).float())

    assert isinstance(Shows(5, 4), Explains)
    assert not isinstance(Gate(5, 4), Explains)


def test_a_citation_is_short() -> None:
    assert str(PAPER) == "Somebody et al., Somewhere 2020"

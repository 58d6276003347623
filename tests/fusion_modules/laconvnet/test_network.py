"""The networks and the contract: three maps, any sentence width, cost, and a gradient for every weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fusion_bench.contract import Language, VisionLanguageNetwork, multiply_adds_of
from fusion_bench.spec.signatures import signature_of
from fusion_modules.laconvnet import LaConvNetB, LaConvNetS, LaConvNetTiny

SIZES = (LaConvNetS, LaConvNetB, LaConvNetTiny)
Size = type[LaConvNetS] | type[LaConvNetB] | type[LaConvNetTiny]


def sentence_on_meta(dim: int, words: int = 15) -> Language:
    with torch.device("meta"):
        return Language(
            torch.empty(1, words, dim), torch.ones(1, words, dtype=torch.bool), torch.empty(1, dim)
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (160, 32)])
def test_gives_three_maps_from_fine_to_coarse(size: Size, height: int, width: int) -> None:
    with torch.device("meta"):
        network, image = size(72).eval(), torch.empty(1, 3, height, width)
    pyramid = network(image, sentence_on_meta(72))
    assert isinstance(network, VisionLanguageNetwork)
    assert pyramid.strides == ((4, 8, 16) if size is LaConvNetTiny else (8, 16, 32))
    for visual, dim, stride in zip(pyramid.maps, network.out_dims, pyramid.strides, strict=True):
        assert visual.shape == (1, dim, height // stride, width // stride)


@pytest.mark.parametrize(("size", "giga"), [(LaConvNetS, 6.180), (LaConvNetB, 12.237)])
def test_has_the_cost_of_the_authors_encoder_and_neck(size: Size, giga: float) -> None:
    """The released S network for boxes has 8.486 G: 6.180 visual, 2.016 neck, 0.068 text, 0.222 head."""
    with torch.device("meta"):
        network = size(512)
        counted = multiply_adds_of(network, torch.empty(1, 3, 416, 416), sentence_on_meta(512))
    assert counted / 1e9 == pytest.approx(giga + 2.016, rel=1e-3)


def test_the_tiny_network_is_below_its_limits() -> None:
    with torch.device("meta"):
        network = LaConvNetTiny(128)
        counted = multiply_adds_of(network, torch.empty(1, 3, 64, 96), sentence_on_meta(128))
    assert sum(parameter.numel() for parameter in network.parameters()) < 600_000
    assert counted < 35e6


@pytest.mark.parametrize("size", SIZES)
def test_has_the_settings_of_its_docstring(size: Size) -> None:
    assert signature_of(size).defaults == {"dropout": 0.1, "kernel_dropout": 0.1}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("height", "width"), [(48, 96), (64, 100)])
def test_sides_that_do_not_fit_are_rejected(size: Size, height: int, width: int) -> None:
    with torch.device("meta"):
        network, image = size(16), torch.empty(1, 3, height, width)
    with pytest.raises(ValueError, match=f"multiples of 32, not {height} x {width}"):
        network(image, sentence_on_meta(16))


def test_the_coarsest_map_depends_on_every_weight(sentences: Any) -> None:
    """The head of a study reads only the coarsest map, so this map must depend on the whole network."""
    torch.manual_seed(0)
    network = LaConvNetTiny(6).double()
    language: Language = sentences([4, 2, 3], words=4, dim=6)
    coarsest = network(torch.rand(3, 3, 64, 96, dtype=torch.float64), language).maps[-1]
    coarsest.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name.endswith("condition.key.bias"), name


def test_learns_a_task_that_needs_image_and_word() -> None:
    """The image is red or green, and the answer is whether the word names its colour; there are four samples."""
    torch.manual_seed(0)
    network = LaConvNetTiny(8, dropout=0.0, kernel_dropout=0.0)
    head = nn.Linear(network.out_dims[-1], 2)
    image = torch.zeros(4, 3, 32, 32)
    image[:2, 0], image[2:, 1] = 1.0, 1.0
    words = torch.eye(8)[torch.tensor([0, 1, 0, 1])][:, None]
    language = Language(words, torch.ones(4, 1, dtype=torch.bool), words[:, 0])
    answers = torch.tensor([1, 0, 0, 1])
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(15):
        logits = head(network(image, language).maps[-1].amax((2, 3)))
        loss = F.cross_entropy(logits, answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert logits.argmax(1).tolist() == answers.tolist()

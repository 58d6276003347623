"""Pretext training teaches a backbone to recognise attributes and is deterministic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fusion_bench.data.miniclevr.pretext import ATTRIBUTE_NAMES, position_targets, pretext_images
from fusion_bench.errors import WeightsError
from fusion_bench.training.pretext import PretextRecipe, PretextSamples, train_pretext

RECIPE = PretextRecipe(images=64, held_out=24, steps=60, batch_size=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def samples() -> PretextSamples:
    made = pretext_images(0, RECIPE.images + RECIPE.held_out, (32, 48))
    share, attributes = position_targets(made.ids, made.attributes, (8, 12))
    images = torch.from_numpy(made.images).permute(0, 3, 1, 2) / 127.5 - 1
    return PretextSamples(images, torch.from_numpy(share), torch.from_numpy(attributes))


def backbone() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.BatchNorm2d(16), nn.ReLU())


def test_a_tiny_backbone_learns_where_objects_are_and_their_colour(samples: PretextSamples) -> None:
    scores = train_pretext(backbone(), 16, samples, RECIPE, seed=1)
    assert set(scores.attributes) == set(ATTRIBUTE_NAMES)
    empty = float((samples.share[RECIPE.images :] < 0.5).float().mean())
    assert scores.foreground > empty + 0.5 * (1 - empty) * 0.8
    assert scores.attributes["color"] > 0.5


def test_an_untrained_backbone_is_near_chance(samples: PretextSamples) -> None:
    scores = train_pretext(backbone(), 16, samples, replace(RECIPE, learning_rate=0.0), seed=1)
    assert scores.attributes["color"] < 0.3


def test_equal_seeds_give_equal_weights_and_other_seeds_others(samples: PretextSamples) -> None:
    short = replace(RECIPE, steps=4)
    nets = [backbone() for _ in range(3)]
    first, second, _ = (
        train_pretext(net, 16, samples, short, seed) for net, seed in zip(nets, (0, 0, 1), strict=True)
    )
    assert first == second
    one, same, other = (net[0].weight.detach() for net in nets)  # type: ignore[index]
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_every_step_is_counted(samples: PretextSamples) -> None:
    heard: list[tuple[str, int, int]] = []
    short = replace(RECIPE, steps=3)
    train_pretext(backbone(), 16, samples, short, 0, lambda *count: heard.append(count))
    assert heard == [("pretext step", step, 3) for step in (1, 2, 3)]


def test_held_out_images_are_not_trained_on(samples: PretextSamples) -> None:
    short = replace(RECIPE, steps=4)
    changed = samples.images.clone()
    changed[RECIPE.images :] = torch.from_numpy(np.float32(9.0) * np.ones(1, dtype=np.float32))
    one, other = backbone(), backbone()
    train_pretext(one, 16, samples, short, 0)
    train_pretext(other, 16, replace(samples, images=changed), short, 0)
    assert torch.equal(one[0].weight, other[0].weight)  # type: ignore[index]


def test_a_loss_that_is_not_finite_is_an_error(samples: PretextSamples) -> None:
    broken = replace(samples, images=torch.full_like(samples.images, float("nan")))
    with pytest.raises(WeightsError, match="not finite"):
        train_pretext(backbone(), 16, broken, replace(RECIPE, steps=2), 0)

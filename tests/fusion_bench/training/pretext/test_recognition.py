"""Pretext training teaches a backbone to recognise attributes and is deterministic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from fusion_bench.data.miniclevr.pretext import ATTRIBUTE_NAMES, pretext_images
from fusion_bench.encoders.vision import build_backbone, weights_digest
from fusion_bench.errors import WeightsError
from fusion_bench.training.pretext.network import PretextNetwork, PretextSamples
from fusion_bench.training.pretext.recognition import PretextRecipe, train_pretext
from fusion_bench.training.pretext.weights import pretext_samples

SIZE = (32, 48)
RECIPE = PretextRecipe(images=64, held_out=24, steps=60, batch_size=16, learning_rate=1e-2)


def network(seed: int = 0) -> PretextNetwork:
    torch.manual_seed(0)
    return PretextNetwork(build_backbone("test_resnet", image_size=SIZE, layer=1, maps=2), seed)


@pytest.fixture(scope="module")
def samples() -> PretextSamples:
    return pretext_samples(pretext_images(0, RECIPE.images + RECIPE.held_out, SIZE), network().backbone)


def test_a_tiny_backbone_learns_where_objects_are_and_their_colour(samples: PretextSamples) -> None:
    scores = train_pretext(network(), samples, RECIPE, seed=1)
    for targets, found in zip(samples.targets, scores.maps, strict=True):
        assert set(found.positions) == set(found.objects) == set(ATTRIBUTE_NAMES)
        empty = float((targets.share[RECIPE.images :] < 0.5).float().mean())
        assert found.foreground > empty + 0.5 * (1 - empty) * 0.8
        assert found.positions["color"] > 0.5
        assert found.objects["color"] > 0.5


def test_an_untrained_backbone_is_near_chance(samples: PretextSamples) -> None:
    scores = train_pretext(network(), samples, replace(RECIPE, learning_rate=0.0), seed=1)
    assert all(found.positions["color"] < 0.3 for found in scores.maps)


def test_equal_seeds_give_equal_weights_and_other_seeds_others(samples: PretextSamples) -> None:
    short = replace(RECIPE, steps=4)
    nets = [network() for _ in range(3)]
    first, second, _ = (
        train_pretext(net, samples, short, seed) for net, seed in zip(nets, (0, 0, 1), strict=True)
    )
    assert first == second
    one, same, other = map(weights_digest, nets)
    assert one == same
    assert one != other


def test_every_step_is_counted(samples: PretextSamples) -> None:
    heard: list[tuple[str, int, int]] = []
    short = replace(RECIPE, steps=3)
    train_pretext(network(), samples, short, 0, lambda *count: heard.append(count))
    assert heard == [("pretext step", step, 3) for step in (1, 2, 3)]


def test_held_out_images_are_not_trained_on(samples: PretextSamples) -> None:
    short = replace(RECIPE, steps=4)
    changed = samples.images.clone()
    changed[RECIPE.images :] = 9
    one, other = network(), network()
    train_pretext(one, samples, short, 0)
    train_pretext(other, replace(samples, images=changed), short, 0)
    assert weights_digest(one) == weights_digest(other)


def _lose_a_target(samples: PretextSamples) -> PretextSamples:
    first, *others = samples.targets
    return replace(samples, targets=(replace(first, share=first.share * float("nan")), *others))


def _lose_a_part(samples: PretextSamples) -> PretextSamples:
    *others, last = samples.targets
    return replace(samples, targets=(*others, replace(last, part=last.part * float("inf"))))


@pytest.mark.parametrize("break_samples", [_lose_a_target, _lose_a_part])
def test_a_loss_that_is_not_finite_is_an_error(
    samples: PretextSamples, break_samples: Callable[[PretextSamples], PretextSamples]
) -> None:
    with pytest.raises(WeightsError, match="not finite"):
        train_pretext(network(), break_samples(samples), replace(RECIPE, steps=2), 0)


def test_mirrored_images_have_mirrored_targets(samples: PretextSamples) -> None:
    rows, mirrored = torch.tensor([3, 7]), torch.tensor([True, False])
    for targets in samples.targets:
        found = targets.rows(rows, mirrored)
        for name in ("share", "attributes", "part", "peak"):
            values = getattr(targets, name)
            assert torch.equal(getattr(found, name)[0], values[3].flip(1))
            assert torch.equal(getattr(found, name)[1], values[7])

"""The slot and the head are the same for every arm: shapes, initial weights, costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fusion_bench.contract import Language
from fusion_bench.registry import Target
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.config import Component, FusionConfig
from fusion_bench.training.loop import build_model
from fusion_bench.training.model import FusionModel
from fusion_bench.training.slot import Slot, make_slot
from toys import here, toy_cell_data, toy_config

CPU = torch.device("cpu")


def model_of(arm: str = "Product", **fusion: object) -> FusionModel:
    config = toy_config(arm)
    return build_model(replace(config, fusion=replace(config.fusion, **fusion)), toy_cell_data())


def test_two_arms_start_from_equal_shared_weights() -> None:
    one, other = model_of("Product"), model_of("Explodes")
    for part in ("text", "slot.projection", "slot.adapter", "head"):
        ours, theirs = one.get_submodule(part).state_dict(), other.get_submodule(part).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_seed_starts_from_other_weights() -> None:
    one = build_model(toy_config(seed=0), toy_cell_data())
    other = build_model(toy_config(seed=1), toy_cell_data())
    assert not torch.equal(one.slot.projection.weight, other.slot.projection.weight)


def test_depth_makes_copies_with_weights_of_their_own() -> None:
    first, second = model_of(depth=2).slot.fusion
    assert not torch.equal(first.project.weight, second.project.weight)


def test_only_shared_coordinates_widen_the_projection() -> None:
    assert model_of(coordinates="shared").slot.projection.in_channels == 5
    assert model_of(coordinates="module").slot.projection.in_channels == 3


def test_costs_match_a_count_by_hand() -> None:
    costs = model_of().costs((4, 4), (3, 4, 4), words=3)
    projection, adapter, module = (3 + 2) * 8, (8 + 2) * 8, 8 * 8
    assert costs.fusion.multiply_adds == 16 * (projection + adapter) + module
    assert costs.fusion.parameters == projection + 8 + adapter + 8 + module + 8
    head = 16 * 8 * 8 + 16 * 16 + 16 * 2
    assert costs.around.multiply_adds == head  # embeddings are looked up, not multiplied


def test_the_uniform_slot_follows_every_module_with_an_equal_residual_mixer() -> None:
    one, other = (model_of(arm, slot="uniform", depth=2).slot for arm in ("Product", "Wider"))
    assert isinstance(one, Slot) and isinstance(other, Slot)
    for own, its in zip(one.mixing, other.mixing, strict=True):
        assert isinstance(its, nn.Sequential), "a 1x1 convolution restores the slot's width first"
        ours, theirs = own.state_dict(), its[1].state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(one.mixing[0].conv.weight, one.mixing[1].conv.weight)
    assert [module.project.in_features for module in other.fusion] == [8, 8]

    fused, (mixer, _) = torch.randn(2, 8, 5, 3), one.mixing
    convolved = F.conv2d(fused, mixer.conv.weight, padding=1)
    mean, variance = convolved.mean((0, 2, 3), keepdim=True), convolved.var((0, 2, 3), False, keepdim=True)
    normal = (convolved - mean) / (variance + mixer.norm.eps).sqrt()
    assert torch.allclose(mixer(fused), fused + normal * normal.sigmoid(), atol=1e-5)


def test_the_uniform_slot_adds_mixers_and_nothing_else() -> None:
    plain, mixed = model_of(), model_of(slot="uniform")
    added = {name for name in mixed.state_dict() if name not in plain.state_dict()}
    assert added and all(name.startswith("slot.mixing.") for name in added)
    assert all(torch.equal(value, mixed.state_dict()[name]) for name, value in plain.state_dict().items())


def test_mixers_count_in_the_budget_of_the_arm() -> None:
    plain, mixed = (
        model_of(slot=slot).costs((4, 4), (3, 4, 4), words=3) for slot in ("published", "uniform")
    )
    assert mixed.around == plain.around
    assert mixed.fusion.multiply_adds - plain.fusion.multiply_adds == 16 * 9 * 8 * 8
    assert mixed.fusion.parameters - plain.fusion.parameters == 9 * 8 * 8 + 2 * 8


def test_a_network_takes_the_images_themselves() -> None:
    config = replace(toy_config("TinyNetwork"), kind="network", fusion=FusionConfig(width=8, depth=1))
    model = build_model(config, replace(toy_cell_data(), map_shape=(3, 4, 4)))
    batch = BatchLoader(toy_cell_data().encoded["val"], toy_cell_data(), CPU).batch(torch.arange(5))
    assert model.eval()(batch).shape == (5, 2)


def test_the_head_of_a_network_is_counted_on_the_map_that_it_reads() -> None:
    config = replace(toy_config("TinyNetwork"), kind="network", fusion=FusionConfig(width=8, depth=1))
    model = build_model(config, replace(toy_cell_data(), map_shape=(3, 4, 4)))
    around = model.costs((4, 4), (3, 4, 4), words=3).around.multiply_adds
    positions = 1  # positions of the network's coarsest map, not of the image
    assert around == positions * 8 * 8 + 16 * 16 + 16 * 2


def test_padding_never_changes_an_output() -> None:
    cell_data = toy_cell_data()
    batch = BatchLoader(cell_data.encoded["val"], cell_data, CPU).batch(torch.arange(4))
    longer = replace(
        batch,
        tokens=torch.nn.functional.pad(batch.tokens, (0, 3)),
        mask=torch.nn.functional.pad(batch.mask, (0, 3)),
    )
    model = model_of().eval()
    assert torch.allclose(model(batch), model(longer), atol=1e-6)


def test_targets_are_importable_by_name() -> None:
    assert here("Product").load().__name__ == "Product"


@pytest.mark.parametrize(("task", "read"), [("grounding", (3, 2)), ("segmentation", (12, 8))])
def test_a_task_chooses_which_map_of_a_network_its_head_reads(task: str, read: tuple[int, int]) -> None:
    config = replace(toy_config("TwoMaps"), kind="network")
    config = replace(
        config,
        data=replace(config.data, adapter=Component(Target("referring_toys:ColouredSquares")), task=task),
    )
    slot = make_slot(config, map_channels=3, language_dim=8)
    words = torch.randn(2, 4, 8)
    language = Language(words, torch.ones(2, 4, dtype=torch.bool), words[:, 0])
    assert slot(torch.randn(2, 3, 12, 8), language).shape == (2, config.head.width, *read)

"""The names of the authors and of this package, in all four networks."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from fusion_modules.laconvnet.names import official_name, our_name
from fusion_modules.laconvnet.official import OfficialLaConvNet
from official_laconvnet import CASES, WORDS, Case, official_shapes

EVERY = pytest.mark.parametrize("case", CASES, ids=" ".join)


@EVERY
def test_each_official_name_converts_and_converts_back(case: Case) -> None:
    theirs = list(official_shapes(case))
    ours = [our_name(name) for name in theirs]
    assert None not in ours
    assert len(set(ours)) == len(theirs)
    assert [official_name(name) for name in ours if name] == theirs


@EVERY
def test_our_network_has_exactly_these_tensors_and_shapes(case: Case) -> None:
    with torch.device("meta"):
        model = OfficialLaConvNet(*case, WORDS)
    expected = {our_name(name): shape for name, shape in official_shapes(case).items()}
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == expected


def test_the_state_dicts_have_the_size_of_the_released_networks() -> None:
    """The entries of a state_dict were counted on the authors' code."""
    assert [len(official_shapes(case)) for case in CASES] == [639, 769, 927, 1057]


def test_stages_after_the_first_number_their_blocks_from_one() -> None:
    """The down-sampling is block 0 of these stages; the first stage has the stem instead."""
    stem, first, down, second = (
        our_name(f"visual_encoder.{name}")
        for name in (
            "stem.conv.conv.weight",
            "blocks.0.0.bn1.bias",
            "blocks.1.0.conv.conv.weight",
            "blocks.1.1.bn1.bias",
        )
    )
    assert (stem, down) == tuple(f"network.visual.stages.{stage}.down.conv.weight" for stage in range(2))
    assert (first, second) == tuple(f"network.visual.stages.{stage}.blocks.0.norm.bias" for stage in range(2))


@pytest.mark.parametrize(
    "name",
    ["conv1.weight", "head.cls_preds.0.weight", "visual_encoder.blocks.0.9.bn1.weight", "", "lang_encoder"],
)
def test_unknown_names_have_no_counterpart(name: str) -> None:
    assert our_name(name) is None
    assert official_name(name) is None


def test_batch_norms_of_the_segmentation_head_have_a_longer_name() -> None:
    views = [official_name(f"head.views.{index}.norm.running_mean") for index in range(5)]
    assert views == [f"head.sconv.0.conv{index}.batch_norm.running_mean" for index in range(5)]
    assert all(one != other for one, other in pairwise(views))

"""A backbone that refuses an image size is told with sizes that it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch

from fusion_bench.encoders.input_sizes import accepts, size_problem
from fusion_bench.encoders.vision import build_backbone
from fusion_bench.errors import FusionBenchError


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_vit", (30, 50)),  # patches of 16
        ("test_maxvit", (7, 7)),  # integer modulo by zero, when it runs
        ("test_maxvit", (30, 50)),  # a tensor of negative size, when it is built
        ("test_coatnet", (30, 50)),  # shapes that do not fit
        ("nest_tiny", (32, 64)),  # square images alone
        ("efficientformer_l1", (64, 64)),  # its own size alone
    ],
)
def test_the_sizes_that_are_named_are_accepted(name: str, size: tuple[int, int]) -> None:
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    expected = rf"the backbone '{name}' does not accept images of {size[0]}x{size[1]} \(.*\); it accepts "
    with pytest.raises(FusionBenchError, match=expected) as refused:
        build_backbone(name, image_size=size)
    message = str(refused.value)
    assert "\n" not in message
    named = [(int(h), int(w)) for h, w in re.findall(r"(\d+)x(\d+)", message.partition("; it accepts ")[2])]
    assert 1 <= len(named) <= 3
    for other in named:
        assert accepts(name, -1, other)
        with torch.device("meta"):
            assert build_backbone(name, image_size=other).map_size[0] >= 1


def test_weights_are_not_blamed_for_the_size(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save(timm.create_model("test_vit").state_dict(), path)
    with pytest.raises(FusionBenchError, match="'test_vit' does not accept images of 30x50"):
        build_backbone("test_vit", image_size=(30, 50), weights="file", weights_file=path)


def test_a_size_that_is_accepted_is_no_problem() -> None:
    assert size_problem("test_resnet", -1, (33, 47), "something else") == ""
    assert size_problem("test_vit", 99, (32, 32), "no such layer") == "", "no size helps"

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fusion_bench.samples.geometry import Resizing
from fusion_bench.tasks.box_heads import DenseBoxHead, LaConvNetBoxHead, decode_distances, decode_offsets
from fusion_bench.tasks.boxes import Grid
from fusion_modules.laconvnet.heads import decode_boxes

GRID = Grid(rows=3, columns=4, height=48, width=128)
SIZE = Resizing(48, 128)


def boxes_around(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the centres ``[12, 2]`` of the positions and a box boxes_around each."""
    indices = torch.tensor([[x, y] for y in range(3) for x in range(4)], dtype=torch.float64)
    centres = (indices + 0.5) * torch.tensor([32.0, 16.0])
    sides = torch.rand(12, 4, generator=generator, dtype=torch.float64) * 40 + 1
    return centres, torch.cat((centres - sides[:, :2], centres + sides[:, 2:]), 1)


def test_distances_decode_to_the_box_that_they_were_made_of() -> None:
    centres, boxes = boxes_around(torch.Generator().manual_seed(0))
    distances = torch.cat((centres - boxes[:, :2], boxes[:, 2:] - centres), 1)
    in_strides = distances / torch.tensor([32.0, 16.0, 32.0, 16.0])
    raw = torch.log(torch.expm1(in_strides))
    assert torch.allclose(decode_distances(raw[None], GRID)[0], boxes, atol=1e-9)


def test_offsets_decode_to_the_box_that_they_were_made_of() -> None:
    _, boxes = boxes_around(torch.Generator().manual_seed(1))
    stride = torch.tensor([32.0, 16.0], dtype=torch.float64)
    indices = torch.tensor([[x, y] for y in range(3) for x in range(4)], dtype=torch.float64)
    raw = torch.cat(
        (
            (boxes[:, :2] + boxes[:, 2:]) / 2 / stride - indices,
            torch.log((boxes[:, 2:] - boxes[:, :2]) / stride),
        ),
        1,
    )
    assert torch.allclose(decode_offsets(raw[None], GRID)[0], boxes, atol=1e-9)


def test_offsets_decode_as_in_the_authors_network() -> None:
    raw = torch.randn(2, 4, 13, 13, generator=torch.Generator().manual_seed(2))
    ours = decode_offsets(raw.flatten(2).transpose(1, 2), Grid(13, 13, 416, 416))
    assert torch.allclose(ours, decode_boxes(raw).flatten(2).transpose(1, 2), atol=1e-3)


@pytest.mark.parametrize("head", [DenseBoxHead, LaConvNetBoxHead])
def test_the_sentence_joins_every_position(head: type[DenseBoxHead] | type[LaConvNetBoxHead]) -> None:
    torch.manual_seed(0)
    made = head(6, SIZE, 5, hidden=8).eval()
    fused = torch.randn(2, 6, 3, 4)
    one, other = made(fused, torch.randn(2, 5)), made(fused, torch.randn(2, 5))
    assert one.shape == (2, 5, 3, 4)
    assert ((one - other).abs().amax(1) > 0).all()
    width_and_height = one[:, 3:] - one[:, 1:3]
    assert (width_and_height > 0).all()

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou, generalized_box_iou

from fusion_bench.tasks.boxes import Grid, box_from_text, box_texts, generalised_iou, iou


@pytest.fixture
def boxes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(40, 4, generator=generator, dtype=torch.float64) * 10
    return torch.cat((corners[:, :2], corners[:, :2] + corners[:, 2:]), 1)


def test_overlaps_are_those_of_torchvision(boxes: torch.Tensor) -> None:
    first, second = boxes[:20], boxes[20:]
    assert torch.allclose(iou(first[:, None], second), box_iou(first, second), atol=1e-12)
    assert torch.allclose(
        generalised_iou(first[:, None], second), generalized_box_iou(first, second), atol=1e-12
    )


def test_coordinates_are_continuous() -> None:
    assert iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2])).item() == pytest.approx(1 / 3)


def test_boxes_that_do_not_meet_or_are_empty_have_no_overlap_and_finite_gradients() -> None:
    empty = torch.tensor([1.0, 1, 1, 1], requires_grad=True)
    for other in (torch.tensor([1.0, 1, 1, 1]), torch.tensor([5.0, 5, 6, 6])):
        assert iou(empty, other).item() == 0
        (slope,) = torch.autograd.grad(generalised_iou(empty, other), empty)
        assert slope.isfinite().all()


def test_a_grid_lies_over_the_whole_input() -> None:
    grid = Grid(rows=2, columns=3, height=8, width=24)
    like = torch.zeros(1)
    assert grid.stride(like).tolist() == [8, 4]
    assert grid.centres(like).tolist() == [[4, 2], [12, 2], [20, 2], [4, 6], [12, 6], [20, 6]]


def test_a_box_is_written_with_one_decimal_and_read_back() -> None:
    assert box_texts(np.array([[0.04, 1.26, 10, 200.5]])) == ["0.0 1.3 10.0 200.5"]
    assert box_from_text("0.0 1.3 10.0 200.5") == (0.0, 1.3, 10.0, 200.5)

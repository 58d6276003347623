"""Assignment and losses against plain loops over images and positions, in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fusion_bench.tasks.box_losses import assign_positions, central_positions, dense_loss, laconvnet_box_loss
from fusion_bench.tasks.boxes import Grid

GRID = Grid(rows=5, columns=7, height=60, width=112)
STRIDES = (16.0, 12.0)
TRUE = [
    (10.0, 8.0, 70.0, 50.0),
    (33.0, 25.0, 36.0, 27.0),  # smaller than a stride
    (0.0, 0.0, 112.0, 60.0),  # the whole image
    (100.0, 48.0, 112.0, 60.0),  # in a corner
]
Box = tuple[float, float, float, float]


def overlap(a: Box, b: Box) -> tuple[float, float]:
    """Return IoU and generalised IoU."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return wide * high / union, wide * high / union - (hull - union) / hull


def centre_of(position: int) -> tuple[float, float]:
    return (position % 7 + 0.5) * STRIDES[0], (position // 7 + 0.5) * STRIDES[1]


def in_central_part(box: Box) -> set[int]:
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    found, distances = set(), []
    for position in range(35):
        x, y = centre_of(position)
        if abs(x - middle[0]) <= (box[2] - box[0]) / 4 and abs(y - middle[1]) <= (box[3] - box[1]) / 4:
            found.add(position)
        distances.append(math.hypot((x - middle[0]) / STRIDES[0], (y - middle[1]) / STRIDES[1]))
    return found | {distances.index(min(distances))}


def assigned(box: Box, predicted: list[Box]) -> set[int]:
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    candidates = []
    for position in range(35):
        x, y = centre_of(position)
        in_box = box[0] < x < box[2] and box[1] < y < box[3]
        near = abs(x - middle[0]) < 2.5 * STRIDES[0] and abs(y - middle[1]) < 2.5 * STRIDES[1]
        if in_box or near:
            shared = overlap(box, predicted[position])[0]
            cost = -3 * math.log(shared + 1e-8) + (0 if in_box and near else 1e5)
            candidates.append((cost, position, shared))
    number = max(1, int(sum(sorted((shared for _, _, shared in candidates), reverse=True)[:10])))
    return {position for _, position, _ in sorted(candidates)[:number]}


def cross_entropy(logit: float, aim: int) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if aim else 1 - probability)


@pytest.fixture(scope="module")
def guesses() -> tuple[Tensor, Tensor, Tensor]:
    """Return logits ``[4, 35]``, boxes ``[4, 35, 4]`` around the true ones, true boxes ``[4, 4]``."""
    generator = torch.Generator().manual_seed(1)
    true = torch.tensor(TRUE, dtype=torch.float64)
    logits = torch.randn(4, 35, generator=generator, dtype=torch.float64)
    size = (true[:, 2:] - true[:, :2])[:, None]
    moved = torch.randn(4, 35, 2, generator=generator, dtype=torch.float64) * 0.2
    grown = 1 + 0.3 * torch.rand(4, 35, 2, generator=generator, dtype=torch.float64)
    middle = (true[:, None, :2] + true[:, None, 2:]) / 2 + moved * size
    return logits, torch.cat((middle - grown * size / 2, middle + grown * size / 2), -1), true


def positives(mask: Tensor) -> list[set[int]]:
    return [set(row.nonzero()[:, 0].tolist()) for row in mask]


def test_positions_in_the_central_part_of_a_box_are_positive() -> None:
    found = positives(central_positions(torch.tensor(TRUE, dtype=torch.float64), GRID))
    assert found == [in_central_part(box) for box in TRUE]
    assert len(found[1]) == 1, "a box between the centres belongs to the nearest"
    assert len(found[2]) > 5


def test_the_dense_loss_is_a_sum_over_positions_per_positive(guesses: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, boxes, true = guesses
    total, count = 0.0, 0
    for image, box in enumerate(TRUE):
        mine = in_central_part(box)
        count += len(mine)
        for position in range(35):
            total += cross_entropy(logits[image, position].item(), position in mine)
            if position in mine:
                total += 1 - overlap(box, tuple(boxes[image, position].tolist()))[1]
    assert dense_loss(logits, boxes, true, GRID).item() == pytest.approx(total / count, rel=1e-9)


def test_positions_of_least_cost_are_positive(guesses: tuple[Tensor, Tensor, Tensor]) -> None:
    _, boxes, true = guesses
    shared = torch.tensor(
        [[overlap(box, tuple(guess.tolist()))[0] for guess in boxes[i]] for i, box in enumerate(TRUE)],
        dtype=torch.float64,
    )
    predicted = [[tuple(guess.tolist()) for guess in boxes[image]] for image in range(4)]
    wanted = [assigned(box, guess) for box, guess in zip(TRUE, predicted, strict=True)]
    assert positives(assign_positions(shared, true, GRID)) == wanted
    assert len({len(found) for found in wanted}) > 1, "how many are positive should differ between images"


def test_the_loss_of_laconvnet(guesses: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, boxes, true = guesses
    total, count = 0.0, 0
    for image, box in enumerate(TRUE):
        predicted = [tuple(guess.tolist()) for guess in boxes[image]]
        mine = assigned(box, predicted)
        count += len(mine)
        for position in range(35):
            total += cross_entropy(logits[image, position].item(), position in mine)
            if position in mine:
                total += 5 * (1 - overlap(box, predicted[position])[0] ** 2)
    assert laconvnet_box_loss(logits, boxes, true, GRID).item() == pytest.approx(total / count, rel=1e-7)


def test_the_assignment_carries_no_gradient(guesses: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, boxes, true = guesses
    boxes = boxes.clone().requires_grad_()
    (slope,) = torch.autograd.grad(laconvnet_box_loss(logits, boxes, true, GRID), boxes)
    moved = slope.abs().sum(-1) > 0
    predicted = [[tuple(guess.tolist()) for guess in boxes[image]] for image in range(4)]
    wanted = [assigned(box, guess) for box, guess in zip(TRUE, predicted, strict=True)]
    assert all(found <= want for found, want in zip(positives(moved), wanted, strict=True))

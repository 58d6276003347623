from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from fusion_bench.errors import DataError
from fusion_bench.samples.geometry import Referents, Resizing
from fusion_bench.samples.split import Split
from fusion_bench.tasks.mask_heads import ConvMaskHead, LaConvNetMaskHead
from fusion_bench.tasks.masks import bounding_box, decode_mask, mask_from_text, mask_text
from fusion_bench.tasks.segmentation import Segmentation, laconvnet_mask_loss, overlap_loss
from fusion_bench.tasks.task import HeadSettings
from fusion_modules.laconvnet.heads import SegmentationHead
from referring_toys import ColouredSquares

SIZE = Resizing(32, 32)


@pytest.fixture(scope="module")
def train() -> Split:
    return ColouredSquares(Path(), images=6).split("train")


def logits_of(part: Split, size: Resizing) -> torch.Tensor:
    """Return the logits of a perfect head over an input of the original's own size or a multiple of it."""
    assert part.referents is not None and part.referents.masks is not None
    masks = [torch.from_numpy(decode_mask(mask)).float()[None, None] for mask in part.referents.masks]
    return torch.cat([F.interpolate(mask, (size.height, size.width))[0] for mask in masks]) * 20 - 10


def test_run_lengths_come_back_as_the_mask_and_its_box() -> None:
    mask = np.zeros((5, 7), dtype=np.bool_)
    mask[1:3, 2:6] = mask[4, 3] = True
    assert np.array_equal(mask_from_text(mask_text(mask), (5, 7)), mask)
    assert bounding_box(mask) == (2, 1, 6, 5)
    assert bounding_box(np.zeros((5, 7), dtype=np.bool_)) == (0, 0, 0, 0)


def test_targets_are_masks_over_the_input(train: Split) -> None:
    row = 3  # of the image of 32 x 64, halved in width
    target = Segmentation(train, SIZE).targets(train).rows(torch.tensor([row]))[0]
    x1, y1, x2, y2 = train.referents.boxes[row].astype(int)  # type: ignore[union-attr]
    assert target.shape == (32, 32)
    assert set(target.unique().tolist()) == {0.0, 1.0}
    rows, columns = target.any(1).nonzero(), target.any(0).nonzero()
    assert (rows.min(), rows.max() + 1) == (y1, y2)
    assert abs(columns.min() - x1 / 2) <= 0.5 and abs(columns.max() + 1 - x2 / 2) <= 0.5


def test_masks_are_evaluated_at_the_original_size(train: Split) -> None:
    part = train.rows(np.array([0, 1, 2]))
    rows = Segmentation(train, SIZE).score_rows(part, logits_of(part, SIZE))
    assert rows[["score", "iou", "box_iou"]].to_numpy().tolist() == [[1.0, 1.0, 1.0]] * 3
    sliced = Segmentation.add_slices(part)
    assert rows["prediction"].tolist() == sliced.table["truth"].tolist()
    large = Resizing(64, 128)
    wide = train.rows(np.array([3]))
    found = Segmentation(train, large).score_rows(wide, logits_of(wide, large))
    assert found["union"].item() == found["intersection"].item()


def test_a_shifted_square_overlaps_as_it_should(train: Split) -> None:
    part = train.rows(np.array([0]))
    x1, y1, x2, y2 = part.referents.boxes[0].astype(int)  # type: ignore[union-attr]
    side = x2 - x1
    logits = torch.full((1, 32, 32), -10.0)
    cut = side // 2
    logits[0, y1:y2, x1 : x1 + cut] = 10.0
    row = Segmentation(train, SIZE).score_rows(part, logits).iloc[0]
    assert (row["intersection"], row["union"]) == (cut * side, side * side)
    assert row["score"] == row["iou"] == cut / side == pytest.approx(row["box_iou"])
    empty = Segmentation(train, SIZE).score_rows(part, torch.full((1, 32, 32), -1.0)).iloc[0]
    assert (empty["score"], empty["box_iou"]) == (0.0, 0.0)


def test_metrics_follow_from_the_rows() -> None:
    rows = pd.DataFrame(
        {
            "score": [0.5, 0.8, 0.2, 0.6],
            "iou": [0.5, 0.8, 0.2, 0.6],
            "intersection": [50.0, 8.0, 2.0, 6.0],
            "union": [100.0, 10.0, 10.0, 10.0],
            "box_iou": [0.5, 0.4, 0.6, 0.9],
        }
    )
    found = {name: metric.compute(rows) for name, metric in Segmentation.metrics.items()}
    assert found == {
        "mean_iou": pytest.approx(0.525),
        "overall_iou": 66 / 130,
        "precision_at_0_5": 0.5,
        "precision_at_0_6": 0.25,
        "precision_at_0_7": 0.25,
        "precision_at_0_8": 0.0,
        "precision_at_0_9": 0.0,
        "box_mask_disagreement": 0.75,
    }


def test_losses_against_plain_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64)
    target = (torch.rand(3, 4, 5, generator=generator) > 0.6).double()
    entropy, dice = 0.0, 0.0
    for image in range(3):
        intersection = total = 0.0
        for logit, aim in zip(
            logits[image].flatten().tolist(), target[image].flatten().tolist(), strict=True
        ):
            probability = 1 / (1 + math.exp(-logit))
            entropy -= math.log(probability if aim else 1 - probability) / 60
            intersection += probability * aim
            total += probability + aim
        dice += (1 - (2 * intersection + 1) / (total + 1)) / 3
    assert overlap_loss(logits, target).item() == pytest.approx(entropy + dice, rel=1e-9)
    assert laconvnet_mask_loss(logits, target).item() == pytest.approx(3 * entropy, rel=1e-9)


def test_the_pyramid_is_that_of_the_authors_network() -> None:
    torch.manual_seed(0)
    theirs = SegmentationHead(16).eval()
    ours = LaConvNetMaskHead(16, Resizing(48, 64), hidden=16).eval()
    own = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(own)
    fused = torch.randn(2, 16, 6, 8)
    assert torch.allclose(ours(fused, None), theirs.logits(fused), atol=1e-5)


@pytest.mark.parametrize("head", [ConvMaskHead, LaConvNetMaskHead])
def test_the_sentence_joins_every_position(head: type[ConvMaskHead] | type[LaConvNetMaskHead]) -> None:
    torch.manual_seed(0)
    made = head(6, SIZE, 5, hidden=8).eval()
    fused = torch.randn(2, 6, 4, 4)
    one, other = made(fused, torch.randn(2, 5)), made(fused, torch.randn(2, 5))
    assert one.shape == (2, 32, 32)
    assert ((one - other).abs() > 0).all()


@pytest.mark.parametrize("kind", Segmentation.heads)
def test_a_head_learns_the_mask_that_its_map_encodes(kind: str, train: Split) -> None:
    task = Segmentation(train, SIZE, kind)
    target = task.targets(train).rows(torch.arange(len(train)))
    torch.manual_seed(0)
    head = task.head(1, 0, HeadSettings(hidden=8))
    maps = F.avg_pool2d(target[:, None], 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(80):
        loss = task.loss(head(maps, None), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert task.score_rows(train, head(maps, None).detach())["score"].mean() > 0.8


def test_boxes_alone_are_not_enough(train: Split) -> None:
    assert train.referents is not None
    boxes = Referents(train.referents.boxes, train.referents.sizes)
    with pytest.raises(DataError, match="'val' has boxes only"):
        Segmentation(Split("val", train.table, train.images, (), boxes), SIZE)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fusion_bench.errors import DataError
from fusion_bench.samples.geometry import Referents, Resizing
from fusion_bench.samples.split import Split
from fusion_bench.tasks.grounding import Grounding
from fusion_bench.tasks.task import HeadSettings
from referring_toys import ColouredSquares

SIZE = Resizing(32, 32)


def one_sample(box: tuple[float, float, float, float], size: tuple[int, int], text: str = "it") -> Split:
    table = pd.DataFrame(
        {"sample": ["s"], "cluster": ["c"], "image": [0], "text": [text], "truth": ["somewhere"]}
    )
    return Split("val", table, (Path("0.png"),), (), Referents(np.array([box]), np.array([size])))


def output_with_box(box: tuple[float, float, float, float]) -> torch.Tensor:
    """Return a head's output whose highest score, in the last of four positions, has this box."""
    output = torch.zeros(1, 5, 2, 2)
    output[0, :, 1, 1] = torch.tensor([3.0, *box])
    return output


def test_boxes_are_evaluated_in_pixels_of_the_original_image() -> None:
    part = one_sample((20.0, 5.0, 60.0, 15.0), size=(20, 80))
    task = Grounding(part, Resizing(height=40, width=40))
    assert task.targets(part).rows(torch.tensor([0])).tolist() == [[10.0, 10.0, 30.0, 30.0]]
    rows = task.score_rows(part, output_with_box((10.0, 10.0, 30.0, 30.0)))
    assert rows[["prediction", "score", "iou"]].iloc[0].tolist() == ["20.0 5.0 60.0 15.0", 1.0, 1.0]


def test_a_box_is_clipped_to_the_image() -> None:
    part = one_sample((0.0, 0.0, 40.0, 40.0), size=(40, 40))
    rows = Grounding(part, Resizing(40, 40)).score_rows(part, output_with_box((-30.0, -5.0, 45.0, 80.0)))
    assert rows["prediction"].item() == "0.0 0.0 40.0 40.0"


@pytest.mark.parametrize(("right", "score"), [(20.0, 0.0), (20.5, 1.0)])
def test_exactly_half_an_overlap_is_not_right(right: float, score: float) -> None:
    part = one_sample((0.0, 0.0, 40.0, 40.0), size=(40, 40))
    rows = Grounding(part, Resizing(40, 40)).score_rows(part, output_with_box((0.0, 0.0, right, 40.0)))
    assert rows["score"].item() == score
    assert rows["iou"].item() == right / 40


def test_metrics_follow_from_the_rows() -> None:
    rows = pd.DataFrame({"score": [0.0, 1.0, 1.0, 1.0], "iou": [0.5, 0.6, 0.75, 1.0]})
    found = {name: metric.compute(rows) for name, metric in Grounding.metrics.items()}
    assert found == {
        "accuracy": 0.75,
        "mean_iou": 0.7125,
        "accuracy_at_0_6": 0.5,
        "accuracy_at_0_7": 0.5,
        "accuracy_at_0_8": 0.25,
        "accuracy_at_0_9": 0.25,
    }


def test_slices_follow_from_sentence_and_box() -> None:
    small = Grounding.add_slices(one_sample((0.0, 0.0, 10.0, 10.0), (100, 100), "the leftmost red thing"))
    assert small.table[list(small.slices)].iloc[0].to_dict() == {
        "words": "4-6",
        "spatial": "yes",
        "box": "0-2 %",
    }
    large = Grounding.add_slices(one_sample((0.0, 0.0, 90.0, 90.0), (100, 100), "rightful heir"))
    assert large.table[list(large.slices)].iloc[0].tolist() == ["1-3", "no", "10-100 %"]


def test_a_data_set_keeps_its_own_slices() -> None:
    part = one_sample((0.0, 0.0, 10.0, 10.0), (100, 100))
    named = Split("val", part.table.assign(words="few"), part.images, ("words",), part.referents)
    sliced = Grounding.add_slices(named)
    assert (sliced.slices, sliced.table["words"].item()) == (("words", "spatial", "box"), "few")


def test_the_floor_is_the_train_box_that_is_right_most_often() -> None:
    def boxes(*shares: tuple[float, float, float, float]) -> Split:
        count = len(shares)
        table = pd.DataFrame({"image": range(count)})
        sizes = np.array([(100 + row, 200) for row in range(count)])
        scaled = np.array(shares) * np.tile(sizes[:, ::-1], 2)
        return Split("any", table, (), (), Referents(scaled, sizes))

    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    floor = Grounding.floor(
        ColouredSquares(Path()), boxes(right, left, left), boxes(left, right, right, (0.0, 0.0, 0.4, 1.0))
    )
    assert floor.accuracy == 0.5


def test_without_boxes_nothing_can_be_found() -> None:
    part = one_sample((0.0, 0.0, 1.0, 1.0), (4, 4))
    with pytest.raises(DataError, match="'val' has no boxes"):
        Grounding(Split("val", part.table, part.images), SIZE)


@pytest.mark.parametrize("kind", Grounding.heads)
def test_a_head_learns_the_box_that_its_map_encodes(kind: str, tmp_path: Path) -> None:
    data = ColouredSquares(tmp_path, images=16)
    split = data.split("train")
    task = Grounding(split, Resizing(64, 64), kind)
    torch.manual_seed(0)
    head = task.head(5, 0, HeadSettings(hidden=16))
    target = task.targets(split).rows(torch.arange(len(split)))
    maps = painted(target)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        loss = task.loss(head(maps, None), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert task.score_rows(split, head(maps, None).detach())["score"].mean() > 0.9


def painted(boxes: torch.Tensor) -> torch.Tensor:
    """Return maps ``[N, 5, 8, 8]``, zero except at the box's centre: 1, the offset there, the sides."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 16
    column, row = middle.long().unbind(1)
    maps = torch.zeros(len(boxes), 5, 8, 8)
    maps[torch.arange(len(boxes)), :, row, column] = torch.cat(
        (torch.ones(len(boxes), 1), middle.frac(), (boxes[:, 2:] - boxes[:, :2]) / 16), 1
    )
    return maps

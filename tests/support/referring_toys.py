"""A tiny data set of referring expressions: PNG images of several sizes with three coloured squares each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from PIL import Image
from pycocotools import mask as coco

from fusion_bench.samples.dataset import DataSet, Splits
from fusion_bench.samples.geometry import Referents
from fusion_bench.samples.split import Split
from fusion_bench.storage import replacing

COLOURS = ("red", "green", "blue")
SIZES = ((32, 32), (32, 64), (64, 48))


class ColouredSquares(DataSet):
    """A data set that asks for one of three coloured squares."""

    name: ClassVar[str] = "coloured_squares"
    version: ClassVar[str] = "1"
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "grounding": ("accuracy", "mean_iou", "accuracy_at_0_7"),
        "segmentation": ("mean_iou", "overall_iou", "precision_at_0_5", "box_mask_disagreement"),
    }
    built_in: ClassVar[bool] = True
    cluster: ClassVar[str] = "image"
    homepage: ClassVar[str] = "tests/support/referring_toys.py"
    toy_settings: ClassVar[Mapping[str, Any]] = {"images": 6}

    def __init__(self, root: Path, *, images: int = 16) -> None:
        self.splits = Splits("train", "val", ("test",))
        self._root, self._images = root, images

    def prepare(self, workers: int = 1) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        for split in ("train", "val", "test"):
            for number in range(self._images):
                file = self._root / f"{split}{number}.png"
                if not file.exists():
                    height, width = SIZES[number % 3]
                    pixels = np.full((height, width, 3), 60, dtype=np.uint8)
                    for channel, (x1, y1, x2, y2) in enumerate(squares(split, number)):
                        pixels[y1:y2, x1:x2, channel] = 220
                    with replacing(file) as part:
                        Image.fromarray(pixels).save(part, format="png")

    def split(self, name: str) -> Split:
        rows, boxes, masks = [], [], []
        for number in range(self._images):
            for colour, box in zip(COLOURS, squares(name, number), strict=True):
                text = f"the {colour} square" if number % 2 else f"the square on the left that is {colour}"
                truth = " ".join(f"{side:.1f}" for side in box)
                rows.append((f"{name}-{number}-{colour}", f"{name}{number}", number, text, truth))
                boxes.append(box)
                masks.append(square_mask(SIZES[number % 3], box))
        table = pd.DataFrame(rows, columns=["sample", "cluster", "image", "text", "truth"])
        files = tuple(self._root / f"{name}{number}.png" for number in range(self._images))
        sizes = np.array([SIZES[number % 3] for number in range(self._images)])
        return Split(
            name, table, files, (), Referents(np.array(boxes, dtype=np.float64), sizes, tuple(masks))
        )

    def manifest(self) -> str:
        return f"coloured-squares-{self._images}"


def squares(split: str, number: int) -> list[tuple[int, int, int, int]]:
    """Return x1, y1, x2, y2 of the red, the green and the blue square, one in each third of the width."""
    height, width = SIZES[number % 3]
    draw = np.random.default_rng([len(split), ord(split[1]), number])
    boxes = []
    for third in draw.permutation(3):
        side = int(draw.integers(6, width // 3 + 1))
        left, top = int(third) * (width // 3), int(draw.integers(0, height - side + 1))
        boxes.append((left, top, left + side, top + side))
    return boxes


def square_mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Mapping[str, Any]:
    """Return the pixels of a square as COCO's run lengths."""
    mask = np.zeros(size, dtype=np.uint8, order="F")
    mask[box[1] : box[3], box[0] : box[2]] = 1
    encoded: Mapping[str, Any] = coco.encode(mask)
    return encoded

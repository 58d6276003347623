from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fusion_bench.bench.growth.chart import draw_growth
from fusion_bench.bench.growth.curve import Curve, GrowthPoint


def test_each_curve_has_a_panel(tmp_path: Path) -> None:
    curves = [
        Curve(f"quantity {n}", "words", tuple(GrowthPoint(size, size**0.5, 1.0) for size in (1, 2, 4)))
        for n in range(5)
    ]
    draw_growth(curves, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 100).any(axis=0)  # columns with a line in its colour
    height, width = pixels.shape[:2]
    assert height > 500
    assert all(part.any() for part in np.array_split(blue, 4))
    assert width > height

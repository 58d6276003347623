"""Outlines in COCO's three forms give the same mask."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from fusion_bench.data.refer.outlines import object_mask
from fusion_bench.samples.geometry import ObjectMask

HEIGHT, WIDTH = 12, 17


def decoded(segmentation: Any) -> np.ndarray[Any, Any]:
    made = object_mask(segmentation, HEIGHT, WIDTH)
    assert (made.dropped, made.problem) == (0, "")
    found = made.mask
    assert found is not None
    assert found["size"] == [HEIGHT, WIDTH]
    return np.asarray(coco.decode(found)).astype(bool)


def runs_of(mask: np.ndarray[Any, Any]) -> list[int]:
    """Return COCO's uncompressed form, computed pixel by pixel: runs along the columns, the first of zeros."""
    runs, last = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != last:
            runs.append(0)
            last = pixel
        runs[-1] += 1
    return runs


def test_a_polygon_covers_the_pixels_inside_it() -> None:
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[3:7, 2:10] = True
    rectangle = [2, 3, 10, 3, 10, 7, 2, 7]
    np.testing.assert_array_equal(decoded([rectangle]), expected)


def test_several_polygons_are_their_union_even_where_they_overlap() -> None:
    one, other = [2, 3, 10, 3, 10, 7, 2, 7], [8, 5, 14, 5, 14, 9, 8, 9]
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[3:7, 2:10] = True
    expected[5:9, 8:14] = True
    np.testing.assert_array_equal(decoded([one, other]), expected)


@pytest.mark.parametrize("seed", range(6))
def test_run_lengths_keep_every_pixel(seed: int) -> None:
    mask = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < (0.05, 0.3, 0.6, 0.9, 0.99, 0.5)[seed]
    mask[0, 0] = seed % 2 == 0
    np.testing.assert_array_equal(decoded({"size": [HEIGHT, WIDTH], "counts": runs_of(mask)}), mask)
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(decoded(packed), mask)
    np.testing.assert_array_equal(decoded({**packed, "counts": packed["counts"].decode()}), mask)


def test_long_runs_are_read_too() -> None:
    mask = np.zeros((700, 900), dtype=bool)
    mask[100:600, 200:800] = True
    mask[0, 899] = True
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    found = object_mask({"size": [700, 900], "counts": packed["counts"].decode()}, 700, 900).mask
    assert found is not None
    assert found["counts"] == packed["counts"]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 5, 5]], "a polygon has 4 numbers; it needs three or more points"),
        ([[]], "has 0 numbers"),
        ([[1, 1, 5, 5], [1, 1, 5, 5, 6, 7, 8]], "has 4 numbers"),
        ([[3, 3, 3, 3, 3, 3]], "the mask is empty"),
        ([[3, 3, 5, 5, 7, 7]], "the mask is empty"),
        ([[1, 1, 5, float("nan"), 5, 5]], "far outside the image or not a number"),
        ([[1, 1, 5, 1e9, 5, 5]], "far outside the image or not a number"),
        ([[1, 1, 5, 5, 6, 7, 8]], "has 7 numbers"),
        ([[1, 1, 5, "5", 6, 7]], "not a list of numbers"),
        ([1, 1, 5, 5, 6, 7], "not a list of numbers"),
        ([], "has no polygon"),
        ([[50, 50, 60, 50, 60, 60]], "the mask is empty"),
        (None, "neither polygons nor run lengths"),
        ({"size": [HEIGHT, WIDTH]}, "neither polygons nor run lengths"),
        (
            {"size": [WIDTH, HEIGHT], "counts": [3, HEIGHT * WIDTH - 3]},
            r"the size \[17, 12\], the image \[12, 17\]",
        ),
        ({"size": HEIGHT, "counts": [3]}, "the size 12, the image"),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 4]}, "do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": [-3, HEIGHT * WIDTH + 3]}, "do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "0"}, "do not add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "zzz"}, "not in COCO's text form"),
        ({"size": [HEIGHT, WIDTH], "counts": 7}, "neither numbers nor text"),
        ({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, "the mask is empty"),
    ],
)
def test_an_outline_without_any_pixel_has_no_mask_for_a_reason(segmentation: Any, message: str) -> None:
    made = object_mask(segmentation, HEIGHT, WIDTH)
    assert made.mask is None
    assert re.search(message, made.problem)


@pytest.mark.parametrize(
    "bad",
    [[1, 1, 5, 5], [], [3, 3, 3, 3, 3, 3], None, "x", [1, 1, 5, 5, 6], [1, 1, 1e9, 5, 6, 7], {"size": 1}],
)
def test_bad_parts_are_left_out_and_counted_where_others_remain(bad: Any) -> None:
    good = [2, 3, 10, 3, 10, 7, 2, 7]
    expected = object_mask([good], HEIGHT, WIDTH).mask
    assert object_mask([bad, good], HEIGHT, WIDTH) == ObjectMask(expected, dropped=1)
    assert object_mask([bad, good, bad], HEIGHT, WIDTH) == ObjectMask(expected, dropped=2)

"""Conversion of object outlines in COCO's three forms to compressed run lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_bench.errors import DataError


def run_lengths(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return one mask in COCO's compressed run lengths, ``{"size": [h, w], "counts": bytes}``.

    The mask of several polygons is their union.

    Args:
        segmentation: polygons (a list of lists x1, y1, x2, y2 ...), or run lengths along the columns,
            ``{"size": [h, w], "counts": ...}``, as numbers or compressed.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Raises:
        DataError: the segmentation has none of the three forms, or does not fit the image.
    """
    try:
        from pycocotools import mask as coco  # noqa: PLC0415 - a cell without masks must run without it
    except ImportError as error:
        raise DataError("masks need the package pycocotools: pip install pycocotools") from error
    mask: dict[str, Any]
    if isinstance(segmentation, list):
        mask = coco.merge(coco.frPyObjects(_checked_polygons(segmentation), height, width))
    elif isinstance(segmentation, Mapping) and {"size", "counts"} <= segmentation.keys():
        if list(segmentation["size"]) != [height, width]:
            raise DataError(f"the mask has the size {segmentation['size']!r}, the image {[height, width]}")
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, list) else _decompress(counts)
        if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
            raise DataError("the run lengths of the mask do not add up to the size of the image")
        mask = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    else:
        raise DataError("the segmentation is neither polygons nor run lengths")
    if not coco.area(mask):
        raise DataError("the mask is empty")
    return mask


def _checked_polygons(segmentation: Sequence[Any]) -> list[list[float]]:
    """Return the polygons after a check; pycocotools would read four numbers as a box."""
    polygons = []
    for polygon in segmentation:
        if not isinstance(polygon, list) or not all(type(number) in {int, float} for number in polygon):
            raise DataError("a polygon is not a list of numbers x1, y1, x2, y2 ...")
        if len(polygon) < 6 or len(polygon) % 2:
            raise DataError(
                f"a polygon has {len(polygon)} numbers; it needs three or more points of two numbers"
            )
        polygons.append(list(map(float, polygon)))
    if not polygons:
        raise DataError("the segmentation has no polygon")
    return polygons


def _decompress(counts: Any) -> list[int]:
    """Return run lengths from COCO's text form.

    Each character minus 48 has five data bits; the sixth bit says that the number continues. From the fourth number
    on, each number is the difference to the one two places before. Source: ``rleFrString`` of pycocotools, which does
    not check its input.
    """
    text = counts.encode() if isinstance(counts, str) else counts
    if not isinstance(text, bytes):
        raise DataError("the run lengths of the mask are neither numbers nor text")
    runs: list[int] = []
    number = bits = 0
    for character in text:
        code = character - 48
        if not 0 <= code < 64:
            raise DataError("the run lengths of the mask are not in COCO's text form")
        number |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << bits
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = bits = 0
    return runs

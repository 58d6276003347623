"""Outlines of objects, in any of COCO's three forms, as compressed run lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_bench.errors import DataError


def run_lengths(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """One mask in COCO's compressed run lengths, ``{"size": [h, w], "counts": bytes}``.

    Several polygons are one mask: their union.

    Args:
        segmentation: polygons (a list of lists x1, y1, x2, y2 ...), or run lengths down the columns,
            ``{"size": [h, w], "counts": ...}``, as numbers or compressed.
        height: of the image; ``width``: of the image.

    Raises:
        DataError: it is none of the three, or does not fit the image.
    """
    try:
        from pycocotools import mask as coco  # noqa: PLC0415 - a cell without masks must run without it
    except ImportError as error:
        raise DataError("masks are read with pycocotools; pip install pycocotools") from error
    found: dict[str, Any]
    if isinstance(segmentation, list):
        found = coco.merge(coco.frPyObjects(_polygons(segmentation), height, width))
    elif isinstance(segmentation, Mapping) and {"size", "counts"} <= segmentation.keys():
        if list(segmentation["size"]) != [height, width]:
            raise DataError(f"its mask is of {segmentation['size']!r}, its image of {[height, width]}")
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, list) else _decompressed(counts)
        if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
            raise DataError("the run lengths of its mask do not add up to its image")
        found = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    else:
        raise DataError("its segmentation is neither polygons nor run lengths")
    if not coco.area(found):
        raise DataError("its mask is empty")
    return found


def _polygons(segmentation: Sequence[Any]) -> list[list[float]]:
    """The polygons as they are, if they are ones; four numbers would be taken for a box."""
    polygons = []
    for polygon in segmentation:
        if not isinstance(polygon, list) or not all(type(number) in {int, float} for number in polygon):
            raise DataError("a polygon of it is not a list of numbers x1, y1, x2, y2 ...")
        if len(polygon) < 6 or len(polygon) % 2:
            raise DataError(f"a polygon of it has {len(polygon)} numbers; three points or more have two each")
        polygons.append(list(map(float, polygon)))
    if not polygons:
        raise DataError("its segmentation holds no polygon")
    return polygons


def _decompressed(counts: Any) -> list[int]:
    """Run lengths from COCO's text: five bits a character from 48 on, the sixth says that more follow.

    From the fourth number on, each is the difference to the one two before it (pycocotools' ``rleFrString``,
    which does not check what it reads).
    """
    text = counts.encode() if isinstance(counts, str) else counts
    if not isinstance(text, bytes):
        raise DataError("the run lengths of its mask are neither numbers nor text")
    runs: list[int] = []
    number = bits = 0
    for character in text:
        code = character - 48
        if not 0 <= code < 64:
            raise DataError("the run lengths of its mask are not in COCO's text form")
        number |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << bits
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = bits = 0
    return runs

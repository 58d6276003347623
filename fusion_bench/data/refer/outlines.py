"""Conversion of object outlines in COCO's three forms to compressed run lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_bench.errors import DataError
from fusion_bench.samples.geometry import ObjectMask

_FAR = 10
"""Points further away than this many sides of the image are wrong."""


def object_mask(segmentation: Any, height: int, width: int) -> ObjectMask:
    """Return the mask of an outline.

    The mask of several polygons is their union. A polygon that is not one (fewer than three points, say) or that
    covers no pixel is left out and counted if others remain.

    Args:
        segmentation: polygons (a list of lists x1, y1, x2, y2 ...), or run lengths along the columns,
            ``{"size": [h, w], "counts": ...}``, as numbers or compressed.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Raises:
        DataError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco  # noqa: PLC0415 - a cell without masks must run without it
    except ImportError as error:
        raise DataError("masks need the package pycocotools: pip install pycocotools") from error
    try:
        if isinstance(segmentation, list):
            return _union_of_polygons(coco, segmentation, height, width)
        mask = _run_lengths(coco, segmentation, height, width)
    except _NoMaskError as error:
        return ObjectMask(None, problem=str(error))
    return ObjectMask(mask)


class _NoMaskError(Exception):
    """An outline or a part of one gives no pixel; the message says why."""


def _run_lengths(coco: Any, segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Return the mask of run lengths in either form."""
    if isinstance(segmentation, Mapping) and {"size", "counts"} <= segmentation.keys():
        size = segmentation["size"]
        if not isinstance(size, list | tuple) or list(size) != [height, width]:
            raise _NoMaskError(f"the mask has the size {size!r}, the image {[height, width]}")
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, list) else _decompress(counts)
        if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != height * width:
            raise _NoMaskError("the run lengths of the mask do not add up to the size of the image")
        mask: dict[str, Any] = coco.frPyObjects({"size": [height, width], "counts": runs}, height, width)
        if coco.area(mask):
            return mask
        raise _NoMaskError("the mask is empty")
    raise _NoMaskError("the segmentation is neither polygons nor run lengths")


def _union_of_polygons(coco: Any, segmentation: Sequence[Any], height: int, width: int) -> ObjectMask:
    parts, problems = [], []
    for polygon in segmentation:
        try:
            (part,) = coco.frPyObjects([_checked_polygon(polygon, height, width)], height, width)
            if not coco.area(part):
                raise _NoMaskError("the mask is empty")
            parts.append(part)
        except _NoMaskError as error:
            problems.append(str(error))
    if not parts:
        raise _NoMaskError(problems[0] if problems else "the segmentation has no polygon")
    return ObjectMask(coco.merge(parts), dropped=len(problems))


def _checked_polygon(polygon: Any, height: int, width: int) -> list[float]:
    """Return a polygon after a check: pycocotools reads four numbers as a box and needs memory for far points."""
    if not isinstance(polygon, list) or not all(type(number) in {int, float} for number in polygon):
        raise _NoMaskError("a polygon is not a list of numbers x1, y1, x2, y2 ...")
    if len(polygon) < 6 or len(polygon) % 2:
        raise _NoMaskError(
            f"a polygon has {len(polygon)} numbers; it needs three or more points of two numbers"
        )
    if not all(abs(number) <= _FAR * max(height, width) for number in polygon):
        raise _NoMaskError("a polygon has a point that is far outside the image or not a number")
    return list(map(float, polygon))


def _decompress(counts: Any) -> list[int]:
    """Return run lengths from COCO's text form.

    Each character minus 48 has five data bits; the sixth bit says that the number continues. From the fourth number
    on, each number is the difference to the one two places before. Source: ``rleFrString`` of pycocotools, which does
    not check its input.
    """
    text = counts.encode() if isinstance(counts, str) else counts
    if not isinstance(text, bytes):
        raise _NoMaskError("the run lengths of the mask are neither numbers nor text")
    runs: list[int] = []
    number = bits = 0
    for character in text:
        code = character - 48
        if not 0 <= code < 64:
            raise _NoMaskError("the run lengths of the mask are not in COCO's text form")
        number |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << bits
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = bits = 0
    return runs

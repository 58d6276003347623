"""Samples of a data set on one sheet: image, text, answer, and the box or mask of the referent."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from fusion_bench.data.decoding import read_image
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.figures.lettering import Lettering, wrap
from fusion_bench.reporting.figures.overlays import outline_around
from fusion_bench.reporting.figures.style import INK, RIGHT, SOFT, WIDTH, WRONG, canvas, write_png
from fusion_bench.samples.geometry import Referents
from fusion_bench.samples.split import Split

_COLUMNS, _LETTERS, _LINE, _ROOM = 4, 38, 0.155, 0.12
_FRAME_POINTS = 1.2
_FRAME = _FRAME_POINTS * _COLUMNS / (72 * WIDTH)
"""The thickness of the frame of a box, in points and as a share of the width of an image."""


def draw_contact_sheet(split: Split, path: Path) -> None:
    """Draw every sample of a split, with boxes in one colour and outlines of masks in another.

    Args:
        split: the samples, no more than fit on a sheet (`Split.spread`).
        path: the PNG to write.

    Raises:
        DataError: an image cannot be used; the message names it.
        FusionBenchError: the split has masks and pycocotools, which decodes them, is not installed.
    """
    images = [read_image(image) for image in split.images]
    samples = [split.sample(row) for row in range(len(split))]
    has_boxes = split.referents is not None  # a drawn box is not written as text too
    texts = [(sample.text, "" if has_boxes else sample.truth) for sample in samples]
    lettering = Lettering.of(itertools.chain(*texts))
    captions = [_caption(lettering, *text) for text in texts]
    note = lettering.note(" ".join(captions))
    rows, lines = -(-len(samples) // _COLUMNS), max(caption.count("\n") + 1 for caption in captions)
    tallest = max(image.shape[0] / image.shape[1] for image in images)
    height = rows * (WIDTH / _COLUMNS * tallest + _LINE * lines + _ROOM) + (_LINE if note else 0)
    with canvas(WIDTH, height, lettering) as figure:
        grid = figure.subplots(rows, _COLUMNS, squeeze=False).reshape(-1)
        for axes in grid:
            axes.set_axis_off()
        for row, (axes, caption) in enumerate(zip(grid, captions, strict=False)):
            axes.imshow(images[split.table["image"].iloc[row]], interpolation="antialiased")
            axes.set_anchor("N")
            axes.set_title(caption, fontsize=7.5, fontweight="normal", color=INK, loc="left", pad=3)
            if split.referents is not None:
                _outline(
                    axes, split.referents, row, _FRAME / 2 * images[split.table["image"].iloc[row]].shape[1]
                )
        if note:
            figure.supxlabel(note, fontsize=7.5, color=SOFT)
        write_png(figure, path, photographs=True)


def _caption(lettering: Lettering, text: str, truth: str) -> str:
    answer = f" [{lettering.fit(truth, _LETTERS)}]" if truth else ""
    return "\n".join(wrap(lettering.fit(text, 4 * _LETTERS) + answer, _LETTERS))


def _outline(axes: Axes, referents: Referents, row: int, room: float) -> None:
    """Draw the box of a sample, ``room`` pixels outside of it, and the outline of its mask."""
    outline_around(axes, referents.boxes[row], WRONG, _FRAME_POINTS, room)
    mask = None if referents.masks is None else referents.masks[row]
    if mask is not None:
        axes.contour(_decode(mask), levels=[0.5], colors=[RIGHT], linewidths=0.9)


def _decode(mask: Any) -> Any:
    try:
        from pycocotools.mask import decode  # noqa: PLC0415 - sheets without masks must be drawn without it
    except ImportError as error:
        raise FusionBenchError("drawing masks needs pycocotools: pip install pycocotools") from error
    return decode(dict(mask))

"""Boxes and masks on a picture: the truth outlined in white, what each arm found in the arm's colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from fusion_bench.reporting.tables.tables import Row
from fusion_bench.tasks.boxes import box_of
from fusion_bench.tasks.masks import mask_of

_TRUTH = "white"
_LINE = 1.2
_AROUND_TRUTH = [Stroke(linewidth=2 * _LINE, foreground="black"), Normal()]
_VEIL = 0.3


def draw_boxes(axes: Axes, picture: Row, shape: tuple[int, int], finds: Sequence[tuple[str, str]]) -> None:
    """Draw the true box, then one for each of ``finds``.

    Args:
        axes: with the picture on it.
        picture: a row of `fusion_bench.results.results.StudyResults.pictures`.
        shape: height and width of the picture as it is shown, which may be smaller than the original.
        finds: colours and boxes as text.
    """
    across, down = shape[1] / picture["width"], shape[0] / picture["height"]
    for color, text in [(_TRUTH, picture["truth"]), *finds]:
        x1, y1, x2, y2 = box_of(text)
        place = (x1 * across - 0.5, y1 * down - 0.5)  # the picture's first pixel is centred on 0
        size = ((x2 - x1) * across, (y2 - y1) * down)
        true = color == _TRUTH
        drawn = Rectangle(place, *size, fill=False, ec=color, lw=_LINE, clip_on=False)
        if true:
            drawn.set_path_effects(_AROUND_TRUTH)
        axes.add_patch(drawn)


def draw_masks(axes: Axes, picture: Row, shape: tuple[int, int], finds: Sequence[tuple[str, str]]) -> None:
    """Draw a line around the truth, then each of ``finds`` as a veil with a line around it; see `draw_boxes`."""
    size = (int(picture["height"]), int(picture["width"]))
    for color, text in [(_TRUTH, picture["truth"]), *finds]:
        pixels = Image.fromarray(mask_of(text, size)).resize(shape[::-1], Image.Resampling.NEAREST)
        mask = np.asarray(pixels)
        if not mask.any():
            continue
        true = color == _TRUTH
        if not true:
            axes.imshow(mask[..., None] * np.array(to_rgba(color, _VEIL)), interpolation="nearest")
        # A frame of nothing closes the line around a mask that reaches the picture's edge.
        framed, x, y = np.pad(mask, 1), np.arange(-1, shape[1] + 1), np.arange(-1, shape[0] + 1)
        edge = axes.contour(x, y, framed, [0.5], colors=[color], linewidths=_LINE)
        if true:
            edge.set_path_effects(_AROUND_TRUTH)

"""Boxes and masks on an image: the truth in white, the prediction of each arm in its colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from fusion_bench.reporting.tables.tables import Row
from fusion_bench.tasks.boxes import box_from_text
from fusion_bench.tasks.masks import mask_from_text

_TRUTH = "white"
_LINE = 1.2
_TRUTH_OUTLINE = [Stroke(linewidth=2 * _LINE, foreground="black"), Normal()]
_OPACITY = 0.3


def draw_boxes(
    axes: Axes, sample: Row, shape: tuple[int, int], predictions: Sequence[tuple[str, str]]
) -> None:
    """Draw the true box, then one box per prediction.

    Args:
        axes: the axes that show the image.
        sample: a row of `fusion_bench.results.results.StudyResults.pictures`.
        shape: height and width of the shown image, which may be smaller than the original.
        predictions: pairs of colour and box as text.
    """
    across, down = shape[1] / sample["width"], shape[0] / sample["height"]
    for color, text in [(_TRUTH, sample["truth"]), *predictions]:
        x1, y1, x2, y2 = box_from_text(text)
        corner = (x1 * across - 0.5, y1 * down - 0.5)  # the centre of the first pixel has the coordinate 0
        size = ((x2 - x1) * across, (y2 - y1) * down)
        is_truth = color == _TRUTH
        drawn = Rectangle(corner, *size, fill=False, ec=color, lw=_LINE, clip_on=False)
        if is_truth:
            drawn.set_path_effects(_TRUTH_OUTLINE)
        axes.add_patch(drawn)


def draw_masks(
    axes: Axes, sample: Row, shape: tuple[int, int], predictions: Sequence[tuple[str, str]]
) -> None:
    """Draw an outline of the true mask, then each prediction as a transparent area with an outline.

    The arguments are those of `draw_boxes`.
    """
    size = (int(sample["height"]), int(sample["width"]))
    for color, text in [(_TRUTH, sample["truth"]), *predictions]:
        pixels = Image.fromarray(mask_from_text(text, size)).resize(shape[::-1], Image.Resampling.NEAREST)
        mask = np.asarray(pixels)
        if not mask.any():
            continue
        is_truth = color == _TRUTH
        if not is_truth:
            axes.imshow(mask[..., None] * np.array(to_rgba(color, _OPACITY)), interpolation="nearest")
        # A frame of zeros closes the outline of a mask that reaches the edge of the image.
        framed, x, y = np.pad(mask, 1), np.arange(-1, shape[1] + 1), np.arange(-1, shape[0] + 1)
        edge = axes.contour(x, y, framed, [0.5], colors=[color], linewidths=_LINE)
        if is_truth:
            edge.set_path_effects(_TRUTH_OUTLINE)

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
_AROUND, _SMALLEST_PART = 1.6, 0.3
"""How much larger than its boxes a part of an image is, and the smallest part, as a share of the image's sides."""


def draw_boxes(
    axes: Axes, sample: Row, shape: tuple[int, int], predictions: Sequence[tuple[str, str]], point: float
) -> None:
    """Draw one box per prediction, then the true box; each line stands around its box, not over what is inside.

    Args:
        axes: the axes that show the image.
        sample: a row of `fusion_bench.results.results.StudyResults.pictures`.
        shape: height and width of the shown image, which may be smaller than the original.
        predictions: pairs of colour and box as text.
        point: the length of 1/72 inch in pixels of the shown image.
    """
    for color, text in [*predictions, (_TRUTH, sample["truth"])]:
        box = _shown_box(sample, shape, text)
        if color == _TRUTH:
            outline_around(axes, box, color, _LINE, _LINE * point).set_path_effects(_TRUTH_OUTLINE)
        else:
            outline_around(axes, box, color, _LINE, _LINE * point / 2)


def outline_around(axes: Axes, box: Sequence[float], color: str, width: float, room: float) -> Rectangle:
    """Draw a frame ``room`` pixels outside of a box ``x1, y1, x2, y2`` in pixels of the shown image; return it.

    Pixel 0 spans the coordinates -0.5 to 0.5. ``width`` is that of the line in points.
    """
    x1, y1, x2, y2 = box[0] - room, box[1] - room, box[2] + room, box[3] + room
    frame = Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, ec=color, lw=width, clip_on=False)
    axes.add_patch(frame)
    return frame


def near_boxes(
    sample: Row, shape: tuple[int, int], predictions: Sequence[str]
) -> tuple[float, float, float, float]:
    """Return the limits left, right, bottom, top of the part of an image with the true and the predicted boxes.

    The part has the sides of the image in their ratio, and is the whole image where the boxes are far apart.
    """
    height, width = shape
    boxes = np.array([_shown_box(sample, shape, text) for text in [sample["truth"], *predictions]])
    (x1, y1), (x2, y2) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    share = min(1.0, max(_SMALLEST_PART, _AROUND * (x2 - x1) / width, _AROUND * (y2 - y1) / height))
    left = float(np.clip((x1 + x2 - share * width) / 2, 0, width - share * width))
    top = float(np.clip((y1 + y2 - share * height) / 2, 0, height - share * height))
    return left - 0.5, left + share * width - 0.5, top + share * height - 0.5, top - 0.5


def _shown_box(sample: Row, shape: tuple[int, int], text: str) -> tuple[float, float, float, float]:
    """Return a box that is written for the original image, in pixels of the shown one."""
    across, down = shape[1] / sample["width"], shape[0] / sample["height"]
    x1, y1, x2, y2 = box_from_text(text)
    return x1 * across, y1 * down, x2 * across, y2 * down


def draw_masks(
    axes: Axes, sample: Row, shape: tuple[int, int], predictions: Sequence[tuple[str, str]]
) -> None:
    """Draw each prediction as a transparent area with an outline, then an outline of the true mask.

    The first four arguments are those of `draw_boxes`.
    """
    size = (int(sample["height"]), int(sample["width"]))
    for color, text in [*predictions, (_TRUTH, sample["truth"])]:
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

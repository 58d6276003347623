"""Boxes, masks and image sizes: where the object that a sentence refers to is, and how images are resized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Referents:
    """Where the thing that each sentence speaks of stands, in pixels of the original images.

    Attributes:
        boxes: ``[N, 4]`` float64, one row per sample: x1, y1, x2, y2, continuous edges (a box from pixel 3 up to
            and including pixel 5 is 3 to 6).
        sizes: ``[I, 2]`` int64, height and width of each of the split's images.
        masks: one per sample, COCO's compressed run lengths ``{"size": [h, w], "counts": bytes}``; None where
            the data set has boxes only.
    """

    boxes: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]
    masks: tuple[Mapping[str, Any], ...] | None = None

    def of(self, samples: npt.NDArray[np.int64], images: Sequence[int]) -> Referents:
        """Those of some samples, on some of the images."""
        masks = None if self.masks is None else tuple(self.masks[row] for row in samples)
        return Referents(self.boxes[samples], self.sizes[list(images)], masks)


@dataclass(frozen=True)
class Resizing:
    """How pictures of any size come to the network's input of ``height`` and ``width`` in pixels.

    They are stretched; or, with ``letterbox``, kept in shape, as large as they fit (sides rounded down) and in the
    middle (the smaller half of the rest before them), as YOLO's readers and LaConvNet's do.
    """

    height: int
    width: int
    letterbox: bool = False

    def windows(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The part of the input that shows each picture: ``[N, 2]`` heights and widths to ``[N, 4]``.

        Columns: left, top, width, height, in pixels of the input.
        """
        if not self.letterbox:
            return np.tile(np.array([0.0, 0.0, self.width, self.height]), (len(sizes), 1))
        high, wide = sizes[:, 0], sizes[:, 1]
        broad = wide * self.height >= high * self.width  # the width is what limits it
        fitted_width = np.where(broad, self.width, np.maximum(1, wide * self.height // high))
        fitted_height = np.where(broad, np.maximum(1, high * self.width // wide), self.height)
        left, top = (self.width - fitted_width) // 2, (self.height - fitted_height) // 2
        return np.stack([left, top, fitted_width, fitted_height], axis=1).astype(np.float64)

    def to_input(
        self, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Boxes ``[N, 4]`` (x1, y1, x2, y2) of the originals, each of its size, in pixels of the input."""
        shift, scale = self._affine(sizes)
        return boxes * scale + shift

    def to_original(
        self, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """`to_input` undone."""
        shift, scale = self._affine(sizes)
        return (boxes - shift) / scale

    def _affine(
        self, sizes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Shift and scale ``[N, 4]`` that bring x1, y1, x2, y2 into the windows."""
        windows = self.windows(sizes)
        scale = windows[:, 2:] / sizes[:, ::-1]
        return np.tile(windows[:, :2], 2), np.tile(scale, 2)

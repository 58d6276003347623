"""The boxes and masks of referred objects, and the resizing of images to the network's input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ObjectMask:
    """The mask of one object, or the reason why it has none.

    Attributes:
        mask: COCO's compressed run lengths ``{"size": [h, w], "counts": bytes}``; None if the outline gives no pixel.
        dropped: number of parts of the outline that give no pixel and were left out.
        problem: why there is no mask; empty if there is one.
    """

    mask: Mapping[str, Any] | None
    dropped: int = 0
    problem: str = ""


@dataclass(frozen=True, eq=False)
class OutlinedMasks:
    """The masks of samples, made from outlines when they are first asked for; tasks with boxes alone never ask.

    Attributes:
        of_object: returns the mask of an object by its number.
        objects: the number of each sample's object.
    """

    of_object: Callable[[int], ObjectMask]
    objects: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, row: int) -> Mapping[str, Any] | None:
        return self.made(row).mask

    def __iter__(self) -> Iterator[Mapping[str, Any] | None]:
        return (self.made(row).mask for row in range(len(self)))

    def made(self, row: int) -> ObjectMask:
        """Return the mask of the sample in ``row``, with what was wrong with its outline."""
        return self.of_object(self.objects[row])


@dataclass(frozen=True, eq=False)
class Referents:
    """The position of the object that each sentence refers to, in pixels of the original images.

    Attributes:
        boxes: ``[N, 4]`` float64, one row per sample: x1, y1, x2, y2 as continuous coordinates (a box that covers
            pixels 3, 4 and 5 goes from 3 to 6).
        sizes: ``[I, 2]`` int64, height and width of each image of the split.
        masks: one mask per sample as COCO's compressed run lengths ``{"size": [h, w], "counts": bytes}``, or made
            from outlines on demand; None if the data set has boxes only.
    """

    boxes: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]
    masks: tuple[Mapping[str, Any], ...] | OutlinedMasks | None = None

    def subset(self, samples: npt.NDArray[np.int64], images: Sequence[int]) -> Referents:
        """Return the referents of the given samples (rows) and the sizes of the given images (rows)."""
        if isinstance(self.masks, OutlinedMasks):
            objects = tuple(self.masks.objects[row] for row in samples)
            masks: Any = OutlinedMasks(self.masks.of_object, objects)
        else:
            masks = None if self.masks is None else tuple(self.masks[row] for row in samples)
        return Referents(self.boxes[samples], self.sizes[list(images)], masks)


@dataclass(frozen=True)
class Resizing:
    """The resizing of images of any size to the network's input of ``height`` x ``width`` pixels.

    By default an image is stretched to the input. With ``letterbox`` it keeps its aspect ratio: it is scaled to the
    largest size that fits (sides rounded down) and centred (an odd remainder puts the smaller half above or to the
    left), as in the data loaders of YOLO and LaConvNet.
    """

    height: int
    width: int
    letterbox: bool = False

    def windows(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the rectangle of the input that each image covers.

        Args:
            sizes: ``[N, 2]``, height and width of each original image.

        Returns:
            ``[N, 4]``: left, top, width and height in pixels of the input.
        """
        if not self.letterbox:
            return np.tile(np.array([0.0, 0.0, self.width, self.height]), (len(sizes), 1))
        heights, widths = sizes[:, 0], sizes[:, 1]
        width_limits = widths * self.height >= heights * self.width  # the width limits the scale
        fitted_width = np.where(width_limits, self.width, np.maximum(1, widths * self.height // heights))
        fitted_height = np.where(width_limits, np.maximum(1, heights * self.width // widths), self.height)
        left, top = (self.width - fitted_width) // 2, (self.height - fitted_height) // 2
        return np.stack([left, top, fitted_width, fitted_height], axis=1).astype(np.float64)

    def to_input(
        self, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Convert boxes ``[N, 4]`` (x1, y1, x2, y2) from pixels of the original images to pixels of the input.

        ``sizes`` is ``[N, 2]``: height and width of the original image of each box.
        """
        shift, scale = self._affine(sizes)
        return boxes * scale + shift

    def to_original(
        self, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Convert boxes ``[N, 4]`` from pixels of the input to pixels of the originals; inverse of `to_input`."""
        shift, scale = self._affine(sizes)
        return (boxes - shift) / scale

    def _affine(
        self, sizes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return shift and scale ``[N, 4]`` that map x1, y1, x2, y2 of the originals into the windows."""
        windows = self.windows(sizes)
        scale = windows[:, 2:] / sizes[:, ::-1]
        return np.tile(windows[:, :2], 2), np.tile(scale, 2)

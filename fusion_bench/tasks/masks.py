"""Conversion of masks between COCO's compressed run lengths and arrays, at the size of the original or of the input.

pycocotools is imported at the first use of a mask, so that a cell without masks runs without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fusion_bench.errors import DataError
from fusion_bench.samples.geometry import Resizing


def decode_mask(mask: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Return the pixels ``[h, w]`` of a mask ``{"size": [h, w], "counts": bytes}``."""
    pixels: npt.NDArray[np.bool_] = _coco().decode(mask).astype(np.bool_)
    return pixels


def mask_text(pixels: npt.NDArray[np.bool_]) -> str:
    """Return COCO's compressed counts of a mask ``[h, w]``, without its size, which is that of the image."""
    encoded = _coco().encode(np.asfortranarray(pixels, dtype=np.uint8))
    return str(encoded["counts"].decode("ascii"))


def mask_from_text(text: str, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the mask ``[h, w]`` of a text of `mask_text`; ``size`` is height and width of the image."""
    return decode_mask({"size": list(size), "counts": text.encode("ascii")})


def bounding_box(pixels: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return the least box x1, y1, x2, y2 (pixel edges) around a mask ``[h, w]``; zeros for an empty mask."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


@dataclass(frozen=True, eq=False)
class MaskTargets:
    """Mask targets stored as run lengths; each batch is decoded and resized to the network's input.

    Attributes:
        masks: one mask per sample, at the size of the original image.
        resizing: how images are resized to the input.
    """

    masks: Sequence[Mapping[str, Any]]
    resizing: Resizing

    def rows(self, chosen: Tensor) -> Tensor:
        """Return the targets ``[B, H, W]`` float32 of the samples ``chosen`` ``[B]``: 1 inside the mask, 0 outside.

        A mask is resized as its image is, with bilinear interpolation and a threshold of 0.5.
        """
        targets = torch.zeros(len(chosen), self.resizing.height, self.resizing.width)
        for target, row in zip(targets, chosen.tolist(), strict=True):
            pixels = decode_mask(self.masks[row])
            left, top, width, height = _window(self.resizing, pixels.shape)
            image = Image.fromarray(pixels.astype(np.uint8) * 255)
            resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
            target[top : top + height, left : left + width] = torch.from_numpy(resized >= 128)
        return targets


def mask_at_original_size(logits: Tensor, size: tuple[int, int], resizing: Resizing) -> npt.NDArray[np.bool_]:
    """Return the mask ``[h, w]`` at the original ``size`` from logits ``[H, W]`` over the input.

    Logits are resized with bilinear interpolation; pixels with a logit above 0 belong to the mask.
    """
    left, top, width, height = _window(resizing, size)
    window = logits[None, None, top : top + height, left : left + width].float()
    resized = F.interpolate(window, size=size, mode="bilinear", align_corners=False)[0, 0]
    pixels: npt.NDArray[np.bool_] = (resized > 0).cpu().numpy()
    return pixels


def _window(resizing: Resizing, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the rectangle of the input that an image covers, in whole pixels."""
    left, top, width, height = resizing.windows(np.array([size]))[0].round().astype(int).tolist()
    return left, top, width, height


def _coco() -> ModuleType:
    try:
        from pycocotools import mask  # noqa: PLC0415 - see the module docstring
    except ImportError as error:
        raise DataError("masks need the package pycocotools: pip install pycocotools") from error
    module: ModuleType = mask
    return module

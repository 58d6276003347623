"""Masks between COCO's compressed run lengths and arrays, at the original image's size and at the input's.

pycocotools is imported when a mask is met: a cell without masks runs without it.
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


def decoded(mask: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """``{"size": [h, w], "counts": bytes}`` to ``[h, w]``."""
    pixels: npt.NDArray[np.bool_] = _coco().decode(mask).astype(np.bool_)
    return pixels


def mask_text(pixels: npt.NDArray[np.bool_]) -> str:
    """COCO's compressed counts of a mask ``[h, w]``; its size is the image's."""
    encoded = _coco().encode(np.asfortranarray(pixels, dtype=np.uint8))
    return str(encoded["counts"].decode("ascii"))


def mask_of(text: str, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """`mask_text` undone; ``size`` is height and width."""
    return decoded({"size": list(size), "counts": text.encode("ascii")})


def bounding_box(pixels: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The least box around a mask, edges of pixels; all zeros around nothing."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


@dataclass(frozen=True, eq=False)
class RunLengths:
    """Targets that lie as run lengths; a batch of them is decoded and brought to the network's input.

    Attributes:
        masks: one per sample, at the original size.
        resizing: how pictures come to the input.
    """

    masks: Sequence[Mapping[str, Any]]
    resizing: Resizing

    def rows(self, chosen: Tensor) -> Tensor:
        """``[B, H, W]`` float32, 1 within the mask: resized as pictures are, cut at a half."""
        targets = torch.zeros(len(chosen), self.resizing.height, self.resizing.width)
        for target, row in zip(targets, chosen.tolist(), strict=True):
            pixels = decoded(self.masks[row])
            left, top, width, height = _window(self.resizing, pixels.shape)
            picture = Image.fromarray(pixels.astype(np.uint8) * 255)
            resized = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
            target[top : top + height, left : left + width] = torch.from_numpy(resized >= 128)
        return targets


def at_original(logits: Tensor, size: tuple[int, int], resizing: Resizing) -> npt.NDArray[np.bool_]:
    """One mask ``[h, w]`` at the original size from logits ``[H, W]`` over the input: bilinear, cut at 0."""
    left, top, width, height = _window(resizing, size)
    shown = logits[None, None, top : top + height, left : left + width].float()
    resized = F.interpolate(shown, size=size, mode="bilinear", align_corners=False)[0, 0]
    pixels: npt.NDArray[np.bool_] = (resized > 0).cpu().numpy()
    return pixels


def _window(resizing: Resizing, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the part of the input that shows a picture, in whole pixels."""
    left, top, width, height = resizing.windows(np.array([size]))[0].round().astype(int).tolist()
    return left, top, width, height


def _coco() -> ModuleType:
    try:
        from pycocotools import mask  # noqa: PLC0415 - see the top
    except ImportError as error:
        raise DataError("masks are read and written with pycocotools; pip install pycocotools") from error
    module: ModuleType = mask
    return module

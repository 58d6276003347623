"""Maps of a frozen backbone, computed once and shared by every cell that asks for the same."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fusion_bench.encoders.vision import Backbone, normalise, weights_digest
from fusion_bench.errors import WeightsError
from fusion_bench.storage import cached_array

DTYPE = np.dtype(np.float16)


def frozen_features(
    backbone: Backbone,
    images: npt.NDArray[np.uint8],
    key: Mapping[str, Any],
    folder: Path,
    batch: int = 64,
) -> npt.NDArray[np.float16]:
    """The map of every image, from the cache or made now.

    Stored as float16: half the size of float32 on disk, in memory and on the way to a GPU, for a
    rounding error of at most 2^-11 of each value, the same for every arm.

    Args:
        backbone: in evaluation mode, on any device.
        images: uint8 ``[N, H, W, 3]`` in [0, 255]; read in order, so a memory map will do.
        key: names the images and how they were made (data manifest, split, resizing), as JSON values.
            What this function knows is added: backbone, layer, weights, size, normalisation, type, timm.
        folder: the cache folder.
        batch: images at a time.

    Returns:
        A read-only memory map ``[N, channels, h, w]``.

    Raises:
        WeightsError: the backbone is not frozen, or gives values that are not finite in float16.
    """
    if backbone.training:
        raise WeightsError(f"the features of {backbone.name!r} can be cached only while it is frozen")
    shape = (len(images), backbone.channels, *backbone.map_size)
    device = next(backbone.parameters()).device

    def fill(features: npt.NDArray[Any]) -> None:
        for start in range(0, len(images), batch):
            pixels = torch.from_numpy(np.array(images[start : start + batch])).to(device)
            with torch.inference_mode():
                maps = backbone(normalise(pixels, backbone.mean, backbone.std)).half()
            if not maps.isfinite().all():
                raise WeightsError(
                    f"backbone {backbone.name!r} gives values beyond float16 at layer {backbone.layer}; "
                    "choose another layer or other weights"
                )
            features[start : start + batch] = maps.cpu().numpy()

    return cached_array(folder, {**key, **_recipe(backbone)}, shape, DTYPE, fill)


def _recipe(backbone: Backbone) -> dict[str, Any]:
    """What the features depend on beside the images."""
    return {
        "backbone": backbone.name,
        "layer": backbone.layer,
        "weights": weights_digest(backbone),
        "image_size": list(backbone.image_size),
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "dtype": DTYPE.name,
        "timm": version("timm"),
    }

"""Maps of a frozen backbone and vectors of a frozen text encoder, computed once, shared by every cell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

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


@dataclass(frozen=True, eq=False)
class TextVectors:
    """What a frozen text encoder made of a split's texts.

    Attributes:
        different: ``[U, T, E]`` float16, one row per different text; rows of padding are 0.
        text: ``[N]`` row in ``different`` of each sample.
    """

    different: npt.NDArray[np.float16]
    text: npt.NDArray[np.int64]

    def of(self, samples: npt.NDArray[np.int64], longest: int) -> npt.NDArray[np.float16]:
        """Vectors ``[B, longest, E]`` of some samples."""
        vectors: npt.NDArray[np.float16] = self.different[self.text[samples], :longest]
        return vectors


def frozen_vectors(
    reader: nn.Module, channels: int, tokens: npt.NDArray[np.int64], folder: Path, batch: int = 64
) -> TextVectors:
    """The vectors of every different text, from the cache or made now, stored as float16 as maps are.

    Args:
        reader: a text encoder's frozen part, which is put into evaluation mode.
        channels: of its vectors.
        tokens: ids ``[N, T]``, 0 at padding.
        folder: the cache folder.
        batch: texts at a time.

    Raises:
        WeightsError: it gives values that are not finite in float16.
    """
    reader.eval()
    texts, rows = np.unique(tokens, axis=0, return_inverse=True)

    def fill(vectors: npt.NDArray[Any]) -> None:
        for start in range(0, len(texts), batch):
            ids = torch.from_numpy(texts[start : start + batch])
            longest = int((ids != 0).sum(1).max())
            mask = ids[:, :longest] != 0
            with torch.inference_mode():
                made = reader(ids[:, :longest], mask).masked_fill(~mask[..., None], 0).half()
            if not made.isfinite().all():
                raise WeightsError("the frozen text encoder gives values beyond float16; choose another one")
            vectors[start : start + batch, :longest] = made.numpy()

    key = {
        "reader": repr(reader),
        "weights": weights_digest(reader),
        "texts": hashlib.sha256(texts.tobytes()).hexdigest(),
        "dtype": DTYPE.name,
        "torch": torch.__version__,
    }
    different = cached_array(folder, key, (*texts.shape, channels), DTYPE, fill)
    return TextVectors(different, rows.reshape(-1))


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

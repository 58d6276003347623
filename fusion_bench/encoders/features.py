"""Maps of a frozen backbone and vectors of a frozen text encoder, computed once and shared by all cells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.storage import cached_array

DTYPE = np.dtype(np.float16)
_BEYOND_FLOAT16 = 65520.0
"""The smallest positive number that float16 rounds to infinity."""
_MOST_BATCHES_AT_ONCE = 4


def frozen_features(
    backbone: Backbone,
    images: npt.NDArray[np.uint8],
    key: Mapping[str, Any],
    folder: Path,
    batch: int = 64,
    notify: Notify = say_nothing,
    workers: int = 1,
) -> npt.NDArray[np.float16]:
    """Return the map of every image, from the cache or computed now.

    Maps are stored as float16: half the size of float32 on disk, in memory and in the transfer to a GPU, with a
    relative rounding error of at most 2^-11, the same for every arm.

    Args:
        backbone: a backbone in evaluation mode, on any device.
        images: uint8 ``[N, H, W, 3]`` in [0, 255]; read in order, so a memory map is efficient.
        key: JSON values that identify the images and their preprocessing (data manifest, split, resizing). This
            function adds what it knows: backbone, layer, weights, size, normalisation, type, timm version.
        folder: the cache folder.
        batch: number of images per forward pass.
        notify: is told how many maps are computed.
        workers: number of threads that work on batches at the same time, at most 4 because each holds the activations
            of a batch; the maps do not depend on it.

    Returns:
        A read-only memory map ``[N, channels, h, w]`` float16.

    Raises:
        WeightsError: the backbone is not frozen, or its values are not finite in float16.
    """
    if backbone.training:
        raise WeightsError(f"the features of {backbone.name!r} can be cached only while it is frozen")
    shape = (len(images), backbone.channels, *backbone.map_size)
    device = next(backbone.parameters()).device

    def fill(features: npt.NDArray[Any]) -> None:
        def compute(start: int) -> int:
            pixels = torch.from_numpy(np.array(images[start : start + batch])).to(device)
            with torch.inference_mode():
                maps = backbone(normalise(pixels, backbone.mean, backbone.std))
                least, greatest = (float(value) for value in maps.aminmax())
                # The comparison is also false for values that are not numbers.
                if not -_BEYOND_FLOAT16 < least <= greatest < _BEYOND_FLOAT16:
                    raise WeightsError(
                        f"the backbone {backbone.name!r} gives values beyond float16 at layer {backbone.layer}; "
                        "choose another layer or other weights"
                    )
                torch.from_numpy(features[start : start + batch]).copy_(maps.half())
            return start + len(pixels)

        for done in _in_turn(compute, range(0, len(images), batch), workers if device.type == "cpu" else 1):
            notify("computing maps", done, len(images))

    return cached_array(folder, {**key, **_backbone_key(backbone)}, shape, DTYPE, fill)


@dataclass(frozen=True, eq=False)
class TextVectors:
    """The word vectors of a split's texts, from a frozen text encoder.

    Attributes:
        unique: ``[U, T, E]`` float16, one row per distinct text; vectors of padding are 0.
        row: ``[N]`` int64, the row in ``unique`` of each sample.
    """

    unique: npt.NDArray[np.float16]
    row: npt.NDArray[np.int64]

    def gather(self, samples: npt.NDArray[np.int64], longest: int) -> npt.NDArray[np.float16]:
        """Return the vectors ``[B, longest, E]`` of the given samples ``[B]``."""
        vectors: npt.NDArray[np.float16] = self.unique[self.row[samples], :longest]
        return vectors


def frozen_vectors(
    frozen_part: nn.Module,
    channels: int,
    tokens: npt.NDArray[np.int64],
    folder: Path,
    batch: int = 64,
    notify: Notify = say_nothing,
) -> TextVectors:
    """Return the vectors of every distinct text, from the cache or computed now, stored as float16.

    Args:
        frozen_part: the frozen part of a text encoder; it is switched to evaluation mode.
        channels: number of channels of its vectors.
        tokens: ids ``[N, T]``, 0 at padding.
        folder: the cache folder.
        batch: number of texts per forward pass.
        notify: is told how many texts are encoded.

    Raises:
        WeightsError: the vectors are not finite in float16.
    """
    frozen_part.eval()
    texts, rows = np.unique(tokens, axis=0, return_inverse=True)

    def fill(vectors: npt.NDArray[Any]) -> None:
        for start in range(0, len(texts), batch):
            ids = torch.from_numpy(texts[start : start + batch])
            longest = int((ids != 0).sum(1).max())
            mask = ids[:, :longest] != 0
            with torch.inference_mode():
                computed = frozen_part(ids[:, :longest], mask).masked_fill(~mask[..., None], 0).half()
            if not computed.isfinite().all():
                raise WeightsError("the frozen text encoder gives values beyond float16; choose another one")
            vectors[start : start + batch, :longest] = computed.numpy()
            notify("encoding texts", start + len(ids), len(texts))

    key = {
        "reader": repr(frozen_part),
        "weights": weights_digest(frozen_part),
        "texts": hashlib.sha256(texts.tobytes()).hexdigest(),
        "dtype": DTYPE.name,
        "torch": torch.__version__,
    }
    unique = cached_array(folder, key, (*texts.shape, channels), DTYPE, fill)
    return TextVectors(unique, rows.reshape(-1))


def _in_turn(work: Callable[[int], int], starts: Sequence[int], workers: int) -> Iterator[int]:
    """Yield the result for each start, in order, from threads that use as many torch threads as this one."""
    workers = min(workers, _MOST_BATCHES_AT_ONCE, len(starts))
    if workers <= 1:
        yield from map(work, starts)
        return
    with ThreadPoolExecutor(
        workers, initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
    ) as pool:
        yield from pool.map(work, starts)


def _backbone_key(backbone: Backbone) -> dict[str, Any]:
    """Return the cache key of everything that features depend on, except the images."""
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

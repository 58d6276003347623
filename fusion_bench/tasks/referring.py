"""Functions that grounding and segmentation share: referents, slices, metrics, and the sentence at the head."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from fusion_bench.errors import DataError
from fusion_bench.samples.geometry import Referents
from fusion_bench.samples.metric import Metric
from fusion_bench.samples.split import Split
from fusion_bench.samples.vocabulary import tokenize

# fmt: off
SPATIAL = frozenset({
    "above", "back", "behind", "below", "beside", "between", "bottom", "center", "centre", "closest",
    "corner", "far", "farthest", "front", "left", "leftmost", "lower", "middle", "near", "nearest", "next",
    "over", "right", "rightmost", "side", "top", "under", "upper",
})
# fmt: on
"""Words that describe a place."""
_LENGTH_BINS = ((3, "1-3"), (6, "4-6"), (9, "7-9"))
_LONGEST = "10 and more"
_AREA_BINS = ((0.02, "0-2 %"), (0.1, "2-10 %"))
_LARGEST_AREA = "10-100 %"


def referents_of(split: Split) -> Referents:
    """Return the referents of a split.

    Raises:
        DataError: the split has no boxes.
    """
    if split.referents is None:
        raise DataError(f"the split {split.name!r} has no boxes; grounding and segmentation need them")
    return split.referents


def empty_texts(split: Split) -> npt.NDArray[np.bool_]:
    """Return ``[N]`` bool: True for samples whose sentence is empty, which refers to nothing."""
    empty: npt.NDArray[np.bool_] = (split.table["text"].str.strip() == "").to_numpy(dtype=bool)
    return empty


def original_sizes(split: Split) -> npt.NDArray[np.int64]:
    """Return height and width of each sample's original image: ``[N, 2]`` int64."""
    sizes: npt.NDArray[np.int64] = referents_of(split).sizes[split.table["image"].to_numpy(np.int64)]
    return sizes


def relative_boxes(split: Split) -> npt.NDArray[np.float64]:
    """Return boxes ``[N, 4]`` in units of the width and height of their image, which leaves every IoU unchanged."""
    return referents_of(split).boxes / np.tile(original_sizes(split)[:, ::-1], 2)


def add_referring_slices(split: Split) -> Split:
    """Return the split with three more slices that are derived from its sentences and boxes.

    ``words`` is the number of words in the sentence, ``spatial`` says whether the sentence contains a word of
    `SPATIAL`, and ``box`` is the share of the image that the box covers. A slice of the same name that the data set
    defines is kept unchanged.
    """
    words = [tokenize(text) for text in split.table["text"]]
    boxes = relative_boxes(split)
    shares = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    derived = {
        "words": [_bin_label(len(found), _LENGTH_BINS, _LONGEST) for found in words],
        "spatial": ["no" if SPATIAL.isdisjoint(found) else "yes" for found in words],
        "box": [_bin_label(share, _AREA_BINS, _LARGEST_AREA) for share in shares],
    }
    added = {name: values for name, values in derived.items() if name not in split.slices}
    table = split.table.assign(**{name: pd.Series(values, dtype="str") for name, values in added.items()})
    return dataclasses.replace(split, table=table, slices=(*split.slices, *added))


def _bin_label(value: float, bins: tuple[tuple[float, str], ...], otherwise: str) -> str:
    return next((name for most, name in bins if value <= most), otherwise)


def mean_score(rows: pd.DataFrame) -> float:
    """Return the mean score over samples."""
    return float(rows["score"].mean())


def mean_iou(rows: pd.DataFrame) -> float:
    """Return the mean IoU over samples."""
    return float(rows["iou"].mean())


def share_of_iou_above(rows: pd.DataFrame, threshold: float) -> float:
    """Return the share of samples whose IoU is greater than ``threshold``."""
    return float((rows["iou"] > threshold).mean())


def threshold_metrics(name: str, tenths: Iterable[int]) -> Mapping[str, Metric]:
    """Return one metric ``<name>_at_0_<tenths>`` per threshold (in tenths): the share of samples above it."""
    return {
        f"{name}_at_0_{number}": Metric(
            f"{name}_at_0_{number}", partial(share_of_iou_above, threshold=number / 10)
        )
        for number in tenths
    }


def concat_sentence(fused: Tensor, sentence: Tensor | None) -> Tensor:
    """Concatenate the sentence to every position: ``[B, C, h, w]`` and ``[B, D]`` to ``[B, C + D, h, w]``.

    Without a sentence (None) the map is returned unchanged.
    """
    if sentence is None:
        return fused
    expanded = sentence[:, :, None, None].expand(-1, -1, *fused.shape[2:])
    return torch.cat((fused, expanded), 1)

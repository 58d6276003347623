"""What grounding and segmentation share: who is meant, slices by sentence and object, the sentence at the head."""

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
"""Words that say where something is."""
_LENGTHS = ((3, "1-3"), (6, "4-6"), (9, "7-9"))
_LONGER = "10 and more"
_SHARES = ((0.02, "0-2 %"), (0.1, "2-10 %"))
_LARGER = "10-100 %"


def referents_of(split: Split) -> Referents:
    """Where the things that a split's sentences speak of stand.

    Raises:
        DataError: the data set does not say it.
    """
    if split.referents is None:
        raise DataError(f"the split {split.name!r} has no boxes; nothing can be found in its images")
    return split.referents


def original_sizes(split: Split) -> npt.NDArray[np.int64]:
    """``[N, 2]``: height and width of each sample's original image."""
    sizes: npt.NDArray[np.int64] = referents_of(split).sizes[split.table["image"].to_numpy(np.int64)]
    return sizes


def relative_boxes(split: Split) -> npt.NDArray[np.float64]:
    """``[N, 4]``: boxes in widths and heights of their images (which leaves every overlap as it is)."""
    return referents_of(split).boxes / np.tile(original_sizes(split)[:, ::-1], 2)


def with_slices(split: Split) -> Split:
    """Add three slices: ``words`` of the sentence, ``spatial`` words in it, share of the image in its ``box``.

    A slice of that name which the data set itself has stays as it is.
    """
    words = [tokenize(text) for text in split.table["text"]]
    boxes = relative_boxes(split)
    shares = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    derived = {
        "words": [_binned(len(found), _LENGTHS, _LONGER) for found in words],
        "spatial": ["no" if SPATIAL.isdisjoint(found) else "yes" for found in words],
        "box": [_binned(share, _SHARES, _LARGER) for share in shares],
    }
    added = {name: values for name, values in derived.items() if name not in split.slices}
    table = split.table.assign(**{name: pd.Series(values, dtype="str") for name, values in added.items()})
    return dataclasses.replace(split, table=table, slices=(*split.slices, *added))


def _binned(value: float, bins: tuple[tuple[float, str], ...], beyond: str) -> str:
    return next((name for most, name in bins if value <= most), beyond)


def mean_score(rows: pd.DataFrame) -> float:
    """Mean score over samples."""
    return float(rows["score"].mean())


def mean_iou(rows: pd.DataFrame) -> float:
    """Mean overlap over samples."""
    return float(rows["iou"].mean())


def share_above(rows: pd.DataFrame, threshold: float) -> float:
    """Share of samples with more overlap than that."""
    return float((rows["iou"] > threshold).mean())


def shares_above(name: str, tenths: Iterable[int]) -> Mapping[str, Metric]:
    """``<name>_at_0_<tenths>``: see `share_above`."""
    return {
        f"{name}_at_0_{number}": Metric(f"{name}_at_0_{number}", partial(share_above, threshold=number / 10))
        for number in tenths
    }


def concat_sentence(fused: Tensor, sentence: Tensor | None) -> Tensor:
    """The sentence beside every position: ``[B, C, h, w]`` and ``[B, D]`` to ``[B, C + D, h, w]``."""
    if sentence is None:
        return fused
    spread = sentence[:, :, None, None].expand(-1, -1, *fused.shape[2:])
    return torch.cat((fused, spread), 1)

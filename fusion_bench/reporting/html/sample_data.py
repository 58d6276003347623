"""The data of the sample browser of a report: pictures, texts, truths and every answer, small enough for one file."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.results.shared_texts import sorted_codes

_RIGHT = 0.5


def sample_data(results: StudyResults, tables: Tables) -> dict[str, Any]:
    """Return the samples that a reader can look through, as JSON values.

    Keys: ``shows`` (text, box or mask); ``arms``: labels, the best first; ``controls``: how many of the last of them
    are controls; ``cells``: pairs of an arm's position and a seed; ``answers``: every different answer;
    ``slices``: name -> its values; ``total``: the number of samples of the split; ``samples``: for each ``id``,
    ``text``, ``truth``, ``picture`` (a position in ``pictures`` or -1), ``slices`` (positions, -1 for none),
    ``answers`` (positions by cell, -1 for none) and ``right`` (a digit by cell: 1 if its score is above one half); of
    boxes and masks also ``overlap`` (IoU in per cent by cell), and of boxes ``size`` (height and width of the image);
    ``pictures``: data URIs.
    """
    browsed = results.browsed
    present = set(results.samples["arm"].unique())
    order = [arm for arm in tables.order if arm in present]
    on_split = (results.samples["split"] == results.primary_split).to_numpy(dtype=bool)
    rows = _rows_of(browsed, results, on_split)
    rows = rows[rows["arm"].isin(order)]
    arm = pd.Index(order).get_indexer(pd.Index(rows["arm"]))
    seed, seeds = pd.factorize(rows["seed"], sort=True)
    cell, column = np.unique(arm * max(1, len(seeds)) + seed, return_inverse=True)
    cells = [(int(number // len(seeds)), int(seeds[number % len(seeds)])) for number in cell]
    at = rows["position"].to_numpy(dtype=np.intp), column
    shape = (len(browsed), len(cells))
    codes, answers = (
        sorted_codes(rows["prediction"])
        if results.shows != "mask"
        else (np.zeros(len(rows), dtype=np.intp), pd.Index([""] if len(rows) else []))
    )
    answer = np.full(shape, -1, dtype=np.int64)
    answer[at] = codes
    right = np.zeros(shape, dtype=np.int64)
    right[at] = rows["score"].to_numpy(dtype=np.float64) > _RIGHT
    overlap = np.zeros(shape, dtype=np.int64)
    if results.shows != "text":
        overlap[at] = np.round(100 * rows["iou"].to_numpy(dtype=np.float64))
    first = rows.drop_duplicates("position").set_index("position")
    slices = {name: sorted({str(value) for value in first[name].dropna()} - {""}) for name in results.slices}
    slices = {name: values for name, values in slices.items() if len(values) > 1}
    samples = []
    for number, (sample, text, picture, height, width) in enumerate(
        browsed[["sample", "text", "image", "height", "width"]].itertuples(index=False, name=None)
    ):
        if number not in first.index:
            continue
        row = first.loc[number]
        samples.append(
            {
                "id": sample,
                "text": text,
                "truth": "" if results.shows == "mask" else row["truth"],
                "picture": int(picture),
                "slices": [_position(values, row[name]) for name, values in slices.items()],
                "answers": answer[number].tolist(),
                "right": "".join(map(str, right[number])),
            }
            | ({"overlap": overlap[number].tolist()} if results.shows != "text" else {})
            | ({"size": [height, width]} if results.shows == "box" and _known(height) else {})
        )
    controls = sum(arm.role == "control" and arm.label in present for arm in results.arms)
    return {
        "shows": results.shows,
        "arms": order,
        "controls": controls,
        "cells": cells,
        "answers": [str(found) for found in answers],
        "slices": slices,
        "total": int(results.samples.loc[on_split, "sample"].nunique()),
        "samples": samples,
        "pictures": [_data_uri(picture) for picture in results.thumbnails["picture"]],
    }


def _rows_of(browsed: pd.DataFrame, results: StudyResults, on_split: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Return the answers to the browsed samples, with the number of the sample as ``position``."""
    own = browsed.assign(position=range(len(browsed)))
    own = own[own["split"] == results.primary_split].drop_duplicates("sample")
    found = pd.Index(own["sample"]).get_indexer(pd.Index(results.samples["sample"]))
    chosen = (found >= 0) & on_split
    rows: pd.DataFrame = results.samples[chosen]
    return rows.assign(position=own["position"].to_numpy()[found[chosen]])


def _position(values: list[str], value: object) -> int:
    return values.index(str(value)) if str(value) in values else -1


def _known(number: object) -> bool:
    return isinstance(number, int | float) and not math.isnan(number)


def _data_uri(picture: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}" if picture else ""

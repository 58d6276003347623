"""The data of the sample browser of a report: pictures, texts, truths and every answer, small enough for one file."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pandas as pd

from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults

_RIGHT = 0.5
_KEYS = ["split", "sample"]


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
    order = [arm for arm in tables.order if (results.samples["arm"] == arm).any()]
    on_split = results.samples[results.samples["split"] == results.primary_split]
    wanted = browsed[_KEYS].assign(position=range(len(browsed)))
    rows = on_split.merge(wanted, on=_KEYS, how="inner")
    rows = rows[rows["arm"].isin(order)]
    place = {arm: number for number, arm in enumerate(order)}
    pairs = rows[["arm", "seed"]].drop_duplicates()
    cells = sorted(((place[arm], int(seed)) for arm, seed in zip(pairs["arm"], pairs["seed"], strict=True)))
    column = {cell: number for number, cell in enumerate(cells)}
    at = (
        rows["position"].to_numpy(dtype=np.intp),
        np.array(
            [column[place[arm], int(seed)] for arm, seed in zip(rows["arm"], rows["seed"], strict=True)],
            np.intp,
        ),
    )
    shape = (len(browsed), len(cells))
    texts = rows["prediction"] if results.shows != "mask" else pd.Series("", index=rows.index)
    codes, answers = pd.factorize(texts, sort=True)
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
    controls = sum(arm.role == "control" and arm.label in place for arm in results.arms)
    return {
        "shows": results.shows,
        "arms": order,
        "controls": controls,
        "cells": cells,
        "answers": [str(found) for found in answers],
        "slices": slices,
        "total": int(on_split["sample"].nunique()),
        "samples": samples,
        "pictures": [_data_uri(picture) for picture in results.thumbnails["picture"]],
    }


def _position(values: list[str], value: object) -> int:
    return values.index(str(value)) if str(value) in values else -1


def _known(number: object) -> bool:
    return isinstance(number, int | float) and not math.isnan(number)


def _data_uri(picture: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}" if picture else ""

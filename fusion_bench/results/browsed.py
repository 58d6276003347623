"""The samples that a reader of a report can look through, those on which the arms disagree first, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pandas as pd
from PIL import Image

from fusion_bench.data.decoding import open_image
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.split import Split

MOST_SAMPLES = 1000
BROWSED = ["sample", "split", "text", "image", "height", "width"]
"""The columns of the samples; ``image`` is an index of `THUMBNAILS`, or -1 for a sample without a picture."""
THUMBNAILS = ["image", "picture"]
"""The columns of the pictures; ``picture`` holds the bytes of a WebP file."""
_MOST_BYTES = 2_500_000
_LARGEST = (192, 192)


def nothing_browsed() -> pd.DataFrame:
    """Return an empty table of samples."""
    return pd.DataFrame(columns=BROWSED)


def no_thumbnails() -> pd.DataFrame:
    """Return an empty table of pictures."""
    return pd.DataFrame(columns=THUMBNAILS)


def browsed_samples(
    samples: pd.DataFrame, split: Split, arms: Sequence[str], most: int = MOST_SAMPLES
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the samples on which most trained models disagree, and their pictures, in two tables.

    The share of models that are right is nearest to one half for the first of them; ties keep the order of the split.
    All pictures together take at most 2.5 MB; samples beyond that have none.

    Args:
        samples: the answers (`fusion_bench.results.results.StudyResults.samples`).
        split: the split that the samples are of.
        arms: labels of the arms that count.
        most: the largest number of samples.
    """
    evaluated = samples[(samples["split"] == split.name) & samples["arm"].isin(arms)]
    right = evaluated.groupby("sample", sort=False)["score"].mean()
    rows = split.table.assign(undecided=(split.table["sample"].map(right) - 0.5).abs()).dropna(
        subset="undecided"
    )
    rows = rows.sort_values("undecided", kind="stable").head(most)
    encoded: dict[int, bytes] = {}
    left = _MOST_BYTES
    for number in dict.fromkeys(rows["image"]):
        picture = _thumbnail(Path(split.images[number]))
        left -= len(picture)
        if left < 0:
            break
        encoded[int(number)] = picture
    index = {number: position for position, number in enumerate(encoded)}
    browsed = pd.DataFrame(
        {
            "sample": rows["sample"],
            "split": split.name,
            "text": rows["text"],
            "image": [index.get(int(number), -1) for number in rows["image"]],
        }
    )
    browsed[["height", "width"]] = (
        split.referents.sizes[rows["image"].to_numpy()] if split.referents is not None else (None, None)
    )
    thumbnails = pd.DataFrame({"image": range(len(encoded)), "picture": list(encoded.values())})
    return browsed[BROWSED].reset_index(drop=True), thumbnails[THUMBNAILS]


def _thumbnail(image: Path) -> bytes:
    """Return a small picture of an image file; empty for a file that cannot be read."""
    try:
        reduced = open_image(image)
    except FusionBenchError:
        return b""
    reduced.thumbnail(_LARGEST, Image.Resampling.LANCZOS)
    buffer = BytesIO()
    reduced.convert("RGB").save(buffer, "WEBP", quality=70, method=4)
    return buffer.getvalue()

"""The samples that a reader can look through, and their pictures, as two tables of a published folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.published_study import inside
from fusion_bench.reporting.published.published_tables import read_parquet
from fusion_bench.results.browsed import BROWSED, THUMBNAILS, no_thumbnails, nothing_browsed
from fusion_bench.results.results import StudyResults
from fusion_bench.storage import replacing

BROWSED_FILE = "browsed.parquet"
THUMBNAILS_FILE = "thumbnails.parquet"
_SHAPES = {
    BROWSED_FILE: pa.schema(
        [
            ("sample", pa.string()),
            ("split", pa.string()),
            ("text", pa.string()),
            ("image", pa.int64()),
            ("height", pa.float64()),
            ("width", pa.float64()),
        ]
    ),
    THUMBNAILS_FILE: pa.schema([("image", pa.int64()), ("picture", pa.binary())]),
}
_WEBP = (b"RIFF", b"WEBP")


def save_browsed(results: StudyResults, folder: Path) -> None:
    """Write the samples and their pictures; files of an earlier report are replaced."""
    for name, table in ((BROWSED_FILE, results.browsed), (THUMBNAILS_FILE, results.thumbnails)):
        if table.empty:
            (folder / name).unlink(missing_ok=True)
            continue
        with replacing(folder / name) as part:
            arrow = pa.Table.from_pandas(table, schema=_SHAPES[name], preserve_index=False)
            arrow = arrow.replace_schema_metadata(None)  # of pandas, which differs after reading
            pq.write_table(arrow, part, compression="zstd", compression_level=19, write_statistics=False)


def read_browsed(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the samples and their pictures; empty tables where the folder has none.

    Raises:
        FusionBenchError: a file is damaged, lies outside the folder, is no such table, or holds something that is no
            picture.
    """
    browsed, thumbnails = nothing_browsed(), no_thumbnails()
    if inside(folder, BROWSED_FILE).is_file():
        browsed = _read(folder, BROWSED_FILE)[BROWSED]
    if inside(folder, THUMBNAILS_FILE).is_file():
        thumbnails = _read(folder, THUMBNAILS_FILE)[THUMBNAILS]
    for picture in thumbnails["picture"]:
        if picture and (picture[:4], picture[8:12]) != _WEBP:
            raise FusionBenchError(f"{folder / THUMBNAILS_FILE} holds something that is no WebP picture")
    known = browsed["image"].between(-1, len(thumbnails) - 1)
    return browsed.assign(image=browsed["image"].where(known, -1)), thumbnails


def _read(folder: Path, name: str) -> pd.DataFrame:
    table = read_parquet(folder, name)
    if table.schema.remove_metadata() != _SHAPES[name]:
        raise FusionBenchError(
            f"{folder / name} is no table of a study: its columns are {table.column_names}"
        )
    frame: pd.DataFrame = table.to_pandas()
    return frame

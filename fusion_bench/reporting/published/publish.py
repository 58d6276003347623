"""The published folder of a study: a few small files from which all numbers and figures can be made again.

``results.parquet`` and ``results.csv``: one row per cell, split and metric (a cell without a result has one row
with the reason); ``samples.parquet``: all predictions (see `fusion_bench.reporting.tables.samples_table`);
``curves.parquet``: the learning curves; ``floors.parquet``: the scores of baselines without training;
``browsed.parquet`` and ``thumbnails.parquet``: the samples that a reader can look through, and their pictures;
``study.json``: everything else; ``pictures/``: the sample images that the report shows;
``contexts/<label>/``: a folder of the same kind for each context of the study.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fusion_bench.data.decoding import open_image
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.published.published_samples import read_browsed, save_browsed
from fusion_bench.reporting.published.published_study import (
    RECORDS,
    REPORT_FORMAT,
    TABLES,
    inside,
    read_published_study,
)
from fusion_bench.reporting.published.published_tables import (
    FLOORS_FILE,
    read_floor_scores,
    read_samples,
    read_table,
)
from fusion_bench.reporting.tables.sample_selection import select_samples
from fusion_bench.reporting.tables.samples_table import pivot_samples
from fusion_bench.results.results import FLOOR_SCORES, StudyResults
from fusion_bench.spec.contexts import report_folder
from fusion_bench.storage import replacing, write_json, write_text

LARGEST_IMAGE = (480, 320)

_CELL = ["arm", "role", "seed", "cell", "state", "reason", "epochs", "best_epoch", "seconds"]
_VALUE = ["split", "metric", "value"]
_CURVE = ["arm", "seed", "epoch", "samples_seen", "quantity", "value"]


def save(results: StudyResults, folder: Path) -> None:
    """Write the files of ``results`` into ``folder``; files of an earlier report are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    table = results.cells[_CELL].merge(
        results.values[["arm", "seed", *_VALUE]], on=["arm", "seed"], how="left", sort=False
    )
    _write_parquet(pa.Table.from_pandas(table, preserve_index=False), folder / "results.parquet", [])
    write_text(folder / "results.csv", table.to_csv(index=False))
    pivoted = pivot_samples(results.samples, results.slices, results.measures)
    _write_parquet(pivoted, folder / "samples.parquet", ["sample", "cluster"])
    curves = results.curves[_CURVE]
    _write_parquet(pa.Table.from_pandas(curves, preserve_index=False), folder / "curves.parquet", [])
    save_browsed(results, folder)
    (folder / FLOORS_FILE).unlink(missing_ok=True)
    if len(results.floor_scores):
        scores = pa.Table.from_pandas(results.floor_scores[FLOOR_SCORES], preserve_index=False)
        _write_parquet(scores, folder / FLOORS_FILE, ["sample"])
    shown = _copy_images(select_samples(results), folder)
    tables = {"pictures": shown, "floors": results.floors, "expected": results.expected}
    study: dict[str, Any] = {
        item.name: getattr(results, item.name)
        for item in dataclasses.fields(results)
        if item.name not in TABLES and item.name not in RECORDS
    }
    study |= {name: _records(tables[name], [*get_type_hints(kind)]) for name, kind in RECORDS.items()}
    study["stages"] = None if results.stages is None else dataclasses.asdict(results.stages)
    study |= {"arms": [dataclasses.asdict(arm) for arm in results.arms], "format": REPORT_FORMAT}
    study |= {"environment": dict(results.environment)}
    study["contexts"] = {label: report_folder(label) for label in results.contexts}
    for label, context in results.contexts.items():
        save(context, folder / study["contexts"][label])
    write_json(folder / "study.json", study)


def load(folder: Path) -> StudyResults:
    """Return the results that `save` wrote into ``folder``.

    Raises:
        FusionBenchError: a file is missing or damaged, lies outside the folder or is not that of a study, or another
            version of fusion-bench wrote the folder.
    """
    study = read_published_study(folder)
    labels = {arm.label for arm in study["arms"]}
    table = read_table(folder, "results.parquet", [*_CELL, *_VALUE], labels)
    measured = table["metric"].notna()
    study |= {
        "cells": table[_CELL].drop_duplicates(["arm", "seed"], ignore_index=True),
        "values": table.loc[measured, ["arm", "role", "seed", "cell", *_VALUE]].reset_index(drop=True),
        "samples": read_samples(folder, study["slices"], study.get("measures", ()), labels),
        "curves": read_table(folder, "curves.parquet", _CURVE, labels),
        "floor_scores": read_floor_scores(folder),
    }
    study["browsed"], study["thumbnails"] = read_browsed(folder)
    study |= {
        name: pd.DataFrame(study[name], columns=[*get_type_hints(kind)]) for name, kind in RECORDS.items()
    }
    study["pictures"]["image"] = [_picture(folder, image) for image in study["pictures"]["image"]]
    study["contexts"] = {
        label: load(inside(folder, report_folder(label))) for label in study.get("contexts", {})
    }
    return StudyResults(**study)


def _picture(folder: Path, written: str) -> str:
    path = inside(folder, written)
    if not path.is_file():
        raise FusionBenchError(
            f"the picture {path} is missing; the folder is not a complete published report"
        )
    return str(path)


def _write_parquet(table: pa.Table, path: Path, sorted_texts: Sequence[str]) -> None:
    """Write ``table``, dictionary-encoded and compressed; ``sorted_texts`` (columns) are stored as differences."""
    others = [name for name in table.column_names if name not in sorted_texts]
    encoding = {name: "DELTA_BYTE_ARRAY" for name in sorted_texts if _is_text(table.schema.field(name).type)}
    with replacing(path) as part:
        pq.write_table(
            table,
            part,
            compression="zstd",
            compression_level=19,
            use_dictionary=others,
            column_encoding=encoding or None,
            write_statistics=False,
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _records(table: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    """Return the rows as JSON types, with None for a missing value."""
    if table.empty:
        return []
    plain = table.reindex(columns=columns).astype(object)
    return [dict(row) for _, row in plain.where(plain.notna(), None).iterrows()]


def _copy_images(chosen: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Copy the images of the chosen samples, reduced; return the samples with their new paths.

    All images are read before the first is written, because they may come from this folder.
    """
    encoded = [_encode_png(Path(image)) for image in chosen["image"]]
    kept = chosen.reset_index(drop=True)
    kept["image"] = [f"pictures/{number}.png" for number in range(1, len(kept) + 1)]
    for old in (folder / "pictures").glob("*.png"):
        old.unlink()
    for name, content in zip(kept["image"], encoded, strict=True):
        with replacing(folder / name) as part:
            part.write_bytes(content)
    return kept


def _encode_png(image: Path) -> bytes:
    reduced = open_image(image)
    reduced.thumbnail(LARGEST_IMAGE)
    buffer = BytesIO()
    reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()

"""The gallery names the file that it cannot show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_bench.errors import DataError
from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.gallery import gallery_size
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.results import StudyResults


def test_a_truncated_picture_is_named(make_results: Callable[..., StudyResults], tmp_path: Path) -> None:
    results = make_results()
    cut = tmp_path / "cut.png"
    cut.write_bytes(Path(results.pictures["image"].iloc[-1]).read_bytes()[:-40])
    results.pictures.loc[results.pictures.index[-1], "image"] = str(cut)
    data = FigureData.of(results, build_tables(results))
    with pytest.raises(DataError, match=r"cut\.png is damaged or not an image"):
        gallery_size(data)

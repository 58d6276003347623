"""The figures of means and differences: their rows have the order of the answer's table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.intervals import (
    differences_size,
    draw_differences,
    draw_means,
    means_size,
)
from fusion_bench.reporting.figures.style import canvas
from fusion_bench.reporting.tables.answer_rows import answer_rows
from fusion_bench.reporting.tables.tables import build_tables
from fusion_bench.results.results import StudyResults

Make = Callable[..., StudyResults]


@pytest.fixture(scope="module")
def data(make_results: Make) -> FigureData:
    results = make_results(seeds=5, clusters=150)
    return FigureData.of(results, build_tables(results))


def drawn(
    data: FigureData,
    size: Callable[[FigureData], tuple[float, float] | None],
    draw: Callable[[FigureData, Figure], None],
) -> Figure:
    inches = size(data)
    assert inches is not None
    with canvas(*inches, data.lettering) as figure:
        draw(data, figure)
    return figure


def labels(figure: Figure, panel: int) -> list[str]:
    return [label.get_text() for label in figure.axes[panel].get_yticklabels()]


def test_arms_stand_in_the_order_of_the_table_with_their_letters_then_controls(data: FigureData) -> None:
    figure = drawn(data, means_size, draw_means)
    rows = answer_rows(data.results, data.tables)
    assert labels(figure, 0)[: len(rows)] == [row.arm for row in rows]
    assert labels(figure, 0) == [*data.tables.order]
    beside = {
        int(note.xy[1]): note.get_text()
        for note in figure.axes[0].texts
        if isinstance(note, Annotation) and note.xy[0] == 1
    }
    assert [beside[position] for position in range(len(rows))] == [row.letters for row in rows]
    assert {row.letters for row in rows} != {""}


def test_differences_stand_in_the_same_order(data: FigureData) -> None:
    figure = drawn(data, differences_size, draw_differences)
    roles = {arm.label: arm.role for arm in data.results.arms}
    assert labels(figure, 0) == [arm for arm in data.tables.order if roles[arm] == "arm"]
    assert labels(figure, 1) == [arm for arm in data.tables.order if roles[arm] == "control"]

"""Figures of many arms: names are readable, arms that are named differ, and axes are fitted to the arms."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.figures import _PLOTS
from fusion_bench.reporting.figures.gallery_lines import sample_lines
from fusion_bench.reporting.figures.heatmaps import draw_slices, slices_size
from fusion_bench.reporting.figures.intervals import draw_means, means_size
from fusion_bench.reporting.figures.limits import fitted_limits
from fusion_bench.reporting.figures.overlays import near_boxes, outline_around
from fusion_bench.reporting.figures.style import REST, SOFT, arm_styles, canvas
from fusion_bench.reporting.figures.trends.costs import costs_size, draw_costs
from fusion_bench.reporting.figures.trends.curves import curves_size, draw_curves
from fusion_bench.reporting.tables.tables import build_tables, records
from fusion_bench.results.results import ArmSummary, StudyResults
from many_arms import with_more_arms

Make = Callable[..., StudyResults]
Size = Callable[[FigureData], tuple[float, float] | None]
Draw = Callable[[FigureData, Figure], None]
TRENDS = [(curves_size, draw_curves), (costs_size, draw_costs)]


@pytest.fixture(scope="module")
def few(make_results: Make) -> FigureData:
    results = make_results(bad_ends=False)
    return FigureData.of(results, build_tables(results))


@pytest.fixture(scope="module")
def many(make_results: Make) -> FigureData:
    results = with_more_arms(make_results(bad_ends=False), 34)
    return FigureData.of(results, build_tables(results))


def drawn(data: FigureData, size: Size, draw: Draw) -> Figure:
    inches = size(data)
    assert inches is not None
    with canvas(*inches, data.lettering) as figure:
        draw(data, figure)
        figure.draw_without_rendering()
    return figure


def named(figure: Figure, data: FigureData) -> dict[str, list[Bbox]]:
    """The places of the names of arms in the charts of a figure, without tick labels."""
    names = set(data.labels.values())
    found: dict[str, list[Bbox]] = {}
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_text() in names:
                found.setdefault(text.get_text(), []).append(Text.get_window_extent(text))
    return found


def summary(label: str, role: str = "arm") -> ArmSummary:
    return ArmSummary(label, role, "film", {}, "", "words", "none", None, None, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [1, 8, 34, 72])
def test_no_two_arms_have_the_same_colour_and_marker(number: int) -> None:
    styles = arm_styles([summary(str(place)) for place in range(number)])
    assert len({(style.color, style.marker) for style in styles.values()}) == number
    if number >= 9:
        assert len({style.marker for style in styles.values()}) == 9  # the marker is not that of the colour
        assert len({style.marker for style in styles.values() if style.color == styles["0"].color}) > 1


def test_no_two_controls_have_the_same_line() -> None:
    styles = arm_styles([summary(str(place), "control") for place in range(12)])
    assert len({(style.color, style.dashes) for style in styles.values()}) == 12


@pytest.mark.parametrize(("size", "draw"), TRENDS)
@pytest.mark.parametrize("count", ["few", "many"])
def test_every_name_of_a_trend_is_inside_the_figure(
    count: str, size: Size, draw: Draw, request: pytest.FixtureRequest
) -> None:
    data: FigureData = request.getfixturevalue(count)
    figure = drawn(data, size, draw)
    names = named(figure, data)
    assert data.results.reference in names
    for box in itertools.chain(*names.values()):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1
    places = [box for boxes in names.values() for box in boxes]
    covered = [pair for pair in itertools.combinations(places, 2) if _covers(*pair)]
    assert not covered


def _covers(one: Bbox, other: Bbox) -> bool:
    """More than the edges of two texts share some area."""
    return Bbox.intersection(one.padded(-2), other.padded(-2)) is not None


@pytest.mark.parametrize(("size", "draw"), TRENDS)
def test_the_rest_is_grey_and_those_with_a_name_differ(many: FigureData, size: Size, draw: Draw) -> None:
    figure = drawn(many, size, draw)
    names = named(figure, many)
    assert 8 <= len(names) <= 14
    assert len({(many.arm_styles[arm].color, many.arm_styles[arm].marker) for arm in names}) == len(names)
    colors = {to_hex(line.get_color()) for axes in figure.axes for line in axes.lines}
    assert REST in colors
    shown = {many.arm_styles[arm].color for arm in names}
    of_others = {many.arm_styles[arm.label].color for arm in many.results.arms} - shown - {SOFT}
    assert not colors & of_others


def test_all_of_few_arms_are_named(few: FigureData) -> None:
    arms = {arm.label for arm in few.results.arms if arm.role != "control"}
    assert set(named(drawn(few, costs_size, draw_costs), few)) == arms
    assert arms <= set(named(drawn(few, curves_size, draw_curves), few))


def test_heights_follow_the_arms(few: FigureData, many: FigureData) -> None:
    for name, plot in _PLOTS.items():
        small, large = plot.size(few), plot.size(many)
        assert small is not None and large is not None
        if name != "samples":  # many arms are grouped there
            assert small[1] < large[1] < 20


def test_the_axis_of_means_is_fitted_to_the_arms(few: FigureData) -> None:
    figure = drawn(few, means_size, draw_means)
    means = few.means(few.results.primary_split).set_index("arm")
    low, high = figure.axes[0].get_xlim()
    for arm in few.results.arms:
        value = means.loc[arm.label, "estimate"]
        assert (low <= value <= high) or arm.role == "control"
    outside = [arm for arm in means.index if means.loc[arm, "estimate"] < low]
    assert outside
    texts = [text.get_text() for text in figure.axes[0].texts]
    for arm in outside:
        assert f"\N{BLACK LEFT-POINTING SMALL TRIANGLE} {100 * means.loc[arm, 'estimate']:.1f}" in texts


def test_limits_show_usual_intervals_and_cut_one_that_is_far_wider() -> None:
    table = pd.DataFrame(
        {"estimate": [0.50, 0.501, 0.502], "low": [0.48, 0.48, 0.0], "high": [0.52, 0.52, 1.0]}
    )
    low, high = fitted_limits(table)
    assert 0.4 < low < 0.48 and 0.52 < high < 0.6
    assert fitted_limits(table.assign(low=float("nan"), high=float("nan")))[0] < 0.5
    one = table.assign(estimate=1.0)
    for ends in ({"low": 1.0, "high": 1.0}, {"low": float("nan"), "high": float("nan")}):
        low, high = fitted_limits(one.assign(**ends))
        assert low < 1.0 < high


SLICES = {
    "the case that collided": {
        "same_class": ["1", "2", "3-4"],
        "words": ["1-3", "4-6", "7-9", "10 and more"],
    },
    "a long name over two values": {"a_name_that_is_far_too_long_for_two": ["no", "yes"], "b": ["no", "yes"]},
    "more values than fit": {"object": [f"category {number}" for number in range(14)], "b": ["no", "yes"]},
}


@pytest.mark.parametrize("case", SLICES)
def test_no_text_of_the_slices_covers_another(few: FigureData, case: str) -> None:
    one = few.tables.slices.drop_duplicates("arm")
    rows = [one.assign(slice=name, value=value) for name, values in SLICES[case].items() for value in values]
    tables = dataclasses.replace(few.tables, slices=pd.concat(rows, ignore_index=True))
    figure = drawn(dataclasses.replace(few, tables=tables), slices_size, draw_slices)
    for axes in figure.axes:
        assert axes.get_title(loc="left") in SLICES[case]
    texts: list[Text] = [axes._left_title for axes in figure.axes]  # type: ignore[attr-defined]
    texts += [label for axes in figure.axes for label in axes.get_xticklabels() if not label.get_rotation()]
    boxes = [text.get_window_extent() for text in texts]
    assert not [pair for pair in itertools.combinations(boxes, 2) if _covers(*pair)]
    assert all(box.x1 <= figure.bbox.x1 + 1 for box in boxes)


def test_many_answers_are_grouped_and_counted(few: FigureData, many: FigureData) -> None:
    for data, grouped in ((few, False), (many, True)):
        row = records(data.results.pictures)[0]
        answers = data.tables.answers[data.tables.answers["sample"] == row["sample"]]
        lines = sample_lines(data, row["truth"], records(answers), {}, wide=False)
        heads = [line.name for line in lines if line.bold]
        assert heads[0] == "truth"
        if not grouped:
            assert [line.name for line in lines[1:]] == list(answers["arm"])
            continue
        counts = [int(head.split(" of ")[0]) for head in heads[1:]]
        assert sum(counts) == len(answers) == 34
        assert len(lines) < 20
        right = [line for line in lines[1:] if line.sign == "\N{CHECK MARK}"]
        assert [line.name for line in right] == [f"{answers['right'].sum()} of 34"] * int(
            answers["right"].any()
        )


def test_a_frame_stands_around_its_box() -> None:
    with canvas(2, 2) as figure:
        axes = figure.subplots()
        frame = outline_around(axes, (10.0, 20.0, 30.0, 50.0), "red", 1.2, 0.7)
        assert isinstance(axes.patches[0], type(frame)) and not isinstance(frame, Line2D)
    assert frame.get_bbox().extents == pytest.approx((8.8, 18.8, 30.2, 50.2))


@pytest.mark.parametrize(
    ("boxes", "whole"),
    [(["10 10 20 20"], False), (["10 10 20 20", "85 50 95 58"], True), (["0 0 5 5", "94 58 96 60"], True)],
)
def test_the_near_part_holds_every_box_and_keeps_its_sides(boxes: list[str], whole: bool) -> None:
    truth, *predictions = boxes
    sample = {"truth": truth, "width": 96, "height": 60}
    left, right, bottom, top = near_boxes(sample, (60, 96), predictions)
    assert (right - left) / (bottom - top) == pytest.approx(96 / 60)
    assert (right - left == pytest.approx(96)) == whole
    for text in boxes:
        x1, y1, x2, y2 = map(float, text.split())
        assert left <= x1 - 0.5 and x2 - 0.5 <= right and top <= y1 - 0.5 and y2 - 0.5 <= bottom


def test_letters_of_many_tie_groups_leave_the_chart_its_width(many: FigureData) -> None:
    ties = many.tables.ties
    longest = dataclasses.replace(ties, letters=("abcdefghijklmnopqrstuvwxyz" * 3, *ties.letters[1:]))
    crowded = dataclasses.replace(many, tables=dataclasses.replace(many.tables, ties=longest))
    figure = drawn(crowded, means_size, draw_means)
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert longest.letters[0] not in texts and not any("share a letter" in text for text in texts)
    assert figure.axes[0].get_position().width > 0.3
    few_letters = [text.get_text() for text in drawn(many, means_size, draw_means).findobj(Text)]
    assert {*ties.letters} <= {*few_letters} and any("share a letter" in text for text in few_letters)

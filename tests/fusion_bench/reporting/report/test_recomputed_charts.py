"""The places of marks and lines in the charts of ``report.html``, read back by the ticks of their own axes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from recomputed import Recomputed
from recomputed_tables import MINUS

Chart = ElementTree.Element
SIZES = {"k": 1e3, "M": 1e6, "G": 1e9}


@pytest.fixture(scope="module")
def page(invented_report: Path) -> tuple[dict[str, Chart], Recomputed]:
    """The charts by their names, and the numbers of the same folder."""
    text = invented_report.with_name("report.html").read_text(encoding="utf-8")
    drawn = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    charts = [ElementTree.fromstring(chart) for chart in drawn]  # noqa: S314 - a page that the test wrote
    return {str(chart.findtext("title")): chart for chart in charts}, Recomputed(invented_report.parent)


def axis(chart: Chart, anchor: str, place: str, *, logarithmic: bool = False) -> Callable[[float], float]:
    """Return the value at a pixel, by the ticks whose texts have this anchor; shares where they are per cent."""
    ticks = [
        text
        for text in chart.iter("text")
        if (text.get("class"), text.get("text-anchor")) == ("tick", anchor)
    ]
    pixels = [float(str(tick.get(place))) - (4 if anchor == "end" else 0) for tick in ticks]
    values = []
    for tick in ticks:
        number, *unit = str(tick.text).replace(MINUS, "-").split()
        values.append(float(number) * {"%": 0.01}.get("".join(unit), SIZES.get("".join(unit), 1.0)))
    assert len(values) > 1
    slope, start = np.polyfit(pixels, np.log(values) if logarithmic else values, 1)
    return lambda pixel: float(np.exp(slope * pixel + start) if logarithmic else slope * pixel + start)


def arms_of(chart: Chart, shape: str) -> dict[str, Chart]:
    """Return the first shape of this name and class of each arm."""
    name, kind = shape.split(".")
    found = {}
    for group in chart.iter("g"):
        shapes = [item for item in group.iter(name) if item.get("class") == kind]
        if shapes:
            found[str(group.get("data-arm"))] = shapes[0]
    return found


def number(shape: Chart, name: str) -> float:
    return float(str(shape.get(name)))


@pytest.mark.parametrize(
    ("name", "quantity"), [("val accuracy", "select/accuracy"), ("training loss", "train/loss")]
)
def test_lines_and_bands_of_learning_curves(
    page: tuple[dict[str, Chart], Recomputed], name: str, quantity: str
) -> None:
    charts, found = page
    chart = charts[f"Learning curves: {name}"]
    seen, value = axis(chart, "middle", "x"), axis(chart, "end", "y")
    top, bottom = value(14.0), value(336.0)
    curves = found.curves[found.curves["quantity"] == quantity]
    lines, bands = arms_of(chart, "polyline.curve"), arms_of(chart, "polygon.band")
    assert {*lines} == {*bands} == {*curves["arm"]}
    near = {"rtol": 0, "atol": 0.002 * (top - bottom)}
    for arm, own in curves.groupby("arm"):
        table = own.groupby("samples_seen")["value"].agg(["mean", "max", "min"]).clip(bottom, top)
        drawn = [tuple(map(float, point.split(","))) for point in str(lines[str(arm)].get("points")).split()]
        np.testing.assert_allclose([seen(x) for x, _ in drawn], table.index.to_numpy(), atol=60)
        np.testing.assert_allclose([value(y) for _, y in drawn], table["mean"], **near)
        band = [tuple(map(float, point.split(","))) for point in str(bands[str(arm)].get("points")).split()]
        edges = [*table["max"], *reversed(list(table["min"]))]
        np.testing.assert_allclose([value(y) for _, y in band], edges, **near)


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("parameters", "fusion_parameters"),
        ("multiply-adds", "fusion_multiply_adds"),
        ("milliseconds", "latency_ms"),
    ],
)
def test_points_of_costs_and_their_front(
    page: tuple[dict[str, Chart], Recomputed], name: str, cost: str
) -> None:
    charts, found = page
    (chart,) = [chart for title, chart in charts.items() if " against " in title and name in title]
    across = max(number(mark, "cx") for mark in arms_of(chart, "circle.mark").values())
    amounts = {arm: found.arms[arm][cost] for arm in found.family(with_reference=True)}
    amount = axis(chart, "middle", "x", logarithmic=max(amounts.values()) > 3 * min(amounts.values()))
    value, marks = axis(chart, "end", "y"), arms_of(chart, "circle.mark")
    assert {*marks} == {*amounts} and across < 690
    for arm, mark in marks.items():
        assert amount(number(mark, "cx")) == pytest.approx(amounts[arm], rel=0.01)
        assert value(number(mark, "cy")) == pytest.approx(found.mean(arm).mean, abs=0.0005)
    means = {arm: found.mean(arm).mean for arm in amounts}
    best = {
        arm
        for arm in amounts
        if not any(amounts[o] <= amounts[arm] and means[o] > means[arm] for o in amounts)
    }
    (front,) = [line for line in chart.iter("polyline") if line.get("class") == "front"]
    corners = {tuple(float(part) for part in point.split(",")) for point in str(front.get("points")).split()}
    for arm, mark in marks.items():
        at = round(number(mark, "cx"), 1), round(number(mark, "cy"), 1)
        on_it = any(abs(at[0] - x) < 0.11 and abs(at[1] - y) < 0.11 for x, y in corners)
        assert on_it == (arm in best)


def test_intervals_of_differences(page: tuple[dict[str, Chart], Recomputed]) -> None:
    charts, found = page
    (chart,) = [chart for title, chart in charts.items() if title.startswith("Paired differences")]
    points, compared = axis(chart, "middle", "x"), found.compared()
    left, right = points(190.0), points(650.0)
    lines = arms_of(chart, "line.interval")
    assert {*lines} == {*compared}
    for arm, line in lines.items():
        ends = np.clip([100 * compared[arm].low, 100 * compared[arm].high], left, right)
        drawn = [points(number(line, end)) for end in ("x1", "x2")]
        np.testing.assert_allclose(drawn, ends, rtol=0, atol=0.002 * (right - left))
    for arm, mark in arms_of(chart, "circle.mark").items():
        assert points(number(mark, "cx")) == pytest.approx(
            100 * compared[arm].mean, abs=0.002 * (right - left)
        )
    (band,) = [item for item in chart.iter("rect") if item.get("class") == "margin"]
    margin = points(number(band, "x") + number(band, "width"))
    assert margin == pytest.approx(100 * found.study["margin"], abs=0.05)

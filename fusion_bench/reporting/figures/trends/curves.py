"""The figure of learning curves: the selection metric and the training loss against the samples seen."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import REST, SOFT, in_percent, in_thousands
from fusion_bench.reporting.figures.trends.panels import most_named, panels_in, panels_size, write_names
from fusion_bench.reporting.tables.formatting import join_words
from fusion_bench.reporting.tables.tables import drawn_quantities

_FEW = 12
_ROOM = 0.05


def curves_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without curves."""
    quantities = drawn_quantities(data.results)
    return panels_size(len(quantities), len(_named(data))) if quantities else None


def draw_curves(data: FigureData, figure: Figure) -> None:
    """Draw the selection metric and the training loss against the number of training samples seen.

    The axes are fitted to the arms. A control that ends outside is named below the figure.
    """
    results, named = data.results, _named(data)
    controls = {arm.label for arm in results.arms if arm.role == "control"}
    outside: list[str] = []
    quantities = drawn_quantities(data.results)
    for axes, quantity in zip(panels_in(figure, len(quantities), len(named)), quantities, strict=True):
        across_seeds = _across_seeds(results.curves[results.curves["quantity"] == quantity])
        _fit(axes, across_seeds, controls)
        ends = {}
        for arm in reversed(_shown(data, across_seeds)):
            own = across_seeds[across_seeds.index.get_level_values("arm") == arm].droplevel("arm")
            _draw_curve(data, axes, arm, own, named=arm in named)
            if arm in named:
                ends[arm] = (float(own.index[-1]), float(own["mean"].iloc[-1]))
        low, high = axes.get_ylim()
        beyond = [arm for arm, (_, end) in ends.items() if arm in controls and not low <= end <= high]
        outside += [arm for arm in beyond if arm not in outside]
        write_names(axes, data, {arm: end for arm, end in ends.items() if arm not in beyond}, len(named))
        axes.set_xlabel("training samples seen")
        axes.set_title(_title(data, quantity))
        if quantity != "train/loss":
            in_percent(axes.yaxis)
    notes = ["band: from the lowest seed to the highest"]
    if outside:
        order = [arm for arm in data.tables.order if arm in outside]
        notes.append(f"outside of a chart: {join_words([data.labels[arm] for arm in order])}")
    if len(named) < len(_shown(data, _across_seeds(results.curves))):
        notes.append("grey: the other arms and controls")
    figure.supxlabel(";  ".join(notes), fontsize=9, color=SOFT)


def _title(data: FigureData, quantity: str) -> str:
    if quantity == "train/loss":
        return "training loss"
    return f"{data.metric(data.results.select_split, quantity.removeprefix('select/'))}, %\n(chooses the weights)"


def _draw_curve(data: FigureData, axes: Axes, arm: str, curve: pd.DataFrame, *, named: bool) -> None:
    """Draw the mean over seeds, and for an arm that is named, a band from the lowest to the highest seed."""
    style = data.arm_styles[arm]
    if not named:
        axes.plot(curve.index, curve["mean"], color=REST, lw=1.0, zorder=1)
        return
    axes.fill_between(curve.index, curve["min"], curve["max"], color=style.color, alpha=0.13, lw=0, zorder=2)
    axes.plot(
        curve.index,
        curve["mean"],
        color=style.color,
        ls=(0, style.dashes) if style.dashes else "-",
        lw=1.8,
        marker=style.marker,
        ms=5,
        mec="white",
        mew=0.6,
        markevery=1 if len(curve) <= _FEW else [len(curve) - 1],
        zorder=3,
    )


def _fit(axes: Axes, across_seeds: pd.DataFrame, controls: set[str]) -> None:
    """Set the limits by the means of the arms, so that no control presses their curves together."""
    of_arms = across_seeds[[arm not in controls for arm in across_seeds.index.get_level_values("arm")]]
    means = (of_arms if len(of_arms) else across_seeds)["mean"]
    room = _ROOM * (means.max() - means.min()) or 0.01
    axes.set_ylim(means.min() - room, means.max() + room)
    last = across_seeds.index.get_level_values("samples_seen").max()
    axes.set_xlim(0, 1.02 * last or 1)  # cells without an epoch have seen nothing
    axes.xaxis.set_major_locator(MaxNLocator(5))
    in_thousands(axes.xaxis)


def _across_seeds(curves: pd.DataFrame) -> pd.DataFrame:
    """Return ``mean, min, max`` by arm and samples seen."""
    return curves.groupby(["arm", "samples_seen"], observed=True)["value"].agg(["mean", "min", "max"])


def _named(data: FigureData) -> Sequence[str]:
    """Return the arms and controls that are drawn in colour: all, or the reference and the best."""
    recorded = set(data.results.curves["arm"])
    ordered = [data.results.reference, *data.tables.order, *(arm.label for arm in data.results.arms)]
    arms = [arm for arm in dict.fromkeys(ordered) if arm in recorded]
    return arms[: most_named(len(arms))]


def _shown(data: FigureData, across_seeds: pd.DataFrame) -> list[str]:
    """Return the arms with a curve, those that are named first."""
    recorded = set(across_seeds.index.get_level_values("arm"))
    others = (arm.label for arm in data.results.arms)
    return [arm for arm in dict.fromkeys([*_named(data), *others]) if arm in recorded]

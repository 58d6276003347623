"""The critical-difference diagram of one study: mean ranks over seeds, and the arms that cannot be told apart.

The form is that of Demšar (*Journal of Machine Learning Research* 7, 2006). The bars are the tie groups of the report
(`fusion_bench.statistics.tie_groups`), not those of a test on ranks: with one data set and a few seeds, ranks alone
decide nothing. A group need not be a run of neighbours in the order of ranks, so each member has a dot on its bar.
"""

from __future__ import annotations

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.style import INK, SOFT, WIDTH
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.tie_groups import TieGroups

_NAME, _BAR, _ABOVE = 0.24, 0.16, 0.75
"""Heights in inches: a name, a bar, and what stands above the first bar."""
_LETTER = re.compile(r"[a-zA-Z]|\(\d+\)")


def mean_ranks(results: StudyResults, tables: Tables) -> tuple[pd.Series, int]:
    """Return the mean rank of each arm with a tie group, from 1 for the best, and the number of seeds.

    Ranks are those on the primary metric and split within one seed, over the seeds that all these arms have; arms
    with equal values share the mean of their ranks. The series is empty without such a seed.
    """
    own = results.on_primary(tables.per_seed)
    own = own[own["arm"].isin(tables.ties.arms)]
    by_seed = (
        own.pivot(index="seed", columns="arm", values="value")
        .reindex(columns=list(tables.ties.arms))
        .dropna()
    )
    rising = results.primary not in results.lower_is_better
    ranks = by_seed.rank(axis=1, ascending=not rising)
    return (ranks.mean() if len(ranks) else pd.Series(dtype="float64")), len(ranks)


def groups(ties: TieGroups) -> list[tuple[str, ...]]:
    """Return the arms of each tie group with at least two, in the order of the letters."""
    letters = {arm: _LETTER.findall(written) for arm, written in zip(ties.arms, ties.letters, strict=True)}
    ordered = dict.fromkeys(letter for found in letters.values() for letter in found)
    members = [tuple(arm for arm in ties.arms if letter in letters[arm]) for letter in ordered]
    return [group for group in members if len(group) > 1]


def diagram_size(data: FigureData) -> tuple[float, float] | None:
    """Return width and height in inches; None without two arms that share a seed."""
    ranks, _ = mean_ranks(data.results, data.tables)
    if len(ranks) < 2:
        return None
    return WIDTH, _ABOVE + _BAR * len(groups(data.tables.ties)) + _NAME * (-(-len(ranks) // 2) + 1)


def draw_diagram(data: FigureData, figure: Figure) -> None:
    """Draw the axis of ranks, a bar per tie group, and the names: the better half left, the other one right."""
    ranks, _ = mean_ranks(data.results, data.tables)
    ranks = ranks.sort_values(kind="stable")
    bars = groups(data.tables.ties)
    size = diagram_size(data)
    assert size is not None  # noqa: S101 - the caller asked
    axes = figure.subplots()
    reach = max(1.0, float(len(ranks) - 1))
    axes.set_xlim(1 - 0.02 * reach, len(ranks) + 0.02 * reach)
    axes.set_ylim(size[1] - 0.45, 0.0)
    axes.grid(visible=False)
    for side in ("left", "bottom", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["top"].set(visible=True, color=INK)
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=4)
    step = max(1, len(ranks) // 12)
    axes.set_xticks(range(1, len(ranks) + 1, step))
    axes.set_yticks([])
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(f"mean rank on {data.primary} (1 is best)")
    for number, group in enumerate(bars):
        height = 0.16 + _BAR * number
        places = [ranks[arm] for arm in group]
        axes.plot([min(places), max(places)], [height, height], color=SOFT, lw=2.2, zorder=3)
        axes.plot(places, [height] * len(places), "o", color=SOFT, ms=4, zorder=3)
    _write_arms(data, axes, ranks, 0.16 + _BAR * len(bars))


def _write_arms(data: FigureData, axes: Axes, ranks: pd.Series, start: float) -> None:
    """Lead a line from the rank of each arm down and to the side, where its name stands."""
    left = -(-len(ranks) // 2)
    ends = axes.get_xlim()
    for number, (arm, rank) in enumerate(ranks.items()):
        is_left = number < left
        line = number if is_left else len(ranks) - 1 - number
        height = start + _NAME * (line + 0.6)
        end = ends[0] if is_left else ends[1]
        style = data.arm_styles[str(arm)]
        axes.plot([rank, rank, end], [0.0, height, height], color=style.color, lw=1.0, zorder=2)
        axes.plot(
            rank, 0.0, style.marker, color=style.color, ms=5, mec="white", mew=0.6, clip_on=False, zorder=4
        )
        axes.annotate(
            f"{data.labels[str(arm)]}  {rank:.2f}" if is_left else f"{rank:.2f}  {data.labels[str(arm)]}",
            (end, height),
            xytext=(-4 if is_left else 4, 0),
            textcoords="offset points",
            ha="right" if is_left else "left",
            va="center",
            fontsize=9,
            color=INK,
            annotation_clip=False,
        )

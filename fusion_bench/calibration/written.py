"""A calibration as files: ``calibration.md`` to read, ``calibration.csv`` with one row per case."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from fusion_bench.calibration.cases import BOUNDS, FEWEST_FOR_TAIL, Case, CaseResult
from fusion_bench.calibration.own_cells import OwnCells
from fusion_bench.storage import write_text

MARKDOWN, TABLE = "calibration.md", "calibration.csv"

_DASH = "\N{EN DASH}"
_DRAWN = {"sums": "", "cells": ", whole tables", "answers": ", right and wrong answers"}
_DETECTABLE = (
    "The first difference, where it is known, is the one that the report calls detectable with 80 % probability: at "
    "the strictest step of Holm's correction. Where all arms differ, later steps are less strict."
)
_PROMISED = {
    "coverage": "coverage of the 95 % interval, mean over the arms",
    "worst_coverage": "the same, the arm with the lowest",
    "family_error": "family-wise error: a study without differences finds one",
    "tail": f"tail: P(p < .05/m), over .05/m, for m comparisons, from m = {FEWEST_FOR_TAIL} on",
}


@dataclass(frozen=True)
class Calibration:
    """The results of a calibration.

    Attributes:
        title: what was calibrated.
        results: the simulated cases.
        own: the study's cells compared with themselves; or why they cannot be; None for the standard cases.
        left_out: the arms of the study that lack seeds of the others, as Markdown.
    """

    title: str
    results: tuple[CaseResult, ...]
    own: OwnCells | str | None = None
    left_out: tuple[str, ...] = ()

    def count(self) -> str:
        """Return how many cases keep their bounds, in one sentence."""
        held = [result.held() for result in self.results]
        asked = len(held) - held.count("")
        return (
            f"{asked} cases with bounds: {held.count('holds')} hold, {held.count('holds within error')} hold within "
            f"two Monte-Carlo errors, {held.count('fails')} fail. {held.count('')} cases tell the power."
        )


def write_calibration(calibration: Calibration, folder: Path) -> Path:
    """Write both files into ``folder`` and return the path of the text."""
    rows = [result.row() for result in calibration.results]
    write_text(folder / TABLE, pd.DataFrame(rows).to_csv(index=False, float_format="%.5g"))
    write_text(folder / MARKDOWN, calibration_text(calibration))
    return folder / MARKDOWN


def _bounds_table() -> str:
    """Return what is promised of each rate; a tail is a ratio, the other rates are shares."""
    rows = [
        f"| {_PROMISED[limited.rate]} | at {'least' if limited.least else 'most'} "
        f"{f'{limited.limit:g}' if limited.rate == 'tail' else f'{100 * limited.limit:g} %'} |\n"
        for limited in BOUNDS
    ]
    return "| Rate | Bound |\n|:--|--:|\n" + "".join(rows)


def calibration_text(calibration: Calibration) -> str:
    """Return the Markdown text: failing cases first."""
    results = calibration.results
    null = [result for result in results if not result.case.effect]
    failing = [result for result in null if result.held() == "fails"]
    near = [result for result in null if result.held() == "holds within error"]
    numbers = sorted({result.rates.studies for result in results}, reverse=True)
    studies = " or ".join(f"{number:,}" for number in numbers)
    parts = [
        f"# {calibration.title}",
        f"{calibration.count()} Each case is {studies} simulated studies. A rate is followed by its Monte-Carlo "
        "error (one standard error). A case fails where a rate is beyond its bound by more than two of them.",
        _bounds_table(),
        "## Cases that fail",
        _null_table(failing) or "None.",
    ]
    if near:
        parts += ["## Cases beyond a bound by at most two Monte-Carlo errors", _null_table(near)]
    if calibration.left_out:
        parts.append(
            f"**Left out**, because they lack seeds of the others: {', '.join(calibration.left_out)}. On the seeds "
            "that they have, they are compared with the reference as two arms alone are."
        )
    parts += _own(calibration.own)
    equal = [result for result in null if result.case.shape.reference_seeds is None]
    further = [result for result in null if result.case.shape.reference_seeds is not None]
    if calibration.own is None:
        parts += [
            "## Worst values by arms and seeds",
            "Over all scatters and numbers of clusters. The variances of two arms tell nothing about each other.",
            _worst_table(equal),
        ]
    else:
        parts += [
            "## Studies of its shape, without differences",
            _components(null[0].case),
            _null_table(equal),
        ]
    if further:
        parts += ["## Without differences, the reference with further seeds", _null_table(further)]
    effects = [result for result in results if result.case.effect]
    if effects:
        note = "" if calibration.own is None else _DETECTABLE
        parts += ["## Power, every arm that far from the reference", note, _power_table(effects)]
    return "\n\n".join([*(part.strip() for part in parts if part), _HOW]) + "\n"


def _components(case: Case) -> str:
    """Return the sentence about the estimated variance components of a study."""
    shape = case.shape
    return (
        "Standard deviations estimated from its cells, in points: an arm over seeds "
        f"{shape.seed_sd:.2f}, a seed on all arms {shape.shared_seed_sd:.2f}, a cluster on an arm "
        f"{shape.cluster_sd:.2f}, what remains of one cluster {shape.residual_sd:.2f}."
    )


def _own(own: OwnCells | str | None) -> list[str]:
    if own is None:
        return []
    heading = "## Its own cells, compared with themselves"
    if isinstance(own, str):
        return [heading, f"Not done: {own}."]
    verdicts = (
        "With fewer than 6 seeds there is no verdict in a half, so that only intervals are checked."
        if math.isnan(own.family_error)
        else f"A false *better* or *worse*: {own.comparison_error:.1%} of comparisons, {own.family_error:.1%} of "
        "splits had one or more."
    )
    further = f" ({own.reference_seeds} of the reference)" if own.reference_seeds > own.seeds else ""
    return [
        heading,
        f"The {own.seeds} seeds{further} of {own.arms} arms were split into two halves {own.splits:,} times. The "
        "pseudo-arm of an arm is the first half minus the second, so that every true value is zero; they are "
        "compared as the study compares its arms, with one reference. Zero is in "
        f"{own.coverage:.1%} of the 95 % intervals. {verdicts}",
        f"All splits use the same {own.cells} cells. More splits do not make more of them: this is one study, and "
        "its error rate can be anything from none to far above 5 % by chance. Effects of images on an arm cancel.",
    ]


ResultColumn = Callable[[CaseResult], str]


def _table(results: Iterable[CaseResult], columns: Mapping[str, ResultColumn]) -> str:
    rows = [[write(result) for write in columns.values()] for result in results]
    if not rows:
        return ""
    sides = ["left", *("right" for _ in range(len(columns) - 1))]
    return tabulate(rows, headers=list(columns), tablefmt="pipe", colalign=sides, disable_numparse=True)


def _null_table(results: Sequence[CaseResult]) -> str:
    return _table(
        results,
        {
            "case": lambda result: described(result.case),
            "coverage": lambda result: _share(result, "coverage"),
            "worst arm": lambda result: _share(result, "worst_coverage"),
            "family-wise error": lambda result: _share(result, "family_error"),
            "tail": lambda result: f"{result.rates.tail:.2f} ± {result.rates.tail_error:.2f}",
            "fails": lambda result: (
                ", ".join(promise.rate.replace("_", " ") for promise in result.broken()) or _DASH
            ),
        },
    )


def _power_table(results: Sequence[CaseResult]) -> str:
    return _table(
        results,
        {
            "case": lambda result: described(result.case),
            "difference, points": lambda result: f"{result.case.effect:g}",
            "power": lambda result: _share(result, "power"),
            "half width, points": lambda result: f"{result.rates.half_width:.1f}",
        },
    )


def _worst_table(results: Sequence[CaseResult]) -> str:
    """Return the worst rates over the cases of each number of arms and seeds."""
    groups: dict[tuple[int, int], list[CaseResult]] = {}
    for result in results:
        groups.setdefault((result.case.shape.arms, result.case.shape.seeds), []).append(result)
    rows = []
    for (arms, seeds), group in sorted(groups.items()):
        lowest = [
            min(group, key=lambda result: float(getattr(result.rates, rate)))
            for rate in ("coverage", "worst_coverage")
        ]
        family = max(group, key=lambda result: result.rates.family_error)
        tail = max(group, key=lambda result: result.rates.tail)
        rows.append(
            [
                f"{arms} arms, {seeds} seeds",
                _share(lowest[0], "coverage"),
                _share(lowest[1], "worst_coverage"),
                _share(family, "family_error"),
                f"{tail.rates.tail:.2f} ± {tail.rates.tail_error:.2f}",
                described(tail.case),
            ]
        )
    headings = ["", "coverage", "worst arm", "family-wise error", "tail", "the case of that tail"]
    sides = ["left", *(["right"] * 4), "left"]
    return tabulate(rows, headers=headings, tablefmt="pipe", colalign=sides, disable_numparse=True)


def described(case: Case) -> str:
    """Return a case in a few words."""
    shape = case.shape
    further = f" ({shape.reference_seeds} of the reference)" if shape.reference_seeds else ""
    parts = [f"{shape.arms} arms", f"{shape.seeds} seeds{further}", f"{shape.clusters:,} clusters"]
    if not shape.cluster_sd:
        parts.append("seeds dominate")
    parts.append({"equal": "equal variances", "log-normal": "log-normal variances"}.get(shape.scatter, ""))
    if shape.scatter in {"one arm", "reference"}:
        parts[-1] = f"{shape.scatter} at 4 times the seed variance"
    return ", ".join(parts) + _DRAWN[case.drawn]


def _share(result: CaseResult, rate: str) -> str:
    value, error = (100 * float(getattr(result.rates, name)) for name in (rate, f"{rate}_error"))
    return f"{value:.1f} ± {error:.1f} %"


_HOW = """\
## How studies are drawn

A study is a table of arms, seeds and clusters: the true value of the arm, the effects of the seed on all arms and on
the arm, of the cluster on the arm, and of all three. Effects are normal. What the statistics need of such a table are
its sums of squares, which are drawn from their known distributions, thousands of studies at once. *Whole tables* are
drawn number by number and compared by the function that compares real cells, and *right and wrong answers* question
by question, through the code that reads the samples of real cells; these cases have a twentieth of the studies.
Where *seeds dominate*, clusters hardly vary. The columns of `calibration.csv` hold the standard deviations in points
(hundredths). *Log-normal variances* differ by a factor of 4 from one standard deviation below their median to one
above.
"""

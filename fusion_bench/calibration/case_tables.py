"""Cases of a calibration and their rates as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from tabulate import tabulate

from fusion_bench.calibration.cases import BOUNDS, FEWEST_FOR_TAIL, Asked, Case, CaseResult
from fusion_bench.statistics.simulation import Scatter

_DASH = "\N{EN DASH}"
_DRAWN = {"sums": "", "cells": ", whole tables", "answers": ", right and wrong answers"}
_SCATTERS: Mapping[Scatter, str] = {
    "equal": "equal variances",
    "log-normal": "log-normal variances",
    "one arm": "one arm at 4 times the seed variance",
    "reference": "reference at 4 times the seed variance",
    "a third": "a third of the arms at 100 times the seed variance",
    "a third and the reference": "a third of the arms and the reference at 100 times the seed variance",
}
_ASKED: Mapping[Asked, str] = {
    "verdicts": "verdicts",
    "controls": "leads over controls",
    "ties": "tie groups",
    "looks": "verdicts at looks",
}
_PROMISED = {
    "coverage": "coverage of the 95 % interval, mean over the comparisons",
    "worst_coverage": "the same, the comparison with the lowest",
    "family_error": "family-wise error: a study without differences finds one",
    "tail": f"tail: P(p < level/m), over level/m, for m tests, from m = {FEWEST_FOR_TAIL} on",
}


def bounds_table() -> str:
    """Return what is promised of each rate; a tail is a ratio, the other rates are shares."""
    rows = [[text, *(_bound(asked, rate) for asked in _ASKED)] for rate, text in _PROMISED.items()]
    sides = ["left", *("right" for _ in _ASKED)]
    return tabulate(rows, headers=["rate", *_ASKED.values()], tablefmt="pipe", colalign=sides)


def _bound(asked: Asked, rate: str) -> str:
    for promise in BOUNDS[asked]:
        if promise.rate == rate:
            limit = f"{promise.limit:g}" if rate == "tail" else f"{100 * promise.limit:g} %"
            return f"at {'least' if promise.least else 'most'} {limit}"
    return _DASH


ResultColumn = Callable[[CaseResult], str]


def _table(results: Iterable[CaseResult], columns: Mapping[str, ResultColumn]) -> str:
    rows = [[write(result) for write in columns.values()] for result in results]
    if not rows:
        return ""
    sides = ["left", *("right" for _ in range(len(columns) - 1))]
    return tabulate(rows, headers=list(columns), tablefmt="pipe", colalign=sides, disable_numparse=True)


def null_table(results: Sequence[CaseResult]) -> str:
    """Return the rates of cases without differences; empty without a case."""
    return _table(
        results,
        {
            "case": lambda result: described(result.case),
            "coverage": lambda result: _share(result, "coverage"),
            "worst comparison": lambda result: _share(result, "worst_coverage"),
            "family-wise error": lambda result: _share(result, "family_error"),
            "tail": _tail,
            "fails": lambda result: (
                ", ".join(promise.rate.replace("_", " ") for promise in result.broken()) or _DASH
            ),
        },
    )


def power_table(results: Sequence[CaseResult]) -> str:
    """Return the power of cases with differences; empty without a case."""
    return _table(
        results,
        {
            "case": lambda result: described(result.case),
            "difference, points": lambda result: f"{result.case.effect:g}",
            "power": lambda result: _share(result, "power"),
            "half width, points": lambda result: (
                _DASH if math.isnan(result.rates.half_width) else f"{result.rates.half_width:.1f}"
            ),
        },
    )


def worst_table(results: Sequence[CaseResult]) -> str:
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
                _tail(tail),
                described(tail.case),
            ]
        )
    headings = ["", "coverage", "worst comparison", "family-wise error", "tail", "the case of that tail"]
    sides = ["left", *(["right"] * 4), "left"]
    return tabulate(rows, headers=headings, tablefmt="pipe", colalign=sides, disable_numparse=True)


def described(case: Case) -> str:
    """Return a case in a few words."""
    shape = case.shape
    further = f" ({shape.reference_seeds} of the reference)" if shape.reference_seeds else ""
    seeds = (
        f"looks at {', '.join(map(str, case.looks))} seeds" if case.looks else f"{shape.seeds} seeds{further}"
    )
    parts = [f"{shape.arms} arms", seeds, f"{shape.clusters:,} clusters"]
    if shape.controls:
        parts.insert(1, f"{shape.controls} controls{_times(shape.control_variance)}")
    if not shape.cluster_sd:
        parts.append("seeds dominate")
    parts.append(_SCATTERS[shape.scatter])
    ties = ", tie groups" if case.asked == "ties" else ""
    return ", ".join(parts) + _DRAWN[case.drawn] + ties


def _times(variance: float) -> str:
    return "" if variance == 1 else f" at {variance:g} times the seed variance"


def _tail(result: CaseResult) -> str:
    return f"{result.rates.tail:.2f} ± {result.rates.tail_error:.2f}"


def _share(result: CaseResult, rate: str) -> str:
    if math.isnan(getattr(result.rates, rate)):
        return _DASH
    value, error = (100 * float(getattr(result.rates, name)) for name in (rate, f"{rate}_error"))
    return f"{value:.1f} ± {error:.1f} %"

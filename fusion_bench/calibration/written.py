"""A calibration as files: ``calibration.md`` to read, ``calibration.csv`` with one row per case."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fusion_bench.calibration.case_tables import bounds_table, null_table, power_table, worst_table
from fusion_bench.calibration.cases import Asked, Case, CaseResult
from fusion_bench.calibration.own_cells import OwnCells
from fusion_bench.storage import write_text

MARKDOWN, TABLE = "calibration.md", "calibration.csv"

_DETECTABLE = (
    "The first difference, where it is known, is the one that the report calls detectable with 80 % probability: at "
    "the strictest step of Holm's correction. Where all arms differ, later steps are less strict."
)

_WITHOUT_DIFFERENCES: Mapping[Asked, str] = {
    "controls": "## Leads over controls, the arms as good as the best control",
    "ties": "## Tie groups, all arms equally good",
    "looks": "## Looks, all arms equally good",
}
_NOTES: Mapping[Asked, str] = {
    "controls": "All arms are compared with the same controls, so that errors come together: where the tail is heavy "
    "and the family-wise error is not, few studies err, and each of them for several arms.",
    "looks": "An error is an arm that some look calls better or worse.",
    "ties": "An error is a pair of equal arms without a common letter, over all pairs of a study.",
}
_POWER: Mapping[Asked, str] = {
    "verdicts": "## Power, every arm that far from the reference",
    "controls": "## Power of leads over controls, every arm that far ahead of the best control",
    "ties": "## Power of tie groups, one arm that far from all others",
    "looks": "## Power of looks, every arm that far from the reference",
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
        bounds_table(),
        "## Cases that fail",
        null_table(failing) or "None.",
    ]
    if near:
        parts += ["## Cases beyond a bound by at most two Monte-Carlo errors", null_table(near)]
    if calibration.left_out:
        parts.append(
            f"**Left out**, because they lack seeds of the others: {', '.join(calibration.left_out)}. The study "
            "compares them with the reference, as two arms alone, on the seeds that they share with it, if any."
        )
    parts += _own(calibration.own)
    verdicts = [result for result in null if result.case.asked == "verdicts"]
    equal = [result for result in verdicts if result.case.shape.reference_seeds is None]
    further = [result for result in verdicts if result.case.shape.reference_seeds is not None]
    if calibration.own is None:
        parts += [
            "## Worst values by arms and seeds",
            "Over all scatters and numbers of clusters. The variances of two arms tell nothing about each other.",
            worst_table(equal),
        ]
    else:
        parts += [
            "## Studies of its shape, without differences",
            _components(null[0].case),
            null_table(equal),
        ]
    if further:
        parts += ["## Without differences, the reference with further seeds", null_table(further)]
    for asked, heading in _WITHOUT_DIFFERENCES.items():
        if found := [result for result in null if result.case.asked == asked]:
            parts += [heading, _NOTES[asked], null_table(found)]
    for asked, heading in _POWER.items():
        if found := [result for result in results if result.case.asked == asked and result.case.effect]:
            note = _DETECTABLE if asked in {"verdicts", "looks"} and calibration.own is not None else ""
            parts += [heading, note, power_table(found)]
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
    unused = (
        f" The {own.unused_seeds} further seeds of the reference, which the study uses unpaired, are left out: half "
        "of them would be too few to be used so."
        if own.unused_seeds
        else ""
    )
    return [
        heading,
        f"The {own.seeds} seeds{further} of {own.arms} arms were split into two halves {own.splits:,} times. The "
        "pseudo-arm of an arm is the first half minus the second, so that every true value is zero; they are "
        "compared as the study compares its arms, with one reference. Zero is in "
        f"{own.coverage:.1%} of the 95 % intervals. {verdicts}{unused}",
        f"All splits use the same {own.cells} cells. More splits do not make more of them: this is one study, and "
        "its error rate can be anything from none to far above 5 % by chance. Effects of images on an arm cancel.",
    ]


_HOW = """\
## How studies are drawn

A study is a table of arms, seeds and clusters: the true value of the arm, the effects of the seed on all arms and on
the arm, of the cluster on the arm, and of all three. Effects are normal. What the statistics need of such a table are
its sums of squares, which are drawn from their known distributions, thousands of studies at once. *Whole tables* are
drawn number by number and compared by the function that compares real cells, and *right and wrong answers* question
by question, through the code that reads the samples of real cells; these cases have a twentieth of the studies.
Where *seeds dominate*, clusters hardly vary. The columns of `calibration.csv` hold the standard deviations in points
(hundredths). *Leads over controls* have two controls, one of them 30 points behind the other, so that one alone
decides, where errors are most frequent. An error is an arm that is said to be ahead of both; the level is 2.5 %.
Cases of *tie groups* have a fifth of the studies. *Log-normal variances* differ by a factor of 4 from one standard
deviation below their median to one above. *A third of the arms at 100 times the seed variance*: these arms are still
learning, the others have converged.
"""

"""The standard cases, and the cases of the shape of one study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import get_args

from fusion_bench.calibration.cases import Case, DrawnAs
from fusion_bench.statistics.simulation import Scatter, StudyShape

_SEED_SD = 1.6
"""Points; what trainings of one arm scatter by in the published comparison of all modules."""

_ALONE = StudyShape(2, 3, 20, _SEED_SD, residual_sd=1.0)
"""Seeds dominate: two arms, 20 clusters that hardly vary."""

_MIXED = StudyShape(2, 3, 20, _SEED_SD, shared_seed_sd=0.4, cluster_sd=15.0, residual_sd=40.0)
"""All components: a cluster holds a few questions, which an arm answers better or worse than another arm."""

_ARMS, _SEEDS, _CLUSTERS = (3, 6, 27), (3, 5, 10), (20, 300, 3000)
_TWO: tuple[Scatter, ...] = ("equal", "reference")
_UNEQUAL: tuple[Scatter, ...] = (*_TWO, "one arm", "a third")
_USUAL: tuple[Scatter, ...] = ("equal", "log-normal", "a third")
_EFFECTS = (
    (27, 3, 2.0),
    (27, 3, 4.0),
    (27, 3, 8.0),
    (27, 5, 2.0),
    (27, 5, 4.0),
    (27, 5, 8.0),
    (6, 3, 8.0),
    (6, 5, 4.0),
)
_CONTROL_VARIANCES = (0.25, 1.0, 4.0)
_OF_ARMS: tuple[Scatter, ...] = ("equal", "one arm", "log-normal")
_EFFECTS_OF_FAMILIES = ((6, 3, 8.0), (6, 5, 4.0), (27, 3, 8.0), (27, 5, 4.0))


def standard_cases() -> tuple[Case, ...]:
    """Return the standard cases: verdicts, then leads over controls, then tie groups.

    Verdicts have all arms, seeds and scatters, seeds that dominate and mixtures of all components.
    """
    return (*_verdict_cases(), *_control_cases(), *_tie_cases())


def _control_cases() -> Iterator[Case]:
    """Yield cases of two controls: one decides, the other is far behind it."""
    shape = replace(_ALONE, controls=2)
    for seeds, arms, variance in product(_SEEDS, _ARMS, _CONTROL_VARIANCES):
        yield Case(replace(shape, arms=arms, seeds=seeds, control_variance=variance), asked="controls")
    mixed = replace(_MIXED, clusters=300, scatter="log-normal", controls=2)
    for seeds, arms in product(_SEEDS, (6, 27)):
        yield Case(replace(mixed, arms=arms, seeds=seeds), asked="controls")
    for arms, seeds, effect in _EFFECTS_OF_FAMILIES:
        yield Case(replace(shape, arms=arms, seeds=seeds), effect, asked="controls")


def _tie_cases() -> Iterator[Case]:
    for seeds, arms, scatter in product(_SEEDS, _ARMS, _OF_ARMS):
        yield Case(replace(_ALONE, arms=arms, seeds=seeds, scatter=scatter), asked="ties")
    for seeds, arms in product(_SEEDS, (3, 6)):
        yield Case(replace(_MIXED, clusters=300, arms=arms, seeds=seeds), asked="ties")
    for arms, seeds, effect in _EFFECTS_OF_FAMILIES:
        yield Case(replace(_ALONE, arms=arms, seeds=seeds), effect, asked="ties")


def _verdict_cases() -> Iterator[Case]:
    shapes = [_ALONE, *(replace(_MIXED, clusters=clusters) for clusters in _CLUSTERS)]
    for shape, seeds, arms, scatter in product(shapes, _SEEDS, _ARMS, get_args(Scatter)):
        yield Case(replace(shape, arms=arms, seeds=seeds, scatter=scatter))
    for shape, seeds, scatter in product((_ALONE, shapes[2]), _SEEDS, _TWO):
        yield Case(replace(shape, seeds=seeds, scatter=scatter))
    # A reference with further seeds, compared unpaired; with fewer than three other arms it is compared paired.
    for arms, (few, many), scatter in product((4, 6, 27), ((3, 8), (5, 12)), _UNEQUAL):
        yield Case(
            replace(_ALONE, arms=arms, seeds=few, reference_seeds=many, scatter=scatter), drawn="cells"
        )
    # Whole tables check the sums; answers check all the way from the samples.
    for arms, seeds, scatter in product((6, 27), (3, 5), _TWO):
        yield Case(replace(_MIXED, arms=arms, seeds=seeds, clusters=300, scatter=scatter), drawn="cells")
    for clusters, seeds, scatter in product((50, 300), (3, 5), _TWO):
        yield Case(
            replace(_MIXED, arms=6, seeds=seeds, clusters=clusters, residual_sd=0.0, scatter=scatter),
            drawn="answers",
        )
    for arms, seeds, effect in _EFFECTS:
        for scatter in _USUAL:
            yield Case(replace(_ALONE, arms=arms, seeds=seeds, scatter=scatter), effect)


def cases_of_looks(shape: StudyShape, looks: tuple[int, ...], detectable: float) -> tuple[Case, ...]:
    """Return the cases of one study with looks.

    Args:
        shape: its shape at the seeds that all arms have, in points.
        looks: the numbers of seeds of its looks.
        detectable: see `cases_of_shape`.
    """
    whole = replace(shape, seeds=looks[-1], reference_seeds=None)
    null = [
        Case(replace(whole, scatter=scatter), drawn="cells", asked="looks", looks=looks)
        for scatter in get_args(Scatter)
    ]
    effects = [round(detectable, 2), 2.0, 4.0, 8.0]
    powers = [Case(whole, effect, "cells", "looks", looks) for effect in effects if effect > 0]
    return (*null, *powers)


def cases_of_shape(shape: StudyShape, detectable: float) -> tuple[Case, ...]:
    """Return the cases of one study.

    Without effects under every scatter; with effects of the difference that the study is said to detect, and of 2, 4
    and 8 points.

    Args:
        shape: the shape of the study, in points.
        detectable: the difference that it is said to detect with 80 % probability, in points; NaN if not known.
    """
    drawn: DrawnAs = "sums" if shape.reference_seeds is None else "cells"
    null = [Case(replace(shape, scatter=scatter), drawn=drawn) for scatter in get_args(Scatter)]
    effects = [round(detectable, 2), 2.0, 4.0, 8.0]
    return (*null, *(Case(shape, effect, drawn) for effect in effects if effect > 0))

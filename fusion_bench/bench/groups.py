"""The groups of benchmarks that ``fusion-bench bench all`` runs, those of installed packages included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import torch

from fusion_bench.bench.data import measure_decoding, measure_making, measure_maps, measure_questions
from fusion_bench.bench.outside_training import measure_outside_training
from fusion_bench.bench.peers import HARNESS, measure_peers
from fusion_bench.bench.small_commands import measure_help, measure_plan, measure_statistics
from fusion_bench.bench.step import ARMS, StepTime, measure_steps
from fusion_bench.bench.targets import Line
from fusion_bench.errors import FusionBenchError
from fusion_bench.foreign import importing

Group = Callable[[bool], list[Line]]
"""Measures a group and returns its lines; takes True for a short form."""

ENTRY_POINTS = "fusion_bench.benchmarks"
"""The entry-point group through which a package offers groups of its own."""

_STEP_RATIOS = {"film": 1.7, "laconv": 2.1}
_LACONV_TO_FILM = 2.0
_HARNESS_RATIO = 1.03
_CPU = torch.device("cpu")


def _commands(quick: bool) -> list[Line]:
    lines = measure_help(repeats=2 if quick else 5)
    study = Path("studies/line_up.yaml")
    if study.exists():  # an installed package has no studies
        lines += measure_plan(study, repeats=1 if quick else 3)
    return lines + measure_statistics(repeats=1 if quick else 3)


def _step(quick: bool) -> list[Line]:
    """Measure training steps; LaConv's relative to FiLM's, and in the long form relative to its multiply-adds too.

    Two processors of one name took the same time for a step and differed 1.6 times in the rate of a matrix product,
    so the short form, which must hold on both, compares two steps, whose multiply-adds are equal to 2 %.
    """
    times = {time.arm: time for time in measure_steps(ARMS, _CPU, repeats=3 if quick else 15)}
    film, laconv = times["film"], times["laconv"]
    item = f"training step of laconv, {laconv.milliseconds:.1f} ms"
    relative = laconv.milliseconds / film.milliseconds
    return [
        *(_beside_multiply_adds(time) for time in ([film] if quick else [film, laconv])),
        Line(item, "CPU time over that of film", _LACONV_TO_FILM, "lower", relative, "times"),
    ]


def _beside_multiply_adds(time: StepTime) -> Line:
    return Line(
        f"training step of {time.arm}, {time.milliseconds:.1f} ms",
        "CPU time over its multiply-adds alone",
        _STEP_RATIOS[time.arm],
        "lower",
        time.ratio,
        "times",
    )


def _peers(quick: bool) -> list[Line]:
    relative = {time.loop: time.relative for time in measure_peers(_CPU, repeats=3 if quick else 15)}
    item, quantity = "training step of film in the harness", "CPU time over that of a minimal loop"
    return [Line(item, quantity, _HARNESS_RATIO, "lower", relative[HARNESS], "times")]


def _data(quick: bool) -> list[Line]:
    making, questions, others = ({"images": 128, "repeats": 1}, {"images": 200, "repeats": 1}, {"repeats": 2})
    if not quick:
        making = questions = others = {}
    lines = [measure_making(**making), measure_questions(**questions), measure_maps(**others)]
    return lines + measure_decoding(**others)


def _run(quick: bool) -> list[Line]:
    study = Path("studies/quickstart.yaml")
    if quick or not study.exists():  # it takes a minute
        return []
    return [measure_outside_training(study)]


_OWN: Mapping[str, Group] = {
    "commands": _commands,
    "step": _step,
    "peers": _peers,
    "data": _data,
    "run": _run,
}


def group_names() -> list[str]:
    """Return the names of the groups: the harness's own, then those of packages in the order of their names."""
    return [*_OWN, *sorted(entry_points(group=ENTRY_POINTS).names - _OWN.keys())]


def load_group(name: str) -> Group:
    """Return a group by its name.

    Raises:
        FusionBenchError: there is no such group, or the package that offers it cannot be imported.
    """
    if name in _OWN:
        return _OWN[name]
    points = tuple(entry_points(group=ENTRY_POINTS, name=name))
    if not points:
        raise FusionBenchError(f"there are no benchmarks {name!r}; choose among {', '.join(group_names())}")
    with importing(points[0].module, points[0].value, f"the benchmarks {name} cannot be imported"):
        group: Group = points[0].load()
    return group

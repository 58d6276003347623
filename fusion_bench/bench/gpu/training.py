"""Measures training steps on a GPU: ``python -m fusion_bench.bench.gpu.training step|peers OUT [--toy]``.

It is a part of ``tools/gpu_check.sh`` and needs torch, timm and pandas. With ``--toy`` the sizes are tiny and no goal
is judged; on a CPU nothing is then compiled.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from fusion_bench.bench.gpu.outcome import PartOutcome
from fusion_bench.bench.peers import COMPILED, HARNESS, PUBLIC, measure_peers
from fusion_bench.bench.step import (
    ARMS,
    COMPILES,
    GPU_STEPS,
    STEP_HEADINGS,
    StepTime,
    measure_steps,
    step_row,
)
from fusion_bench.bench.synthetic import StepSize
from fusion_bench.bench.targets import Line
from fusion_bench.bench.timing import benchmark_device, machine_name
from fusion_bench.errors import FusionBenchError

TOY = StepSize(batch=4, map_shape=(8, 2, 3), width=16, depth=1, words=3, vocabulary=5, answers=3)
_BUSY, _TIMES_PUBLIC = 0.9, 5.0


def measure_step_part(out: Path, device: torch.device, *, toy: bool) -> int:
    """Measure the steps of each arm, plain and compiled, and return the exit code."""
    outcome = PartOutcome(out, "step", _machine(device), STEP_HEADINGS)
    for name, arm in ARMS.items():
        arms = {name: arm}
        with _not_compiled(device, toy=toy):
            if toy:
                times = measure_steps(arms, device, size=TOY, steps=3, repeats=1, compiles=COMPILES)
            else:
                times = measure_steps(arms, device, steps=GPU_STEPS, repeats=2, compiles=COMPILES, warm_up=0)
        for time in times:
            outcome.add(step_row(time), time)
        if not toy:
            outcome.judge(_step_goals(name, times))
    return outcome.end()


def _step_goals(name: str, times: list[StepTime]) -> list[Line]:
    """Return the goals of one arm: the better of its steps keeps the GPU busy, and none of them waits for it."""
    activities = [time.activity for time in times if time.activity is not None]
    busy = max((activity.busy for activity in activities), default=float("nan"))
    waits = sum(sum(activity.waits.values()) for activity in activities)
    item = f"training of {name}"
    return [
        Line(item, "share of an epoch in which the GPU works", _BUSY, "higher", busy, "of 1"),
        Line(item, "waits for the GPU within an epoch", 0.0, "lower", waits, "waits"),
    ]


def measure_peers_part(out: Path, device: torch.device, *, toy: bool) -> int:
    """Measure the harness beside other loops and return the exit code."""
    outcome = PartOutcome(
        out, "peers", _machine(device), ("loop", "ms a step", "relative to the minimal loop")
    )
    with _not_compiled(device, toy=toy):
        times = (
            measure_peers(device, size=TOY, steps=3, repeats=1)
            if toy
            else measure_peers(device, steps=60, repeats=3)
        )
    for time in times:
        outcome.add((time.loop, f"{time.milliseconds:.2f}", f"{time.relative:.3f}"), time)
    if not toy:
        relative = {time.loop: time.relative for time in times}
        best = min(relative[name] for name in (HARNESS, COMPILED) if name in relative)
        quantity = "speed relative to a loop in the style of public code"
        line = Line(
            "training of film in the harness",
            quantity,
            _TIMES_PUBLIC,
            "higher",
            relative[PUBLIC] / best,
            "times",
        )
        outcome.judge([line])
    return outcome.end()


def _machine(device: torch.device) -> str:
    return f"{machine_name(device)}, torch {torch.__version__}"


def _not_compiled(device: torch.device, *, toy: bool) -> AbstractContextManager[object]:
    """Return a context in which a toy run on a CPU compiles nothing, which would take a minute."""
    stance: AbstractContextManager[object] = nullcontext()
    if toy and device.type == "cpu":
        stance = torch.compiler.set_stance("force_eager")
    return stance


PARTS: Mapping[str, Callable[..., int]] = {"step": measure_step_part, "peers": measure_peers_part}


def main(arguments: list[str] | None = None) -> int:
    """Run one part and return its exit code: 1 for a missed goal, 2 for a device that is not there."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.bench.gpu.training", description=__doc__)
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args(arguments)
    try:
        return PARTS[given.part](given.out, benchmark_device(given.device), toy=given.toy)
    except FusionBenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())

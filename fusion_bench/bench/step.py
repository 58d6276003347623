"""``fusion-bench bench step``: the time of a training step of an arm, relative to its multiply-adds alone.

On a GPU each arm is also measured with ``train.compile: reduce-overhead``, and the share of an epoch in which the GPU
works is measured in an epoch of its own, because a profiler costs time.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch.utils.flop_counter import FlopCounterMode

from fusion_bench.bench.activity import EpochActivity, epoch_activity
from fusion_bench.bench.synthetic import QUICKSTART, BenchmarkArm, StepSize, synthetic_config, synthetic_data
from fusion_bench.bench.timing import in_turn, multiply_add_seconds, seconds_now
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig
from fusion_bench.training.fit.step_done import StepDone
from fusion_bench.training.loop import Trainer, build_model

ARMS: Mapping[str, BenchmarkArm] = {
    "film": BenchmarkArm("fusion_modules.film:FiLM"),
    "laconv": BenchmarkArm(
        "fusion_modules.laconv:LaConv", {"kernel_size": 3, "dropout": 0.0, "kernel_dropout": 0.0}
    ),
}
"""The two arms of ``studies/quickstart.yaml`` whose steps are compared with the machine's limit.

They are named by path, because a machine on which nothing is installed knows no registered names.
"""


Compile: TypeAlias = Literal["none", "reduce-overhead"]


@dataclass(frozen=True)
class StepTime:
    """The time of a training step of one arm.

    Attributes:
        arm: its name.
        milliseconds: the median time of a step.
        multiply_adds: those of the forward and the backward pass of a step, as torch counts them.
        floor: the milliseconds that these take at the rate of a large matrix product measured in the same repeats.
        ratio: the median over the repeats of the time relative to the floor.
        compile: the setting ``train.compile``.
        activity: what the GPU does in an epoch; None on a CPU.
    """

    arm: str
    milliseconds: float
    multiply_adds: int
    floor: float
    ratio: float
    compile: Compile = "none"
    activity: EpochActivity | None = None


COMPILES: Sequence[Compile] = ("none", "reduce-overhead")
"""The settings that are compared on a GPU."""
GPU_STEPS = 100
"""Steps of an epoch on a GPU, where a step takes a few milliseconds."""
STEP_HEADINGS = (
    "arm",
    "compile",
    "ms a step",
    "million multiply-adds",
    "ms for these alone",
    "times as long",
    "GPU busy",
    "waits for the GPU",
)


def step_row(time: StepTime) -> tuple[str, ...]:
    """Return the cells of a table with the headings `STEP_HEADINGS`."""
    activity = time.activity
    waits = {} if activity is None else activity.waits
    return (
        time.arm,
        time.compile,
        f"{time.milliseconds:.2f}",
        f"{time.multiply_adds / 1e6:,.0f}",
        f"{time.floor:.2f}",
        f"{time.ratio:.2f}",
        "" if activity is None else f"{activity.busy:.0%}",
        "" if activity is None else ", ".join(f"{count} {name}" for name, count in waits.items()) or "none",
    )


def measure_steps(
    arms: Mapping[str, BenchmarkArm],
    device: torch.device,
    *,
    size: StepSize = QUICKSTART,
    steps: int = 12,
    repeats: int = 9,
    compiles: Sequence[Compile] = ("none",),
    warm_up: int = 1,
) -> list[StepTime]:
    """Time training steps in the harness, on one thread.

    Args:
        arms: the arms, by name.
        device: the device that computes.
        size: the sizes of a step.
        steps: number of steps per repeat.
        repeats: number of repeats; arms and the matrix product take turns in each.
        compiles: the settings ``train.compile`` with which each arm is timed.
        warm_up: number of repeats before those that count; each compiles a compiled arm anew.
    """
    torch.set_num_threads(1)
    data = synthetic_data(size, steps)
    configs = {
        (name, compile_): with_compile(synthetic_config(arm, size), compile_)
        for name, arm in arms.items()
        for compile_ in compiles
    }
    works = {
        " ".join(key): partial(seconds_per_step, config, data, device) for key, config in configs.items()
    }
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16  # the precision of a training there
    seconds = in_turn({"": partial(multiply_add_seconds, device, dtype), **works}, repeats, warm_up=warm_up)
    rates = seconds.pop("")
    times = []
    for ((name, compile_), config), values in zip(configs.items(), seconds.values(), strict=True):
        count = multiply_adds_per_step(config, data, device)
        ratios = [value / (count * rate) for value, rate in zip(values, rates, strict=True)]
        floor = 1e3 * count * statistics.median(rates)
        activity = None
        if device.type == "cuda":
            activity = epoch_activity(config, data, device, skipped=_skipped(config, steps))
        milliseconds = 1e3 * statistics.median(values)
        times.append(
            StepTime(name, milliseconds, count, floor, statistics.median(ratios), compile_, activity)
        )
    return times


def with_compile(config: CellConfig, compile_: Compile) -> CellConfig:
    """Return the settings with another ``train.compile``."""
    return replace(config, train=replace(config.train, compile=compile_))


def _skipped(config: CellConfig, steps: int) -> int:
    """Return how many first steps are not measured: a compiled step first compiles, then records its graphs."""
    return min(2 if config.train.compile == "none" else 5, steps - 1)


def seconds_per_step(config: CellConfig, data: CellData, device: torch.device) -> float:
    """Return the mean seconds of the steps of one epoch in the harness, without the first ones."""
    clock: list[float] = []
    steps = len(data.encoded[data.splits.train].split) // config.train.batch_size
    skipped = _skipped(config, steps)

    def note(done: StepDone) -> None:
        if done.phase == "training" and done.step in {skipped, steps}:
            clock.append(seconds_now(device))

    Trainer(config, data, device, lambda _: None, on_step=note).train()
    began, ended = clock
    return (ended - began) / (steps - skipped)


def multiply_adds_per_step(config: CellConfig, data: CellData, device: torch.device) -> int:
    """Return the multiply-adds of forward and backward pass of one step, half of torch's floating-point operations.

    Element-wise work, norms, softmax and the optimizer are not counted.
    """
    model = build_model(config, data).to(device)
    batch = BatchLoader(data.encoded[data.splits.train], data, device).batch(
        torch.arange(config.train.batch_size)
    )
    with FlopCounterMode(display=False) as counter:
        data.task.loss(model(batch), batch.target).backward()
    operations: int = counter.get_total_flops()
    return operations // 2

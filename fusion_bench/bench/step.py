"""``fusion-bench bench step``: the time of a training step of an arm, relative to its multiply-adds alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from fusion_bench.bench.synthetic import QUICKSTART, BenchmarkArm, StepSize, synthetic_config, synthetic_data
from fusion_bench.bench.timing import in_turn, multiply_add_seconds, seconds_now
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import CellConfig
from fusion_bench.training.fit.step_done import StepDone
from fusion_bench.training.loop import Trainer, build_model

ARMS: Mapping[str, BenchmarkArm] = {
    "film": BenchmarkArm("film"),
    "laconv": BenchmarkArm("laconv", {"kernel_size": 3, "dropout": 0.0, "kernel_dropout": 0.0}),
}
"""The two arms of ``studies/quickstart.yaml`` whose steps are compared with the machine's limit."""


@dataclass(frozen=True)
class StepTime:
    """The time of a training step of one arm.

    Attributes:
        arm: its name.
        milliseconds: the median time of a step.
        multiply_adds: those of the forward and the backward pass of a step, as torch counts them.
        floor: the milliseconds that these take at the rate of a large matrix product measured in the same repeats.
        ratio: the median over the repeats of the time relative to the floor.
    """

    arm: str
    milliseconds: float
    multiply_adds: int
    floor: float
    ratio: float


def measure_steps(
    arms: Mapping[str, BenchmarkArm],
    device: torch.device,
    *,
    size: StepSize = QUICKSTART,
    steps: int = 12,
    repeats: int = 9,
) -> list[StepTime]:
    """Time training steps in the harness, on one thread.

    Args:
        arms: the arms, by name.
        device: the device that computes.
        size: the sizes of a step.
        steps: number of steps per repeat.
        repeats: number of repeats; arms and the matrix product take turns in each.
    """
    torch.set_num_threads(1)
    data = synthetic_data(size, steps)
    configs = {name: synthetic_config(arm, size) for name, arm in arms.items()}
    works = {name: partial(seconds_per_step, config, data, device) for name, config in configs.items()}
    seconds = in_turn({"": partial(multiply_add_seconds, device), **works}, repeats)
    rates = seconds.pop("")
    times = []
    for name, values in seconds.items():
        count = multiply_adds_per_step(configs[name], data, device)
        ratios = [value / (count * rate) for value, rate in zip(values, rates, strict=True)]
        floor = 1e3 * count * statistics.median(rates)
        times.append(StepTime(name, 1e3 * statistics.median(values), count, floor, statistics.median(ratios)))
    return times


def seconds_per_step(config: CellConfig, data: CellData, device: torch.device) -> float:
    """Return the mean seconds of the steps of one epoch in the harness, without the first two."""
    clock: list[float] = []

    def note(done: StepDone) -> None:
        if done.phase == "training" and done.step in {min(2, done.steps - 1), done.steps}:
            clock.append(seconds_now(device))

    Trainer(config, data, device, lambda _: None, on_step=note).train()
    began, ended = clock
    steps = len(data.encoded[data.splits.train].split) // config.train.batch_size
    return (ended - began) / (steps - min(2, steps - 1))


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

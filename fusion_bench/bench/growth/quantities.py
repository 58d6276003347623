"""The quantities whose growth is measured, each with the size that varies and the values that it takes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import torch

from fusion_bench.bench.growth.reading import seconds_of_reading
from fusion_bench.bench.growth.studies import plan_arms, plan_cells, report_cells, run_cells
from fusion_bench.bench.small_commands import TableShape, measure_statistics
from fusion_bench.bench.step import ARMS, seconds_per_step
from fusion_bench.bench.synthetic import QUICKSTART, BenchmarkArm, StepSize, synthetic_config, synthetic_data
from fusion_bench.training.loop import Trainer

_STEPS = 5


@dataclass(frozen=True)
class Quantity:
    """A cost that depends on one size.

    Attributes:
        title: what is measured.
        axis: the size that varies.
        sizes: the values of the size.
        seconds: measures the cost at one size and returns seconds.
        by_commands: True if other processes do the work.
    """

    title: str
    axis: str
    sizes: tuple[int, ...]
    seconds: Callable[[int], float]
    by_commands: bool = False


def _step_seconds(arm: BenchmarkArm, size: StepSize) -> float:
    torch.set_num_threads(1)
    config = synthetic_config(arm, size)
    return seconds_per_step(config, synthetic_data(size, _STEPS), torch.device("cpu"))


def _with_positions(arm: BenchmarkArm, side: int) -> float:
    channels = QUICKSTART.map_shape[0]
    return _step_seconds(arm, replace(QUICKSTART, batch=16, map_shape=(channels, side, side)))


def _with_words(arm: BenchmarkArm, words: int) -> float:
    return _step_seconds(arm, replace(QUICKSTART, words=words))


def _with_width(arm: BenchmarkArm, width: int) -> float:
    return _step_seconds(arm, replace(QUICKSTART, width=width))


def _with_samples(arm: BenchmarkArm, samples: int) -> float:
    """Return the seconds of an epoch."""
    torch.set_num_threads(1)
    steps = samples // QUICKSTART.batch
    data = synthetic_data(QUICKSTART, steps, images=samples // 10)
    return steps * seconds_per_step(synthetic_config(arm, QUICKSTART), data, torch.device("cpu"))


def _with_workers(count: int) -> float:
    """Return the wall time of the slowest of so many processes that train an epoch at the same time."""
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in range(2):  # in the first round they import torch
            seconds = max(pool.map(_wall_seconds, range(count)))
    return seconds


def _wall_seconds(_: int) -> float:
    torch.set_num_threads(1)
    data, config = synthetic_data(QUICKSTART, 40), synthetic_config(ARMS["film"], QUICKSTART)
    trainer = Trainer(config, data, torch.device("cpu"), lambda _: None)
    began = time.perf_counter()
    trainer.train()
    return time.perf_counter() - began


def _statistics(samples: int) -> float:
    (line,) = measure_statistics(TableShape(samples=samples, clusters=samples // 10), repeats=1)
    return line.measured


def _statistics_of_cells(arms: int) -> float:
    (line,) = measure_statistics(TableShape(arms=arms, controls=2), repeats=1)
    return line.measured


_STEP_ARMS: Mapping[str, BenchmarkArm] = {
    **ARMS,
    "cross_attention": BenchmarkArm("cross_attention"),
    "relation_network": BenchmarkArm("relation_network"),
}
_SIDES = (6, 8, 12, 16, 24)


def _steps() -> dict[str, Quantity]:
    """Return the quantities of a training step."""
    found = {}
    for name, arm in _STEP_ARMS.items():
        title = f"training step of {name}"
        # A relation network compares all pairs of positions: larger maps would take minutes.
        sides = (4, 6, 8) if name == "relation_network" else _SIDES
        found[f"{name}-map"] = Quantity(
            f"{title}, 16 samples", "side of the map", sides, partial(_with_positions, arm)
        )
    for name in ("film", "laconv"):
        arm, title = _STEP_ARMS[name], f"training step of {name}, 64 samples"
        found[f"{name}-words"] = Quantity(title, "words", (8, 16, 32, 64, 128), partial(_with_words, arm))
        found[f"{name}-width"] = Quantity(
            title, "width of the slot", (32, 64, 128, 256), partial(_with_width, arm)
        )
    return found


QUANTITIES: Mapping[str, Quantity] = {
    **_steps(),
    "epoch": Quantity(
        "epoch of film", "samples", (640, 1280, 2560, 5120), partial(_with_samples, ARMS["film"])
    ),
    "workers": Quantity(
        "epoch of film in each of several workers, wall time, 2,560 samples",
        "workers",
        (1, 2, 4),
        _with_workers,
        True,
    ),
    "questions": Quantity(
        "CLEVR's questions, read for the first time",
        "questions",
        (10_000, 30_000, 90_000),
        seconds_of_reading,
    ),
    "statistics-samples": Quantity(
        "statistics of 34 arms with 5 seeds", "samples", (1000, 3000, 9000, 27_000), _statistics
    ),
    "statistics-arms": Quantity(
        "statistics of arms with 5 seeds and 3,000 samples", "arms", (8, 16, 32, 64), _statistics_of_cells
    ),
    "plan": Quantity("fusion-bench plan, matched parameters", "arms", (4, 8, 16, 32), plan_arms, True),
    "run": Quantity("fusion-bench run, toy cells", "cells", (4, 8, 16, 32), run_cells, True),
    "many-cells": Quantity("fusion-bench run, cells of 50 ms", "cells", (10, 100, 1000), run_cells, True),
    "plan-cells": Quantity("fusion-bench plan, finished cells", "cells", (10, 100, 1000), plan_cells, True),
    "report": Quantity("fusion-bench report, toy cells", "cells", (4, 8, 16, 32), report_cells, True),
}
"""All of them, by the name that the command line gives."""

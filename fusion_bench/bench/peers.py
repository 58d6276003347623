"""``fusion-bench bench peers``: the same network on the same cached maps, trained by three loops.

* *harness*: `fusion_bench.training.loop.Trainer`.
* *minimal*: a loop written by hand for this network only, with the same batches and the same optimizer.
* *public style*: a loop in the style of public implementations of FiLM and of OpenVQA: a `torch.utils.data.Dataset`
  that reads one NumPy file per sample, a `DataLoader` that collates samples, a copy to the device per batch, and the
  loss read with ``.item()`` after each step.

All compute in the precision that a training has on the device. On a GPU the harness is also timed with
``train.compile: reduce-overhead``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fusion_bench.bench.step import ARMS, seconds_per_step, with_compile
from fusion_bench.bench.synthetic import QUICKSTART, StepSize, synthetic_config, synthetic_data
from fusion_bench.bench.timing import in_turn, median_ratio, seconds_now
from fusion_bench.samples.split import Batch
from fusion_bench.training.cell_data import CellData, EncodedSplit
from fusion_bench.training.config import CellConfig
from fusion_bench.training.loop import build_model
from fusion_bench.training.model import autocast
from fusion_bench.training.optim import learning_rate, make_optimizer

HARNESS, COMPILED, MINIMAL, PUBLIC = "harness", "harness, compiled", "minimal", "public style"


@dataclass(frozen=True)
class PeerTime:
    """The time of a step in one loop.

    Attributes:
        loop: the name of the loop.
        milliseconds: the median time of a step.
        relative: the median over the repeats of its time relative to the minimal loop.
    """

    loop: str
    milliseconds: float
    relative: float


def measure_peers(
    device: torch.device, *, size: StepSize = QUICKSTART, steps: int = 20, repeats: int = 9
) -> list[PeerTime]:
    """Time the steps of a FiLM network in the three loops, which take turns, on one thread.

    Args:
        device: the device that computes.
        size: the sizes of a step.
        steps: number of steps per repeat.
        repeats: number of repeats.
    """
    torch.set_num_threads(1)
    data = synthetic_data(size, steps)
    config = synthetic_config(ARMS["film"], size)
    with TemporaryDirectory() as folder:
        samples = SampleFiles(data.encoded[data.splits.train], Path(folder))
        works: dict[str, Callable[[], float]] = {
            HARNESS: partial(seconds_per_step, config, data, device),
            MINIMAL: partial(_minimal, config, data, device),
            PUBLIC: partial(_public_style, config, data, device, samples),
        }
        if device.type == "cuda":
            compiled = with_compile(config, "reduce-overhead")
            works[COMPILED] = partial(seconds_per_step, compiled, data, device)
        seconds = in_turn(works, repeats)
    return [
        PeerTime(name, 1e3 * statistics.median(values), median_ratio(values, seconds[MINIMAL]))
        for name, values in seconds.items()
    ]


def _minimal(config: CellConfig, data: CellData, device: torch.device) -> float:
    """Return the seconds of a step of a loop over tensors that are gathered by index."""
    encoded = data.encoded[data.splits.train]
    maps = torch.from_numpy(encoded.visual).to(device)
    images = torch.tensor(encoded.image)
    targets = encoded.targets.rows(torch.arange(len(encoded.split)))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))

    def batches() -> Iterator[Batch]:
        for rows in order.split(config.train.batch_size):
            tokens = encoded.tokens[rows, : int(encoded.lengths[rows].max())].to(device)
            visual = maps[images[rows].to(device)].to(dtype=torch.float32, memory_format=torch.channels_last)
            yield Batch(visual, tokens, tokens != 0, targets[rows].to(device))

    return _train(config, data, device, batches())


def _public_style(config: CellConfig, data: CellData, device: torch.device, samples: SampleFiles) -> float:
    """Return the seconds of a step of a loop over files of single samples."""
    loader = DataLoader(samples, config.train.batch_size, shuffle=True, drop_last=True)

    def batches() -> Iterator[Batch]:
        for visual, tokens, target in loader:
            words = tokens.to(device)
            yield Batch(visual.to(device), words, words != 0, target.to(device))

    return _train(config, data, device, batches(), after_step=lambda loss: loss.item())


def _train(
    config: CellConfig,
    data: CellData,
    device: torch.device,
    batches: Iterator[Batch],
    after_step: Callable[[Tensor], object] = lambda _: None,
) -> float:
    """Train on the batches and return the mean seconds of a step, without the first two."""
    model = build_model(config, data).to(device).train()
    optimizer = make_optimizer(model, config.train)
    steps = len(data.encoded[data.splits.train].split) // config.train.batch_size
    skipped, began = min(2, steps - 1), 0.0
    for step, batch in enumerate(batches):
        if step == skipped:
            began = seconds_now(device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, config.train)
        with autocast(config, device):
            loss = data.task.loss(model(batch), batch.target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.train.clip)
        optimizer.step()
        after_step(loss.detach())
    return (seconds_now(device) - began) / (steps - skipped)


class SampleFiles(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """The samples of a split, one NumPy file each, written when it is constructed."""

    def __init__(self, encoded: EncodedSplit, folder: Path) -> None:
        self._folder, self._count = folder, len(encoded.split)
        targets = encoded.targets.rows(torch.arange(self._count)).numpy()
        for row in range(self._count):
            np.savez(
                folder / f"{row}.npz",
                visual=encoded.visual[encoded.image[row]].astype(np.float32),
                tokens=encoded.tokens[row].numpy(),
                target=targets[row],
            )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        with np.load(self._folder / f"{row}.npz") as arrays:
            visual, tokens, target = (torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files)
        return visual, tokens, target

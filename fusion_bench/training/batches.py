"""Loads the batches of one split by row number; on a GPU the arrays of the split are kept there when they fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from fusion_bench.encoders.vision import ColourScale, normalise
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.split import Batch, Split
from fusion_bench.tasks.task import MovableTargets, Targets
from fusion_bench.training.cell_data import CellData, EncodedSplit
from fusion_bench.training.seeds import stream


class BatchLoader:
    """Loads the batches of one split.

    On a CPU, images or maps stay memory-mapped. On a GPU the arrays of the split are copied to the device as a whole,
    images, maps and word vectors only if each takes at most half of its free memory: a batch is then gathered there,
    and the order of an epoch is one copy. What stays on the host is sent from pinned memory, for which nothing waits.

    Args:
        encoded: the arrays of the split.
        cell_data: the data of the cell, for the scale of colours.
        device: the device that computes.
        equal_shapes: True if every batch has as many words as the longest sentence of the split.
    """

    def __init__(
        self,
        encoded: EncodedSplit,
        cell_data: CellData,
        device: torch.device,
        *,
        equal_shapes: bool = False,
    ) -> None:
        self._encoded, self._device, self._equal_shapes = encoded, device, equal_shapes
        self._mean, self._std = cell_data.mean, cell_data.std
        self._on_device = _OnDevice.of(encoded, cell_data, device) if device.type != "cpu" else None

    def __len__(self) -> int:
        return len(self._encoded.split)

    def batch(self, rows: Tensor) -> Batch:
        """Return the batch of some samples; its words are cut to the longest sentence in it, or to that of the split.

        Args:
            rows: ``[B]`` int64 row numbers, on the CPU.
        """
        return self._gather(rows, None if self._on_device is None else sent(rows, self._device))

    def _gather(self, rows: Tensor, on_device: Tensor | None) -> Batch:
        """Return the batch of ``rows``; ``on_device`` holds the same numbers on a GPU, None on a CPU."""
        longest = self._encoded.tokens.shape[1]
        if not self._equal_shapes:
            longest = int(self._encoded.lengths[rows].max())
        if self._on_device is not None and on_device is not None:
            return self._on_device.batch(self._encoded, rows, on_device, longest)
        tokens = self._encoded.tokens[rows, :longest]
        visual = torch.from_numpy(self._encoded.visual[self._encoded.image[rows.numpy()]])
        if visual.dtype == torch.uint8:
            visual = normalise(visual, self._mean, self._std)
        return Batch(
            # In the layout `channels_last`, the 1x1 convolutions and norms of a slot run several times faster on a
            # CPU.
            visual=visual.to(dtype=torch.float32, memory_format=torch.channels_last),
            tokens=self._text_input(rows, tokens),
            mask=tokens != 0,
            target=self._encoded.targets.rows(rows),
        )

    def _text_input(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Return ``tokens`` ``[B, T]``, or the frozen encoder's vectors ``[B, T, D]`` of them."""
        if self._encoded.vectors is None:
            return tokens
        vectors = self._encoded.vectors.gather(rows.numpy(), tokens.shape[1])
        return torch.from_numpy(vectors).float()

    def samples_per_epoch(self, *, one_per_referent: bool = False) -> int:
        """Return how many samples one epoch chooses from: all of the split, or one of each referent.

        Raises:
            FusionBenchError: ``one_per_referent`` is set and the data set has no referents.
        """
        return len(self._referents) if one_per_referent else len(self)

    def epoch(
        self, epoch: int, seed: int, size: int, *, one_per_referent: bool = False, first: int = 0
    ) -> Iterator[Batch]:
        """Yield the batches of one epoch in an order that depends on the epoch and the seed alone.

        The last batch is left out if it is smaller than ``size``. Each epoch leaves out other samples; batches of
        equal size keep the sample budget equal and batch norm reliable.

        Args:
            epoch: the number of the epoch, from 1.
            seed: the cell's seed.
            size: samples per batch.
            one_per_referent: first choose one sentence of each referent, from the same random stream.
            first: the batch to begin with, from 0; those before it are not loaded.
        """
        generator = stream(f"order/{epoch}", seed)
        if one_per_referent:
            chosen = torch.tensor(
                [rows[int(torch.randint(len(rows), (), generator=generator))] for rows in self._referents]
            )
        else:
            chosen = torch.arange(len(self))
        order = chosen[torch.randperm(len(chosen), generator=generator)]
        on_device = None if self._on_device is None else sent(order, self._device)
        for step in range(first, steps_per_epoch(len(order), size)):
            rows = slice(step * size, (step + 1) * size)
            yield self._gather(order[rows], None if on_device is None else on_device[rows])

    @cached_property
    def _referents(self) -> list[list[int]]:
        """The row numbers of each referent's sentences, in the order of the table."""
        split = self._encoded.split
        if "referent" not in split.table:
            raise FusionBenchError(
                "train.one_expression_per_referent needs a data set whose splits have the column 'referent'; the "
                f"split {split.name!r} has no such column, so leave the setting out"
            )
        rows: dict[object, list[int]] = {}
        for row, referent in enumerate(split.table["referent"]):
            rows.setdefault(referent, []).append(row)
        return list(rows.values())

    def in_order(self, size: int) -> Iterator[tuple[Split, Batch]]:
        """Yield every sample once in the order of the table: a part of the split and the batch of that part."""
        for rows in torch.arange(len(self)).split(size):
            yield self._encoded.split.rows(rows.numpy()), self.batch(rows)


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Return the number of complete batches of an epoch; a split smaller than one batch gives one batch."""
    return max(1, samples // batch_size)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return values of the host on a device; the copy to a GPU is from pinned memory, so nothing waits for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


@dataclass(frozen=True, eq=False)
class _OnDevice:
    """The arrays of a split on a device.

    Attributes:
        device: the device.
        tokens, image: see `EncodedSplit`.
        visual: images or maps; None where they are too large for the device.
        vectors: the word vectors of a frozen text encoder and the row of each sample; None where there is none, or
            where they are too large.
        targets: the targets; None where they exist on the host only.
        colours: the scale of colours.
    """

    device: torch.device
    tokens: Tensor
    image: Tensor
    visual: Tensor | None
    vectors: tuple[Tensor, Tensor] | None
    targets: Targets | None
    colours: ColourScale

    @classmethod
    def of(cls, encoded: EncodedSplit, cell_data: CellData, device: torch.device) -> _OnDevice:
        """Copy the arrays of a split to a device."""
        vectors, targets = encoded.vectors, encoded.targets
        kept = None if vectors is None else _copied_if_small(vectors.unique, device)
        rows = None if vectors is None or kept is None else torch.tensor(vectors.row, device=device)
        return cls(
            device,
            encoded.tokens.to(device),
            torch.tensor(encoded.image, device=device),
            _copied_if_small(encoded.visual, device),
            None if kept is None or rows is None else (kept, rows),
            targets.to(device) if isinstance(targets, MovableTargets) else None,
            ColourScale.of(cell_data.mean, cell_data.std, device),
        )

    def batch(self, encoded: EncodedSplit, rows: Tensor, on_device: Tensor, longest: int) -> Batch:
        """Return the batch of ``rows``, which ``on_device`` holds too, with ``longest`` words; nothing waits."""
        tokens = self.tokens[on_device, :longest]
        if self.visual is not None:
            visual = self.visual[self.image[on_device]]
        else:
            visual = sent(torch.from_numpy(encoded.visual[encoded.image[rows.numpy()]]), self.device)
        if visual.dtype == torch.uint8:
            visual = self.colours.apply(visual)
        text = tokens
        if self.vectors is not None:
            unique, row = self.vectors
            text = unique[row[on_device], :longest].float()
        elif encoded.vectors is not None:
            text = sent(torch.from_numpy(encoded.vectors.gather(rows.numpy(), longest)), self.device).float()
        return Batch(
            visual=visual.to(dtype=torch.float32, memory_format=torch.channels_last),
            tokens=text,
            mask=tokens != 0,
            target=(
                sent(encoded.targets.rows(rows), self.device)
                if self.targets is None
                else self.targets.rows(on_device)
            ),
        )


def _copied_if_small(values: npt.NDArray[Any], device: torch.device) -> Tensor | None:
    """Return the values on the device; None where they take over half of the free memory of a GPU."""
    if device.type == "cuda" and values.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        return None
    return torch.tensor(values, device=device)

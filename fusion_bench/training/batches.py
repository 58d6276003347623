"""Loads the batches of one split by row number; on a GPU the images or maps are kept there when they fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from fusion_bench.encoders.vision import normalise
from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.split import Batch, Split
from fusion_bench.training.cell_data import CellData, EncodedSplit
from fusion_bench.training.seeds import stream


class BatchLoader:
    """Loads the batches of one split.

    Images or maps stay memory-mapped on the host. On a GPU they are copied to the device as a whole if they take at
    most half of its free memory, because indexing there is far cheaper than one copy per batch.
    """

    def __init__(self, encoded: EncodedSplit, cell_data: CellData, device: torch.device) -> None:
        self._encoded, self._device = encoded, device
        self._mean, self._std = cell_data.mean, cell_data.std
        self._on_device = _copy_to_device(encoded, device)

    def __len__(self) -> int:
        return len(self._encoded.split)

    def batch(self, rows: Tensor) -> Batch:
        """Return the batch of some samples; its words are cut to the longest sentence in it.

        Args:
            rows: ``[B]`` int64 row numbers, on the CPU.
        """
        longest = int(self._encoded.lengths[rows].max())
        tokens = self._encoded.tokens[rows, :longest]
        image_rows = self._encoded.image[rows.numpy()]
        if self._on_device is not None:
            visual = self._on_device[torch.from_numpy(image_rows).to(self._device)]
        else:
            visual = torch.from_numpy(self._encoded.visual[image_rows]).to(self._device)
        if visual.dtype == torch.uint8:
            visual = normalise(visual, self._mean, self._std)
        return Batch(
            # In the layout `channels_last`, the 1x1 convolutions and norms of a slot run several times faster on a
            # CPU.
            visual=visual.to(dtype=torch.float32, memory_format=torch.channels_last),
            tokens=self._text_input(rows, tokens),
            mask=(tokens != 0).to(self._device),
            target=self._encoded.targets.rows(rows).to(self._device),
        )

    def _text_input(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Return ``tokens`` ``[B, T]`` on the device, or the frozen encoder's vectors ``[B, T, D]`` of them."""
        if self._encoded.vectors is None:
            return tokens.to(self._device)
        vectors = self._encoded.vectors.gather(rows.numpy(), tokens.shape[1])
        return torch.from_numpy(vectors).to(self._device).float()

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
        for step in range(first, steps_per_epoch(len(order), size)):
            yield self.batch(order[step * size : (step + 1) * size])

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


def _copy_to_device(encoded: EncodedSplit, device: torch.device) -> Tensor | None:
    """Return the images or maps on a GPU; None on a CPU, and where they take over half of the free memory."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if encoded.visual.nbytes > free // 2:
        return None
    return torch.from_numpy(encoded.visual.copy()).to(device)

"""Batches by row number, gathered where they are fastest: on the device when everything fits there."""

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
    """Gathers batches of one split.

    Maps or images stay memory-mapped on the host; on a GPU they move there whole if they take at most
    half of its free memory, since a gather there costs nothing beside a copy per batch.
    """

    def __init__(self, encoded: EncodedSplit, cell_data: CellData, device: torch.device) -> None:
        self._encoded, self._device = encoded, device
        self._mean, self._std = cell_data.mean, cell_data.std
        self._on_device = _moved(encoded, device)

    def __len__(self) -> int:
        return len(self._encoded.split)

    def batch(self, rows: Tensor) -> Batch:
        """The samples in ``rows`` (int64, on the CPU); words are cut to the longest sentence among them."""
        longest = int(self._encoded.lengths[rows].max())
        tokens = self._encoded.tokens[rows, :longest]
        pictures = self._encoded.image[rows.numpy()]
        if self._on_device is not None:
            visual = self._on_device[torch.from_numpy(pictures).to(self._device)]
        else:
            visual = torch.from_numpy(self._encoded.visual[pictures]).to(self._device)
        if visual.dtype == torch.uint8:
            visual = normalise(visual, self._mean, self._std)
        return Batch(
            # Channels last: 1x1 convolutions and norms, most of a slot, run several times faster on a CPU.
            visual=visual.to(dtype=torch.float32, memory_format=torch.channels_last),
            tokens=self._words(rows, tokens),
            mask=(tokens != 0).to(self._device),
            target=self._encoded.targets.rows(rows).to(self._device),
        )

    def _words(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """``tokens`` ``[B, T]`` on the device, or the vectors that a frozen text encoder made of them."""
        if self._encoded.vectors is None:
            return tokens.to(self._device)
        vectors = self._encoded.vectors.of(rows.numpy(), tokens.shape[1])
        return torch.from_numpy(vectors).to(self._device).float()

    def drawn(self, *, one_per_referent: bool = False) -> int:
        """How many samples an epoch draws from.

        Raises:
            FusionBenchError: one per referent is wanted, and the data set names none.
        """
        return len(self._referents) if one_per_referent else len(self)

    def epoch(self, epoch: int, seed: int, size: int, *, one_per_referent: bool = False) -> Iterator[Batch]:
        """One epoch in the order of its own stream; a last incomplete batch is left out.

        (Every epoch leaves out other samples; equal batches keep the budget equal and batch norm sound.) With
        ``one_per_referent`` the same stream first draws one sentence of each referent.
        """
        generator = stream(f"order/{epoch}", seed)
        if one_per_referent:
            chosen = torch.tensor(
                [rows[int(torch.randint(len(rows), (), generator=generator))] for rows in self._referents]
            )
        else:
            chosen = torch.arange(len(self))
        order = chosen[torch.randperm(len(chosen), generator=generator)]
        for step in range(steps_per_epoch(len(order), size)):
            yield self.batch(order[step * size : (step + 1) * size])

    @cached_property
    def _referents(self) -> list[list[int]]:
        """Rows of each referent, in the order of the table."""
        split = self._encoded.split
        if "referent" not in split.table:
            raise FusionBenchError(
                "train.one_expression_per_referent needs a data set that says which of its sentences are about the "
                f"same referent; the split {split.name!r} has no such column, so leave the setting out"
            )
        rows: dict[object, list[int]] = {}
        for row, referent in enumerate(split.table["referent"]):
            rows.setdefault(referent, []).append(row)
        return list(rows.values())

    def in_order(self, size: int) -> Iterator[tuple[Split, Batch]]:
        """Every sample once, in the table's order: a part of the split and its batch."""
        for rows in torch.arange(len(self)).split(size):
            yield self._encoded.split.rows(rows.numpy()), self.batch(rows)


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Whole batches of an epoch; a split smaller than one batch is one batch."""
    return max(1, samples // batch_size)


def _moved(encoded: EncodedSplit, device: torch.device) -> Tensor | None:
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if encoded.visual.nbytes > free // 2:
        return None
    return torch.from_numpy(encoded.visual.copy()).to(device)

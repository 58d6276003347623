"""The losses of an epoch, and the check that they are finite."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_bench.errors import CellFailure

_BETWEEN_CHECKS = 50
_FIRST_STEPS = 2
"""Both first steps of a training are checked: what fails at once is told at once."""


@dataclass(frozen=True, eq=False)
class _Check:
    """A check whose answer a GPU has not given yet: the losses before ``end`` are finite if ``finite`` is true."""

    end: int
    finite: Tensor
    arrived: torch.cuda.Event


class EpochLosses:
    """The loss of each step of an epoch, kept on the device that computes them.

    Reading a number from a GPU waits until all of its work is done. On a GPU a check is therefore only begun, and its
    answer is read at the first later step at which it has arrived.

    Args:
        steps: number of steps of an epoch.
        device: the device that computes.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.values = torch.zeros(steps, device=device)
        self._deferred = device.type == "cuda"
        self._check: _Check | None = None

    def add(self, index: int, loss: Tensor) -> None:
        """Keep the loss of the step ``index`` (from 0) of the epoch."""
        self.values[index] = loss.detach()

    def check(self, index: int, epoch: int) -> None:
        """Check the losses up to the step ``index``: at the first two steps, and then at every 50th.

        Raises:
            CellFailure: one of them is not finite; on a GPU some steps later.
        """
        if self._check is not None:
            self._read_answer(epoch)
        first = epoch == 1 and index < _FIRST_STEPS
        if not first and (index + 1) % _BETWEEN_CHECKS:
            return
        if not self._deferred:
            self._require_finite(index + 1, epoch)
        elif self._check is None:
            self._check = self._begin(index + 1)

    def mean(self, epoch: int) -> float:
        """Return the mean loss of an epoch that is over.

        Raises:
            CellFailure: a loss is not finite.
        """
        self._check = None
        self._require_finite(len(self.values), epoch)
        return float(self.values.mean())

    def _begin(self, end: int) -> _Check:
        finite = torch.empty((), dtype=torch.bool, pin_memory=True)
        finite.copy_(torch.isfinite(self.values[:end]).all(), non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return _Check(end, finite, arrived)

    def _read_answer(self, epoch: int) -> None:
        check = self._check
        if check is None or not check.arrived.query():
            return
        self._check = None
        if not bool(check.finite):
            self._require_finite(check.end, epoch)

    def _require_finite(self, end: int, epoch: int) -> None:
        finite = torch.isfinite(self.values[:end])
        if not bool(finite.all()):
            step = (epoch - 1) * len(self.values) + int((~finite).nonzero()[0]) + 1
            raise CellFailure(
                f"the loss was not finite at step {step} (epoch {epoch}); try a lower learning rate, or check the "
                "module for divisions by zero and square roots at zero"
            )

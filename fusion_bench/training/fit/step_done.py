"""The event that the training loop tells after each batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class StepDone:
    """A batch was trained or evaluated; on a GPU its work is queued and may still be going on.

    Attributes:
        phase: ``training``, or ``evaluation`` of a split.
        step: the number of the batch, from 1: of the whole training (a resumed cell does not begin with 1), or of the
            split that is evaluated.
        steps: how many batches the training or the split has at most.
    """

    phase: Literal["training", "evaluation"]
    step: int
    steps: int


OnStep: TypeAlias = Callable[[StepDone], None]

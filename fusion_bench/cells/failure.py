"""The record of a cell that failed: ``failed.json``."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from fusion_bench.errors import CellFailure, reason_of

LESS_MEMORY = "a smaller train.batch_size, or fewer workers on the device, needs less memory"
"""What to do about a cell that runs out of memory; the harness changes nothing by itself."""

FailureKind: TypeAlias = Literal[
    "exception", "not_finite", "out_of_memory", "time_limit", "hang", "lost_worker"
]
"""Why a cell has no result.

``exception`` was raised; ``not_finite``: the loss or an output was not finite; ``out_of_memory``: of the GPU, of the
machine, or more than its limit; ``time_limit``: it was still making steps at its limit; ``hang``: it was not;
``lost_worker``: its worker died.
"""

_LONGEST_DETAILS = 200_000


@dataclass(frozen=True)
class Failure:
    """The content of ``failed.json``.

    Attributes:
        reason: one line of at most `fusion_bench.errors.LONGEST_REASON` characters.
        details: the end of the traceback, or of whatever else tells more; may be empty.
        kind: see `FailureKind`.
    """

    reason: str
    details: str = ""
    kind: FailureKind = "exception"

    @classmethod
    def of(cls, error: BaseException, file: Path) -> Failure:
        """Return the record of an exception that is being handled; ``file`` is where the record will stand."""
        details = traceback.format_exc()[-_LONGEST_DETAILS:]
        kind, reason = _kind(error), reason_of(error, file)
        if kind == "out_of_memory":
            reason = f"{reason}; {LESS_MEMORY}"
        # A lone surrogate in a message cannot be written to a file.
        return cls(reason, details.encode("utf-8", "backslashreplace").decode("utf-8"), kind)


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "out_of_memory"
    # The training's own sentences say so. They are no class of their own, because its source counts as numerics.
    if isinstance(error, CellFailure) and "not finite" in str(error):
        return "not_finite"
    return "exception"

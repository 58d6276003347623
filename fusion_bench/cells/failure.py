"""The record of a cell that failed: ``failed.json``."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.errors import reason_of

_LONGEST_DETAILS = 200_000


@dataclass(frozen=True)
class Failure:
    """The content of ``failed.json``.

    Attributes:
        reason: one line of at most `fusion_bench.errors.LONGEST_REASON` characters.
        details: the end of the traceback, or of whatever else tells more; may be empty.
    """

    reason: str
    details: str = ""

    @classmethod
    def of(cls, error: BaseException, file: Path) -> Failure:
        """Return the record of an exception that is being handled; ``file`` is where the record will stand."""
        details = traceback.format_exc()[-_LONGEST_DETAILS:]
        # A lone surrogate in a message cannot be written to a file.
        return cls(reason_of(error, file), details.encode("utf-8", "backslashreplace").decode("utf-8"))

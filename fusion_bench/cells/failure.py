"""The reason why a cell failed, as one line of bounded length, and its record ``failed.json``."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from fusion_bench.errors import FusionBenchError

LONGEST_REASON = 2_000
"""Characters of a reason; of a longer text the end is kept, which in a log is the last that was said."""
_LONGEST_DETAILS = 200_000
_SHORTEST_TAIL = 200


@dataclass(frozen=True)
class Failure:
    """The content of ``failed.json``.

    Attributes:
        reason: one line of at most `LONGEST_REASON` characters.
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


def reason_of(error: BaseException, file: Path | None = None) -> str:
    """Return what an exception says, on one line; ``file`` tells more of what is too long.

    The type is named unless the message was written for the user.
    """
    if isinstance(error, FusionBenchError):
        return shortened(str(error), file)
    kind = type(error).__name__
    return shortened(str(error), file, before=f"{kind}: ") if str(error) else kind


def shortened(text: str, file: Path | None, before: str = "") -> str:
    """Return ``before`` and a text on one line without control characters, at most `LONGEST_REASON` long.

    Args:
        text: any text, such as the message of an exception or a line of a log.
        file: is named where the text is cut, because more of it stands there; None if it stands nowhere.
        before: stands before the text and is never cut.
    """
    # More than this much is never shown, and a line of many megabytes would take long to clean.
    end = text[-4 * LONGEST_REASON :]
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in end).split())
    if len(end) == len(text) and len(before) + len(line) <= LONGEST_REASON:
        return before + line
    after = "" if file is None else f" (more of it stands in {file})"
    room = max(_SHORTEST_TAIL, LONGEST_REASON - len(before) - len("... ") - len(after))
    return f"{before}... {line[-room:]}{after}"

"""The one exception family that a user may meet: a sentence that says what, where and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

LONGEST_REASON = 2_000
"""Characters of a reason; of a longer text the end is kept, which in a log is the last that was said."""
_SHORTEST_TAIL = 200


class FusionBenchError(Exception):
    """Something the user can put right; the command line prints the message alone, without a traceback."""


class StudyFileError(FusionBenchError):
    """A study file (or a ``--set`` override) asks for something impossible; may list several mistakes."""


class DataError(FusionBenchError):
    """A data set's files are missing, damaged or not in their published layout."""


class WeightsError(FusionBenchError):
    """Weights cannot be had, or are not those of the network that they are meant for."""


class NoResultError(FusionBenchError):
    """No cell of a study has a result, so there is nothing to report."""


class CellFailure(FusionBenchError):  # noqa: N818 - the field's word for it; an error of one cell, never of the study
    """A cell cannot give a result (a loss that is not finite, say); recorded, and the study goes on."""


def reason_of(error: BaseException, file: Path | None = None) -> str:
    """Return what an exception says, on one line; ``file`` tells more of what is too long.

    The type is named unless the message was written for the user.
    """
    if isinstance(error, FusionBenchError):
        return bounded_line(str(error), file)
    if isinstance(error, OSError) and is_disk_full(error):
        return bounded_line(str(error), file, before="the disk is full: ") + "; make room and run again"
    kind = type(error).__name__
    return bounded_line(str(error), file, before=f"{kind}: ") if str(error) else kind


def is_disk_full(error: OSError) -> bool:
    """Return True if a disk is full, a quota is used up, or a file has reached its largest size."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def bounded_line(text: str, file: Path | None = None, before: str = "") -> str:
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

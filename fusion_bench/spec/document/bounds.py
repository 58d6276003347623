"""How large a study may be: its files, the files that they extend, and the studies that they start from, together.

A few lines of YAML can stand for gigabytes: an alias repeats the value that it names, and a file can extend others
that extend others again. So everything that is read for one study is counted together.
"""

from __future__ import annotations

MAX_BYTES = 1_000_000
MAX_LEVELS = 100
MAX_VALUES = 10_000
MAX_FILES = 100
MAX_STARTS = 10
MAX_KEY = 1_000


class TooLargeError(Exception):
    """A bound is exceeded; the message says which one."""


class Bounds:
    """Counts what is read for one study."""

    def __init__(self) -> None:
        self._files = self._bytes = self._values = 0

    def add_file(self) -> None:
        """Count one more file.

        Raises:
            TooLargeError: there are too many files.
        """
        self._files += 1
        if self._files > MAX_FILES:
            raise TooLargeError(
                f"a study may read at most {MAX_FILES} files, and a file counts as often as it is extended; "
                "write the keys into fewer files"
            )

    def add_text(self, size: int) -> None:
        """Count a text of ``size`` bytes.

        Raises:
            TooLargeError: there is too much text.
        """
        self._bytes += size
        if self._bytes > MAX_BYTES:
            raise TooLargeError(
                f"a study and the files that it extends may hold at most {MAX_BYTES // 1_000_000} MB of text; "
                "is this a study file?"
            )

    def add_value(self) -> None:
        """Count one more value, after the expansion of aliases.

        Raises:
            TooLargeError: there are too many values.
        """
        self._values += 1
        if self._values > MAX_VALUES:
            raise TooLargeError(
                f"there are more than {MAX_VALUES:,} values (an alias counts as often as it is used); write fewer"
            )


def check_level(level: int) -> None:
    """Do nothing for a value that lies in at most `MAX_LEVELS` lists and mappings.

    Raises:
        TooLargeError: the value lies deeper.
    """
    if level > MAX_LEVELS:
        raise TooLargeError(
            f"lists and mappings are nested too deeply; write at most {MAX_LEVELS} inside each other"
        )

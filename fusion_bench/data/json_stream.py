"""One list of a large JSON file, item by item: 713 MB of CLEVR questions pass through 70 MB of memory.

The standard library's decoder reads 120 MB/s of such questions, orjson and msgspec 250 MB/s. On the release's
largest file that is 4 s, once, which are not worth a dependency of every training machine; and neither of the
two reads a file in parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from fusion_bench.errors import DataError

_PART = 1 << 23
_BLANKS = re.compile(r"[ \t\n\r]*")


def items_of(path: Path, key: str) -> Iterator[Any]:
    """The items of the list under ``key`` of the object that a file holds.

    Args:
        path: a UTF-8 JSON file. What stands under other keys is read and dropped.
        key: of the outermost object.

    Raises:
        DataError: the file is not JSON, or holds no such list; names it.
    """
    with path.open(encoding="utf-8") as file:
        reader = _Reader(path, file)
        try:
            if reader.next() != "{":
                raise DataError(f"{path} does not hold an object with the key {key!r}")
            reader.expect("{")
            found = False
            while reader.next() != "}":
                name = reader.value()
                reader.expect(":")
                if name != key:
                    reader.value()
                elif reader.next() != "[":
                    raise DataError(f"{path} does not hold a list under the key {key!r}")
                else:
                    found = True
                    yield from _list(reader)
                reader.skip_comma("}")
            reader.expect("}")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not JSON: {error}") from error
    if not found:
        raise DataError(f"{path} does not hold a list under the key {key!r}")


def _list(reader: _Reader) -> Iterator[Any]:
    reader.expect("[")
    while reader.next() != "]":
        yield reader.value()
        reader.skip_comma("]")
    reader.expect("]")


class _Reader:
    """A window that slides over a file of JSON."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._window, self._at, self._before, self._ended = "", 0, 0, False
        self._decode = json.JSONDecoder().raw_decode

    def next(self) -> str:
        """The next character that is no blank, which stays; empty at the end of the file."""
        while True:
            blanks = _BLANKS.match(self._window, self._at)
            assert blanks is not None  # noqa: S101 - it matches the empty string
            self._at = blanks.end()
            if self._at < len(self._window) or not self._slide():
                return self._window[self._at : self._at + 1]

    def expect(self, character: str) -> None:
        """Go past a character."""
        if self.next() != character:
            raise self._wrong(f"expecting {character!r}", self._at)
        self._at += 1

    def skip_comma(self, closing: str) -> None:
        """Go past the comma between two items; ``closing`` ends them, and may not follow a comma."""
        if self.next() == closing:
            return
        self.expect(",")
        if self.next() == closing:
            raise self._wrong("illegal trailing comma", self._at)

    def value(self) -> Any:
        """The next value."""
        self.next()
        while True:
            try:
                found, end = self._decode(self._window, self._at)
            except json.JSONDecodeError as error:
                # Cut off by the window's end, unless it is longer than any value that the files hold.
                if len(self._window) - self._at < 4 * _PART and self._slide():
                    continue
                raise self._wrong(error.msg, error.pos) from error
            if end == len(self._window) and self._slide():
                continue  # a number may go on
            self._at = end
            return found

    def _slide(self) -> bool:
        """Drop what is read and append the next part; False at the end of the file."""
        part = "" if self._ended else self._file.read(_PART)
        self._ended = not part
        if part:
            self._window, self._before, self._at = (
                self._window[self._at :] + part,
                self._before + self._at,
                0,
            )
        return bool(part)

    def _wrong(self, what: str, place: int) -> DataError:
        return DataError(f"{self._path} is not JSON: {what} (character {self._before + place})")

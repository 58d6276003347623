"""A reader for one list of a large JSON file, item by item: 713 MB of CLEVR questions need 70 MB of memory.

The decoder of the standard library reads 120 MB/s of such questions, orjson and msgspec 250 MB/s. For the largest
file of the release the difference is 4 s, once, which does not justify a dependency on every training machine.
Neither of the two libraries reads a file in parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from fusion_bench.errors import DataError

_PART = 1 << 23
_WHITE_SPACE = re.compile(r"[ \t\n\r]*")


def list_items(path: Path, key: str) -> Iterator[Any]:
    """Yield the items of the list under ``key`` of the object in a JSON file.

    Args:
        path: a UTF-8 JSON file, with or without a byte-order mark. The values of other keys are read and dropped.
        key: a key of the outermost object.

    Raises:
        DataError: the file is not JSON, contains half of a surrogate pair, or has no such list; the message names the
            file.
    """
    with path.open(encoding="utf-8-sig") as file:
        reader = _Reader(path, file)
        try:
            if reader.next() != "{":
                raise DataError(f"{path} does not contain an object with the key {key!r}")
            reader.expect("{")
            found = False
            while reader.next() != "}":
                name = reader.value()
                reader.expect(":")
                if name != key:
                    reader.value()
                elif reader.next() != "[":
                    raise DataError(f"{path} does not contain a list under the key {key!r}")
                else:
                    found = True
                    yield from _items(reader)
                reader.skip_comma("}")
            reader.expect("}")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not JSON: {error}") from error
    if not found:
        raise DataError(f"{path} does not contain a list under the key {key!r}")


def _items(reader: _Reader) -> Iterator[Any]:
    reader.expect("[")
    while reader.next() != "]":
        yield reader.value()
        reader.skip_comma("]")
    reader.expect("]")


def has_half_pair(value: Any, text: str, start: int = 0, end: int | None = None) -> bool:
    """Return True if a JSON value contains half of a surrogate pair, which is no character and cannot be stored.

    Args:
        value: the value.
        text: a text that contains its JSON, from ``start`` to ``end``. UTF-8 has no such halves, so only an escape in
            the JSON can be one.
        start: first character of its JSON.
        end: character after its JSON; None for the end of the text.
    """
    if text.find("\\u", start, end) < 0:
        return False
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


class _Reader:
    """A JSON reader with a window that slides over the file."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._window, self._position, self._dropped, self._ended = "", 0, 0, False
        self._decode = json.JSONDecoder().raw_decode

    def next(self) -> str:
        """Return the next character that is not white space, without consuming it; empty at the end of the file."""
        while True:
            space = _WHITE_SPACE.match(self._window, self._position)
            assert space is not None  # noqa: S101 - it matches the empty string
            self._position = space.end()
            if self._position < len(self._window) or not self._slide():
                return self._window[self._position : self._position + 1]

    def expect(self, character: str) -> None:
        """Consume the next character; raise a `DataError` if it is not ``character``."""
        if self.next() != character:
            raise self._error(f"expecting {character!r}", self._position)
        self._position += 1

    def skip_comma(self, closing: str) -> None:
        """Consume the comma between two items; ``closing`` ends the items and must not follow a comma."""
        if self.next() == closing:
            return
        self.expect(",")
        if self.next() == closing:
            raise self._error("illegal trailing comma", self._position)

    def value(self) -> Any:
        """Consume and return the next value."""
        self.next()
        while True:
            try:
                found, end = self._decode(self._window, self._position)
            except json.JSONDecodeError as error:
                # The window may end within the value, unless the value is longer than any that such files contain.
                if len(self._window) - self._position < 4 * _PART and self._slide():
                    continue
                raise self._error(error.msg, error.pos) from error
            except RecursionError as error:
                raise self._error("it is nested too deeply", self._position) from error
            if end == len(self._window) and self._slide():
                continue  # a number may continue in the next part
            if has_half_pair(found, self._window, self._position, end):
                raise DataError(
                    f"{self._path}: a text contains half of a surrogate pair, such as \\ud83d; write the whole "
                    f"character (in the value from character {self._dropped + self._position})"
                )
            self._position = end
            return found

    def _slide(self) -> bool:
        """Drop the consumed part of the window and append the next part; return False at the end of the file."""
        part = "" if self._ended else self._file.read(_PART)
        self._ended = not part
        if part:
            self._window, self._dropped, self._position = (
                self._window[self._position :] + part,
                self._dropped + self._position,
                0,
            )
        return bool(part)

    def _error(self, problem: str, position: int) -> DataError:
        return DataError(f"{self._path} is not JSON: {problem} (character {self._dropped + position})")

"""A safe reader of downloaded pickles: it loads containers, numbers and text, and runs no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

from fusion_bench.data.files import require
from fusion_bench.errors import DataError


def read_plain_pickle(path: Path, published: str) -> Any:
    """Read a pickle of any protocol that contains only lists, dictionaries, numbers, strings and bytes.

    Text that Python 2 wrote as bytes is decoded as UTF-8; `repair_text` repairs text in other encodings.

    Args:
        path: the file.
        published: the address where it is published, for the error message.

    Raises:
        DataError: the file is missing or damaged, or refers to any other object; no code of it was run.
    """
    require(path, published)
    with path.open("rb") as file:
        try:
            # Safe: code can be reached only through globals, and `find_class` refuses all of them.
            return _PlainUnpickler(file, encoding="utf-8", errors="surrogateescape").load()
        except _RefusedError as error:
            raise DataError(
                f"{path} refers to {error}, but such a file contains only lists, dictionaries, numbers and text; "
                f"no code of it was run; get it from {published or 'its place of publication'}"
            ) from None
        except Exception as error:  # a damaged pickle can raise any exception
            raise DataError(f"{path} is damaged or not a pickle ({type(error).__name__}: {error})") from error


def repair_text(text: str) -> str:
    """Return ``text`` with bytes that `read_plain_pickle` could not decode as UTF-8 decoded as Latin-1.

    Raises:
        ValueError: the text contains half of a surrogate pair, which is no character.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            return text.encode(errors="surrogateescape").decode("latin-1")
        except UnicodeEncodeError as error:
            raise ValueError(f"{text!r} contains half of a surrogate pair") from error
    return text


class _RefusedError(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> NoReturn:
        raise _RefusedError(f"the object {module}.{name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise _RefusedError(f"the object outside the file {pid!r}")

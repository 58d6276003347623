"""Pickles from the internet, read as data: containers, numbers and text, and nothing that could run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

from fusion_bench.data.files import require
from fusion_bench.errors import DataError


def read_plain_pickle(path: Path, published: str) -> Any:
    """Read a pickle of any protocol that holds lists, dictionaries, numbers, strings and bytes only.

    Text that Python 2 wrote as bytes is taken for UTF-8; `readable` mends what is not.

    Args:
        path: the file.
        published: where it can be had; for the error message.

    Raises:
        DataError: it is missing or damaged, or asks for anything else; nothing of it was run.
    """
    require(path, published)
    with path.open("rb") as file:
        try:
            # Safe: the one door to code, looking up a global, is shut.
            return _PlainUnpickler(file, encoding="utf-8", errors="surrogateescape").load()
        except _RefusedError as error:
            raise DataError(
                f"{path} asks for {error}, but such a file is made of lists, dictionaries, numbers and text "
                f"alone; nothing of it was run; get it from {published or 'where it is published'}"
            ) from None
        except Exception as error:  # a damaged pickle raises nearly everything
            raise DataError(f"{path} is damaged or no pickle ({type(error).__name__}: {error})") from error


def readable(text: str) -> str:
    """``text`` as it was meant where `read_plain_pickle` met bytes that are not UTF-8: they are Latin-1."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode("latin-1")
    return text


class _RefusedError(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> NoReturn:
        raise _RefusedError(f"the object {module}.{name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise _RefusedError(f"the object outside the file {pid!r}")

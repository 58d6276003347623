"""Pickles are read as data; pickles that would run code are refused, and no code is run."""

from __future__ import annotations

import builtins
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_bench.data.refer.pickles import read_plain_pickle, repair_text
from fusion_bench.errors import DataError


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "refs(unc).p"
        path.write_bytes(content)
        return path

    return write


def test_plain_data_of_every_protocol_is_read(written: Callable[[bytes], Path]) -> None:
    content = [{"sent_id": 1, "words": ("a", "花"), "box": [1.5, -2], 3: None, "big": 2**70, "yes": True}]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert read_plain_pickle(written(pickle.dumps(content, protocol)), "") == content


def test_text_of_python_2_is_read(written: Callable[[bytes], Path]) -> None:
    """Protocols 0 and 2 as Python 2 wrote them: str as bytes (SHORT_BINSTRING), unicode, long."""
    two = b"\x80\x02]q\x00}q\x01(U\x04sentq\x02U\x03catq\x03U\x02idq\x04\x8a\x01\x05"
    two += b"X\x01\x00\x00\x00uq\x05U\x03\xe8\x8a\xb1ua."
    assert read_plain_pickle(written(two), "") == [{"sent": "cat", "id": 5, "u": "花"}]
    nought = b"(lp0\n(dp1\nS'sent'\np2\nS'cat'\np3\nsS'id'\np4\nI5\nsS'l'\nL7L\nsa."
    assert read_plain_pickle(written(nought), "") == [{"sent": "cat", "id": 5, "l": 7}]
    latin = b"\x80\x02U\x04caf\xe9."
    assert repair_text(read_plain_pickle(written(latin), "")) == "café"


class Runs:
    """An object whose pickle is a function call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def _by_hand(module: bytes, name: bytes, argument: bytes) -> bytes:
    return b"c" + module + b"\n" + name + b"\n(S'" + argument + b"'\ntR."


def test_nothing_of_a_malicious_pickle_runs(written: Callable[[bytes], Path], tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    touch = f"open({str(witness)!r}, 'w')"
    shell = f"touch {witness}"
    attacks = [
        pickle.dumps([Runs(os.system, shell)], 2),
        pickle.dumps({"sent": Runs(builtins.eval, touch)}, 4),
        pickle.dumps(Runs(exec, touch), 5),
        _by_hand(b"os", b"system", shell.encode()),
        _by_hand(b"__builtin__", b"eval", touch.encode().replace(b"'", b'"')),
        # INST and OBJ build objects without REDUCE; STACK_GLOBAL takes its name from the stack.
        b"(S'" + shell.encode() + b"'\nios\nsystem\n.",
        b"(cos\nsystem\nS'" + shell.encode() + b"'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(shell)]) + shell.encode() + b"\x85R.",
    ]
    for attack in attacks:
        path = written(attack)
        with pytest.raises(
            DataError, match=r"refers to the object .*no code of it was run; get it from here"
        ):
            read_plain_pickle(path, "here")
        assert not witness.exists()
    # The plain pickle module does run the same bytes; otherwise this test would prove nothing.
    pickle.loads(attacks[3])  # noqa: S301
    assert witness.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (pickle.dumps([np.int64(3)], 2), "numpy"),
        (pickle.dumps(np.zeros(2), 2), "numpy"),
        (pickle.dumps([b"\xff"], 2), "_codecs.encode"),
        (pickle.dumps({1, 2}, 2), "__builtin__.set"),
        (pickle.dumps([Path("x")], 2), "pathlib"),
        (b"\x80\x02U\x03keyQ.", "object outside the file 'key'"),
        (b"Pkey\n.", "object outside the file 'key'"),
    ],
)
def test_objects_are_refused(written: Callable[[bytes], Path], content: bytes, named: str) -> None:
    with pytest.raises(DataError, match="no code of it was run") as error:
        read_plain_pickle(written(content), "")
    assert named in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x02]q\x00(",
        b"\x80\x02\x82\x07.",
        b"\x80\x02}(]K\x01u.",
        b"\x80\x02X\xff\xff\xff\x7fa.",
    ],
)
def test_damaged_files_are_named(written: Callable[[bytes], Path], content: bytes) -> None:
    path = written(content)
    with pytest.raises(DataError, match="is damaged or not a pickle") as error:
        read_plain_pickle(path, "")
    assert str(path) in str(error.value)


def test_a_missing_file_says_where_it_is_published(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; it is published at there"):
        read_plain_pickle(tmp_path / "refs(unc).p", "there")

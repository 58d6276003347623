"""Word vectors from a file in GloVe's text format, encoded by the GRU of `fusion_bench.encoders.text`."""

from __future__ import annotations

import gzip
import itertools
import math
import zipfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, cast

import torch
from torch import Tensor

from fusion_bench.encoders.text import GruEncoder
from fusion_bench.errors import WeightsError
from fusion_bench.samples.vocabulary import PAD, UNKNOWN

_FIRST_WORD = 2
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_NAMED = 4
"""Number of files of an archive that a message names."""


class GloveEncoder(GruEncoder):
    """A `GruEncoder` whose word vectors are read from a GloVe file (Pennington et al., EMNLP 2014).

    A word that is not in the file gets a random vector from a normal distribution with the standard deviation of the
    vectors that were found. Zeros (as in spaCy) would make all such words identical while the vectors are frozen. The
    random vectors depend on the seed and not on the arm. The vector of unknown words, which do not occur in training,
    is zero.

    Args:
        vocabulary_size: rows of the embedding; row 0 is padding, row 1 is any unknown word.
        file: a text file, plain or gzip, with lines ``word v1 v2 ...`` of equal length. The first line may be
            word2vec's (number of words, length of a vector).
        frozen: do not train the vectors, including the random ones.
        hidden, directions, sentence, dropout: as in `GruEncoder`.

    Raises:
        WeightsError: the file cannot be read, or its first line has no vector.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        file: Path,
        frozen: bool = True,
        hidden: int = 128,
        directions: Literal["forward", "both"] = "both",
        sentence: Literal["last", "attention"] = "last",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            vocabulary_size,
            embedding=vector_length(file),
            hidden=hidden,
            directions=directions,
            sentence=sentence,
            dropout=dropout,
        )
        self.file, self.frozen = file, frozen
        self.embedding.weight.requires_grad_(not frozen)

    @torch.no_grad()
    def meet(self, words: Sequence[str]) -> None:
        """Fill the embedding rows of the given words; see `TextEncoder.meet`.

        Raises:
            WeightsError: a line does not have a vector of the first line's length, or the file has none of the words.
        """
        found = read_vectors(self.file, words)
        if not found:
            raise WeightsError(f"{self.file} contains none of the {len(words)} words of the training split")
        deviation = torch.stack(list(found.values())).std(correction=0)
        rows = self.embedding.weight
        rows[_FIRST_WORD:].normal_().mul_(deviation)
        rows[[PAD, UNKNOWN]] = 0
        for row, word in enumerate(words, start=_FIRST_WORD):
            if word in found:
                rows[row] = found[word]
        state = "frozen" if self.frozen else "fine-tuned"
        self.note = (
            f"{len(words):,} words from train, {len(found):,} of them ({len(found) / len(words):.1%}) with a "
            f"vector in the file, the others with a random vector; vectors are {state}"
        )


def vector_length(file: Path) -> int:
    """Return the number of channels of the vector in the first line.

    Raises:
        WeightsError: the file cannot be read or is empty, or its first line has no numbers.
    """
    for number, fields in _vectors(file):
        if len(fields) > 1:
            return len(fields) - 1
        raise WeightsError(f"{file}, line {number}: expected a word and its vector (word v1 v2 ...)")
    raise WeightsError(f"{file}, line 1: expected a word and its vector (word v1 v2 ...)")


def read_vectors(file: Path, words: Sequence[str]) -> Mapping[str, Tensor]:
    """Return the vectors ``[E]`` float32 of the words that the file contains; the first one of a repeated word.

    The length of every line is checked, and the numbers of the requested words.

    Raises:
        WeightsError: a line is wrong; the message gives its number.
    """
    length = vector_length(file)
    requested = {word.encode(): word for word in words}
    found: dict[str, Tensor] = {}
    for number, fields in _vectors(file):
        # Some words of the 840-billion-token file contain spaces: the line has more fields, not a longer vector.
        extra = len(fields) - 1 - length
        if extra < 0 or (extra and _is_number(fields[extra])):
            raise WeightsError(
                f"{file}, line {number}: {len(fields) - 1} numbers where the first line has {length}"
            )
        word = requested.get(fields[0]) if not extra else None
        if word is not None and word not in found:
            found[word] = _vector(fields[1:], file, number)
    return found


def _vector(fields: Sequence[bytes], file: Path, number: int) -> Tensor:
    for field in fields:
        if not _is_number(field):
            raise WeightsError(f"{file}, line {number}: {field.decode(errors='replace')!r} is not a number")
    return torch.tensor([float(field) for field in fields])


def _is_number(field: bytes) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _vectors(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number and the fields of every line but word2vec's first line and blank last lines.

    The first line is word2vec's if it consists of two whole numbers and the second number is the length of the vector
    in the next line.
    """
    lines = _lines(file)
    first = list(itertools.islice(lines, 2))
    if len(first) == 2:
        (_, head), (_, fields) = first
        if len(head) == 2 and all(map(bytes.isdigit, head)) and int(head[1]) == len(fields) - 1 > 1:
            del first[0]
    blank: list[tuple[int, list[bytes]]] = []
    for line in itertools.chain(first, lines):
        if line[1] == [b""]:
            blank.append(line)
            continue
        yield from blank
        blank.clear()
        yield line


def _lines(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the number, from 1, and the fields of every line."""
    try:
        with file.open("rb") as plain:
            start = plain.read(len(_ZIP))
            if start == _ZIP:
                names = ", ".join(zipfile.ZipFile(plain).namelist()[:_NAMED])
                raise WeightsError(f"{file} is a zip archive; unpack it and name the file in it ({names})")
            plain.seek(0)
            zipped = start.startswith(_GZIP)
            text = cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if zipped else plain
            for number, line in enumerate(text, start=1):
                yield number, line.removeprefix(BOM_UTF8 if number == 1 else b"").rstrip().split(b" ")
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise WeightsError(f"cannot read the word vectors {file}: {error}") from error

"""Word vectors from a file in GloVe's text format, read by the GRU of `fusion_bench.encoders.text`."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, cast

import torch
from torch import Tensor

from fusion_bench.encoders.text import GruEncoder
from fusion_bench.errors import WeightsError
from fusion_bench.samples.vocabulary import PAD, UNKNOWN

_FIRST_WORD = 2
_GZIP = b"\x1f\x8b"


class GloveEncoder(GruEncoder):
    """GloVe's vectors (Pennington et al., EMNLP 2014) in place of learned ones, then `GruEncoder`.

    A word that the file lacks gets a row drawn from a normal distribution with the standard deviation of the
    rows that were found: a row of zeros (as in spaCy) would make one word of all such words where the rows
    stay frozen. Which rows are drawn depends on the seed and not on the arm. The row of unknown words, which
    training never sees, is zero.

    Args:
        vocabulary_size: rows of the embedding; row 0 is padding, row 1 every unknown word.
        file: lines of ``word v1 v2 ...``, all of one length; plain or gzip.
        frozen: keep the vectors as they are, those that were drawn too.
        hidden, directions, sentence, dropout: as in `GruEncoder`.

    Raises:
        WeightsError: the file cannot be read or its first line holds no vector.
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
        """Fill the rows of the words; see `TextEncoder.meet`.

        Raises:
            WeightsError: a line is no vector of the first one's length, or the file knows none of the words.
        """
        found = read_vectors(self.file, words)
        if not found:
            raise WeightsError(f"{self.file} holds none of the {len(words)} words of the training split")
        spread = torch.stack(list(found.values())).std(correction=0)
        rows = self.embedding.weight
        rows[_FIRST_WORD:].normal_().mul_(spread)
        rows[[PAD, UNKNOWN]] = 0
        for row, word in enumerate(words, start=_FIRST_WORD):
            if word in found:
                rows[row] = found[word]
        state = "frozen" if self.frozen else "trained from there"
        self.note = (
            f"{len(words):,} words from train, {len(found):,} of them ({len(found) / len(words):.1%}) with a "
            f"vector in the file and the rest drawn, {state}"
        )


def vector_length(file: Path) -> int:
    """Numbers of the first line's vector.

    Raises:
        WeightsError: the file cannot be read or is empty, or the line holds no number.
    """
    for _, fields in _lines(file):
        if len(fields) > 1:
            return len(fields) - 1
        break
    raise WeightsError(f"{file}, line 1: a word and its vector should stand here (word v1 v2 ...)")


def read_vectors(file: Path, words: Sequence[str]) -> Mapping[str, Tensor]:
    """The vectors ``[E]`` float32 of those words that the file holds; of a word that stands twice, the first.

    Every line's length is checked, and the numbers of the wanted words.

    Raises:
        WeightsError: with the number of the line that is wrong.
    """
    length = vector_length(file)
    wanted = {word.encode(): word for word in words}
    found: dict[str, Tensor] = {}
    for number, fields in _lines(file):
        # The file of 840 billion tokens has words with blanks in them: they make a line longer, not its vector.
        spare = len(fields) - 1 - length
        if spare < 0 or (spare and _is_number(fields[spare])):
            raise WeightsError(
                f"{file}, line {number}: {len(fields) - 1} numbers where the first line has {length}"
            )
        word = wanted.get(fields[0]) if not spare else None
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


def _lines(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Number, from 1, and fields of every line."""
    try:
        with file.open("rb") as plain:
            zipped = plain.read(len(_GZIP)) == _GZIP
            plain.seek(0)
            text = cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if zipped else plain
            for number, line in enumerate(text, start=1):
                yield number, line.rstrip().split(b" ")
    except (OSError, EOFError) as error:
        raise WeightsError(f"cannot read the word vectors {file}: {error}") from error

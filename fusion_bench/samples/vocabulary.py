"""Words and their ids: the tokenizer and the vocabulary that adapters and text encoders share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PAD, UNKNOWN = 0, 1
_WORD = re.compile(r"[\w']+|[;,]")


def tokenize(text: str) -> list[str]:
    """Lower-case runs of letters, digits and apostrophes, in any script; ``;`` and ``,`` are words too."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words by id; 0 is padding and 1 every word not in the list."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """Every word of ``texts``, the most frequent first, ties in alphabetical order."""
        counts = Counter(word for text in texts for word in tokenize(text))
        return cls(tuple(sorted(counts, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        return len(self.words) + 2

    def encode(self, texts: Sequence[str], longest: int | None = None) -> npt.NDArray[np.int64]:
        """Word ids ``[N, T]``; ``T`` is the longest text, at most ``longest`` words.

        A text without a word becomes one unknown word, so that every row has a real one.
        """
        ids = {word: number for number, word in enumerate(self.words, start=2)}
        rows = [[ids.get(word, UNKNOWN) for word in tokenize(text)][:longest] or [UNKNOWN] for text in texts]
        encoded = np.full((len(rows), max(map(len, rows), default=1)), PAD, dtype=np.int64)
        for row, numbers in zip(encoded, rows, strict=True):
            row[: len(numbers)] = numbers
        return encoded

    def read(self, text: str, longest: int | None = None) -> tuple[tuple[str, bool], ...]:
        """The words of one text as `encode` reads them, and whether each is in the list."""
        known = {*self.words}
        return tuple((word, word in known) for word in tokenize(text)[:longest] or [text.strip()])

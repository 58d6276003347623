"""The tokenizer and the vocabulary that data set adapters and text encoders share."""

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
    """Split a text into lower-case words.

    A word is a run of letters, digits and apostrophes in any script, or one of ``;`` and ``,``.
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The list of known words. Word ``i`` of the list has id ``i + 2``; id 0 is padding, id 1 is any other word."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """Return the vocabulary of ``texts``, the most frequent word first, equal counts in alphabetical order."""
        counts = Counter(word for text in texts for word in tokenize(text))
        return cls(tuple(sorted(counts, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        return len(self.words) + 2

    def encode(self, texts: Sequence[str], longest: int | None = None) -> npt.NDArray[np.int64]:
        """Return word ids ``[N, T]`` int64; ``T`` is the length of the longest text, at most ``longest`` words.

        A text without words becomes one unknown word, so that every row has at least one real word.
        """
        ids = {word: number for number, word in enumerate(self.words, start=2)}
        rows = [[ids.get(word, UNKNOWN) for word in tokenize(text)][:longest] or [UNKNOWN] for text in texts]
        encoded = np.full((len(rows), max(map(len, rows), default=1)), PAD, dtype=np.int64)
        for row, numbers in zip(encoded, rows, strict=True):
            row[: len(numbers)] = numbers
        return encoded

    def read(self, text: str, longest: int | None = None) -> tuple[tuple[str, bool], ...]:
        """Return the words of one text as `encode` splits it, each with True if the word is in the list."""
        known = {*self.words}
        return tuple((word, word in known) for word in tokenize(text)[:longest] or [text.strip()])

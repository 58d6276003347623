"""Answer normalisation of VQA's official evaluation, and the list of answers that a model may give.

The rules are those of the evaluation code published with VQA v2 (Goyal et al., CVPR 2017;
github.com/GT-Vision-Lab/VQA, commit a013f004). Its mistakes are kept, because results are comparable only under
identical rules. Digits are ASCII digits, as in the Python version for which that code was written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from fusion_bench.errors import DataError

ANNOTATORS = 10
"""Number of people who answered each question."""
OCCURRENCES = 8
"""An answer is listed if it is the most common answer of more than this number of questions."""

_PUNCTUATION = (*";/[]", '"', *"{}()=+\\_-><@`,?!")
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d", re.ASCII)
# The official expression begins with a mistyped look-behind that never matches; it is left out here.
_PERIOD = re.compile(r"\.(?!\d)", re.ASCII)
# The official call passes the flag re.UNICODE (32) as the maximum number of replacements.
_PERIODS = 32
_NUMBERS: Mapping[str, str] = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_ARTICLES = frozenset({"a", "an", "the"})
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's I'd've I'm I've isn't it'd it'd've it'll ma'am mightn't mightn't've might've
mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've
something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't
we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll
who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've
you'll you're you've
"""
_OFFICIAL_MISTAKES = {"let's": "let's", "she's": "she's", "somebody'd": "somebodyd"}


def _contractions() -> dict[str, str]:
    """Return the official table: each contraction without one of its apostrophes -> the full contraction."""
    table = {
        word[:position] + word[position + 1 :]: word
        for word in _CONTRACTED.split()
        for position, letter in enumerate(word)
        if letter == "'"
    }
    return table | _OFFICIAL_MISTAKES


CONTRACTIONS: Mapping[str, str] = _contractions()
"""120 entries. Keys with a capital letter never match, since words are in lower case; two keys map to themselves."""


def normalise_whitespace(text: str) -> str:
    """Return the text with spaces for newlines and tabs and without outer spaces, as in the official code."""
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 17)
def normalise_answer(text: str) -> str:
    """Return the text in lower case, without punctuation and articles, with digits for the numbers up to ten.

    A punctuation mark is deleted if the original ``text`` contains it next to a space anywhere, or if the text
    contains a comma between two digits; otherwise the mark is replaced by a space. At most 32 periods are removed.
    """
    text = normalise_whitespace(text)
    stripped = text
    between_digits = _DIGIT_COMMA_DIGIT.search(text) is not None
    for mark in _PUNCTUATION:
        deleted = between_digits or f"{mark} " in text or f" {mark}" in text
        stripped = stripped.replace(mark, "" if deleted else " ")
    stripped = _PERIOD.sub("", stripped, count=_PERIODS)
    words = (_NUMBERS.get(word, word) for word in stripped.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def answer_list(most_common: Iterable[str], occurrences: int = OCCURRENCES) -> tuple[str, ...]:
    """Return the answers that a model may give, in alphabetical order.

    Args:
        most_common: the most common answer (``multiple_choice_answer``) of every question.
        occurrences: an answer is listed if, after normalisation, it is the most common answer of more than this
            number of questions.

    Raises:
        DataError: no answer occurs often enough.
    """
    counts = Counter(map(normalise_answer, most_common))
    listed = tuple(sorted(answer for answer, count in counts.items() if count > occurrences))
    if not listed:
        raise DataError(
            f"no answer can be listed: none of the {counts.total()} most common answers occurs more than "
            f"{occurrences} times; give a file with a list of answers instead (answers: FILE)"
        )
    return listed

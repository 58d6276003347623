"""Answers as VQA's official evaluation reads them, and the list of answers that a model may give.

The rules are those of the evaluation published with VQA v2 (Goyal et al., CVPR 2017; github.com/GT-Vision-Lab/VQA,
commit a013f004), with its slips: results are comparable only with the very same rules. Digits are ASCII, as
they were for the Python that it was written for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from fusion_bench.errors import DataError

ANNOTATORS = 10
"""Every question was put to ten people."""
OCCURRENCES = 8
"""An answer is listed if it is the commonest answer of more questions than this."""

_MARKS = (*";/[]", '"', *"{}()=+\\_-><@`,?!")
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d", re.ASCII)
# The official expression starts with a mistyped look-behind that never holds anything back.
_PERIOD = re.compile(r"\.(?!\d)", re.ASCII)
# The official call passes the flag re.UNICODE where the number of replacements goes.
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
_SPELT = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's I'd've I'm I've isn't it'd it'd've it'll ma'am mightn't mightn't've might've
mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've
something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't
we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll
who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've
you'll you're you've
"""
_SLIPS = {"let's": "let's", "she's": "she's", "somebody'd": "somebodyd"}


def _contractions() -> dict[str, str]:
    """The official table: each contraction with one of its apostrophes left out leads to it whole."""
    table = {
        word[:place] + word[place + 1 :]: word
        for word in _SPELT.split()
        for place, letter in enumerate(word)
        if letter == "'"
    }
    return table | _SLIPS


CONTRACTIONS: Mapping[str, str] = _contractions()
"""120 keys; those with a capital can never match a lower-case word, and two lead to themselves."""


def tidy(text: str) -> str:
    """Newlines and tabs become blanks, and blanks at both ends go: what is done to every text, always."""
    return text.replace("\n", " ").replace("\t", " ").strip()


@lru_cache(maxsize=1 << 17)
def normalise_answer(text: str) -> str:
    """The text without punctuation and articles, in lower case, with digits for numbers up to ten.

    Whether a mark is deleted or becomes a blank is decided on ``text`` as it came: it is deleted if it stands
    next to a blank anywhere, and if a comma stands between two digits every mark is. At most 32 periods go.
    """
    text = tidy(text)
    bare = text
    between_digits = _DIGIT_COMMA_DIGIT.search(text) is not None
    for mark in _MARKS:
        deleted = between_digits or f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if deleted else " ")
    bare = _PERIOD.sub("", bare, count=_PERIODS)
    words = (_NUMBERS.get(word, word) for word in bare.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def answer_list(commonest: Iterable[str], occurrences: int = OCCURRENCES) -> tuple[str, ...]:
    """The answers that a model may give, in alphabetical order.

    Args:
        commonest: the ``multiple_choice_answer`` of every question that counts.
        occurrences: an answer is listed if, normalised, it is that of more questions than this.

    Raises:
        DataError: no answer is.
    """
    counts = Counter(map(normalise_answer, commonest))
    listed = tuple(sorted(answer for answer, count in counts.items() if count > occurrences))
    if not listed:
        raise DataError(
            f"none of the {counts.total()} questions has a commonest answer that occurs more than {occurrences} "
            "times, so no answer can be listed; name a file of answers (answers: FILE)"
        )
    return listed

"""Normalisation as in the official evaluation: each rule and each mistake on a text worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_bench.errors import DataError
from fusion_bench.samples.vqa_answers import CONTRACTIONS, answer_list, normalise_answer, normalise_whitespace


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("t-shirt", "t shirt"),  # a mark between letters becomes a space
        ("red, blue", "red blue"),  # a mark next to a space is deleted
        ("well-done - rare", "welldone rare"),  # next to a space anywhere, it is deleted everywhere
        ("x;-y-z", "x y z"),  # the dash is not next to a space in the original text
        ("1,000", "1000"),  # a comma between digits
        ("1,000 x/y", "1000 xy"),  # ... deletes every mark
        ("x,1 y/z", "x 1 y z"),  # a letter and a digit are not two digits
        ("\u0663,\u0664", "\u0663 \u0664"),  # nor are digits of another script
        ("?why!", "why"),
        ('"x" [y] {z} (v) <w>', "x y z v w"),
        ("q=r+s\\t_u@v`w", "q r s t u v w"),
        ("it's $5: 10% & more*", "it's $5: 10% & more*"),  # marks without a rule
        ("u.s.a.", "usa"),
        ("3.5", "3.5"),  # a period before a digit is kept
        ("5. x.7 .", "5 x.7"),  # a period after a digit is deleted: the look-behind is mistyped
        ("x" + "." * 33, "x."),  # 32 at most
        ("The cat and a dog, an owl", "cat and dog owl"),
        ("the", ""),
        ("None", "0"),
        ("zero One TEN eleven", "0 1 10 eleven"),
        ("DONT", "don't"),
        ("i dont know", "i don't know"),
        ("twas", "'twas"),
        ("Im Ive", "im ive"),  # keys with capitals never match
        ("I'dve", "i'dve"),
        ("somebody'd", "somebodyd"),  # a mistake of the official table
        ("somebodyd've", "somebody'd've"),
        ("let's she's", "let's she's"),
        ("y'alld've", "y'all'd've"),
        ("  two\twords\n", "2 words"),
        ("\u8fd9\u662f, \u732b", "\u8fd9\u662f \u732b"),
    ],
)
def test_a_text_is_normalised_as_by_hand(text: str, expected: str) -> None:
    assert normalise_answer(text) == expected


def test_whitespace_alone_is_normalised() -> None:
    assert normalise_whitespace("\n The\tCat.\n") == "The Cat."


def test_the_contraction_table_has_the_official_size_and_mistakes() -> None:
    assert len(CONTRACTIONS) == 120
    assert [key for key, value in CONTRACTIONS.items() if key == value] == ["let's", "she's"]
    assert {key for key in CONTRACTIONS if key != key.lower()} == {"Im", "Ive", "Id've", "I'dve"}
    assert {key: CONTRACTIONS[key] for key in ("couldnt've", "couldn'tve", "ow's'at", "maam", "wed've")} == {
        "couldnt've": "couldn't've",
        "couldn'tve": "couldn't've",
        "ow's'at": "'ow's'at",
        "maam": "ma'am",
        "wed've": "we'd've",
    }
    # "were" and "wed" are words of their own, and so are "ill", "shed", "shell" and "well".
    assert not {"were", "wed", "well", "ill", "shed", "shell", "hell", "id"} & CONTRACTIONS.keys()


def test_an_answer_is_listed_if_it_occurs_more_than_eight_times_once_normalised() -> None:
    most_common = ["yes"] * 5 + ["Yes."] * 4 + ["no"] * 8 + ["The cat"] * 20
    assert answer_list(most_common) == ("cat", "yes")
    with pytest.raises(DataError, match=r"none of the 8 most common answers .* more than 8 times"):
        answer_list(["no"] * 8)


@pytest.mark.pack
def test_real_answers_are_listed_as_published(packs: Path) -> None:
    """The first hundred annotations of each file: every listed answer is also in the published list of 3129."""
    folder = packs / "vqa_v2_mini" / "Annotations"
    files = [
        folder / f"first100_v2_mscoco_{subtype}_annotations.json" for subtype in ("train2014", "val2014")
    ]
    records = [record for file in files for record in json.loads(file.read_text())["annotations"]]
    assert len(records) == 200
    listed = answer_list(record["multiple_choice_answer"] for record in records)
    # By hand: how often the raw strings occur.
    raw = [record["multiple_choice_answer"] for record in records]
    assert set(listed) == {answer for answer in set(raw) if raw.count(answer) > 8}
    assert {"yes", "no"} <= set(listed)

"""REFER's ``refs(<split_by>).p``: who speaks of which annotated object, and in which words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fusion_bench.data.refer.pickles import read_plain_pickle, readable
from fusion_bench.data.refer.records import int_field, text_field
from fusion_bench.errors import DataError


class Sentence(NamedTuple):
    """One referring expression: its number, the objects' numbers, the published split, the words."""

    number: int
    ref: int
    annotation: int
    image: int
    split: str
    text: str


def read_sentences(path: Path, published: str) -> list[Sentence]:
    """Every sentence of a refs file, in its order; one that stands there twice, word for word, comes twice.

    Args:
        path: ``refs(<split_by>).p``.
        published: where it can be had; for the error message.

    Raises:
        DataError: the file is missing, holds anything but data, or is not in REFER's schema; a sentence is
            empty, or one ``sent_id`` stands for two sentences.
    """
    content = read_plain_pickle(path, published)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path} does not hold a list of refs")
    found: list[Sentence] = []
    known: dict[int, Sentence] = {}
    for place, record in enumerate(content):
        try:
            sentences = list(_sentences(record))
        except KeyError as error:
            raise DataError(f"{path}: ref number {place} lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: ref number {place} is not one of REFER's: {error}") from error
        for sentence in sentences:
            if known.setdefault(sentence.number, sentence) != sentence:
                raise DataError(f"{path}: the sent_id {sentence.number} stands for two different sentences")
        found += sentences
    return found


def _sentences(record: Any) -> Iterator[Sentence]:
    if not isinstance(record, Mapping):
        raise TypeError("it is not a dictionary")
    ref, annotation, image = (int_field(record, key) for key in ("ref_id", "ann_id", "image_id"))
    split = text_field(record, "split")
    for sentence in record["sentences"]:
        number, words = int_field(sentence, "sent_id"), readable(text_field(sentence, "sent"))
        if not words.strip():
            raise ValueError(f"its sentence {number} is empty")
        yield Sentence(number, ref, annotation, image, split, words)

"""The reader of REFER's ``refs(<split_by>).p``: sentences and the annotated objects that they refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fusion_bench.data.refer.pickles import read_plain_pickle, repair_text
from fusion_bench.data.refer.records import int_field, text_field
from fusion_bench.errors import DataError


class Sentence(NamedTuple):
    """One referring expression.

    Attributes:
        number: its ``sent_id``.
        ref: number of its ref.
        annotation: number of the annotated object.
        image: number of the image.
        split: the published split.
        text: the cleaned sentence.
    """

    number: int
    ref: int
    annotation: int
    image: int
    split: str
    text: str


def read_sentences(path: Path, published: str) -> list[Sentence]:
    """Read all sentences of a refs file in their order, repeated and empty ones too.

    Args:
        path: ``refs(<split_by>).p``.
        published: the address where the file is published, for the error message.

    Raises:
        DataError: the file is missing, contains objects other than data, or does not follow REFER's schema; a
            sentence has half of a surrogate pair, or two sentences have the same ``sent_id``.
    """
    content = read_plain_pickle(path, published)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path} does not contain a list of refs")
    found: list[Sentence] = []
    known: dict[int, Sentence] = {}
    for position, record in enumerate(content):
        try:
            sentences = list(_sentences(record))
        except KeyError as error:
            raise DataError(f"{path}: ref number {position} has no key {error}") from error
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{path}: ref number {position} does not follow REFER's schema: {error}"
            ) from error
        for sentence in sentences:
            if known.setdefault(sentence.number, sentence) != sentence:
                raise DataError(f"{path}: two different sentences have the sent_id {sentence.number}")
        found += sentences
    return found


def _sentences(record: Any) -> Iterator[Sentence]:
    if not isinstance(record, Mapping):
        raise TypeError("it is not a dictionary")
    ref, annotation, image = (int_field(record, key) for key in ("ref_id", "ann_id", "image_id"))
    split = text_field(record, "split")
    for sentence in record["sentences"]:
        number, text = int_field(sentence, "sent_id"), repair_text(text_field(sentence, "sent"))
        yield Sentence(number, ref, annotation, image, split, text)

"""COCO's ``instances.json`` as REFER ships it: images, and the annotated objects that sentences speak of."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple, TypeVar

from fusion_bench.data.files import require
from fusion_bench.data.refer.records import int_field, text_field
from fusion_bench.errors import DataError

T = TypeVar("T")

_SLACK = 1.0  # published boxes are rounded and may stick out by a part of a pixel


class Picture(NamedTuple):
    """An image: its file's name, height and width in pixels."""

    file: str
    height: int
    width: int


class InstanceAnnotation(NamedTuple):
    """An object: the numbers of its image and category, x, y, width and height of its box, its outline."""

    image: int
    category: int
    box: tuple[float, float, float, float]
    segmentation: Any


@dataclass(frozen=True, eq=False)
class Instances:
    """One ``instances.json``.

    Attributes:
        path: the file.
        pictures: every image by its number.
        annotations: the wanted objects by their numbers.
        alike: how many objects of a category an image has, by (image, category).
    """

    path: Path
    pictures: Mapping[int, Picture]
    annotations: Mapping[int, InstanceAnnotation]
    alike: Mapping[tuple[int, int], int]

    def place(self, number: int) -> tuple[InstanceAnnotation, Picture]:
        """A wanted object and the image that it stands in.

        Raises:
            DataError: there is none of that number, it is in no known image, or its box is not in its image.
        """
        found = self.annotations.get(number)
        if found is None:
            raise DataError(f"{self.path} holds no annotation {number}")
        picture = self.pictures.get(found.image)
        if picture is None:
            raise DataError(
                f"{self.path}: annotation {number} is of image {found.image}, which is not listed"
            )
        x, y, width, height = found.box
        if not (width > 0 and height > 0):
            raise DataError(f"{self.path}: the box of annotation {number} has no area: {list(found.box)}")
        beyond = max(-x, -y, x + width - picture.width, y + height - picture.height)
        if beyond > _SLACK:
            raise DataError(
                f"{self.path}: the box {list(found.box)} of annotation {number} sticks out of its image "
                f"{picture.file} of {picture.width} x {picture.height} pixels"
            )
        return found, picture


def read_instances(path: Path, wanted: Collection[int], published: str) -> Instances:
    """Read an ``instances.json``, shrinking each record while it is parsed.

    Args:
        path: the file.
        wanted: numbers of the annotations whose box and outline are kept; of the others only the category counts.
        published: where it can be had; for the error message.

    Raises:
        DataError: the file is missing, not JSON, or not in COCO's schema.
    """
    require(path, published)
    annotations: dict[int, InstanceAnnotation] = {}
    pictures: dict[int, Picture] = {}
    alike: Counter[tuple[int, int]] = Counter()

    def keep(record: dict[str, Any]) -> Any:
        if "bbox" in record:
            number, found = _checked("an annotation", _annotation, record)
            alike[found.image, found.category] += 1
            if number in wanted:
                _once("annotation", number, annotations)
                annotations[number] = found
            return None
        if "file_name" in record:
            number, picture = _checked("an image", _picture, record)
            _once("image", number, pictures)
            pictures[number] = picture
            return None
        return record

    try:
        json.loads(path.read_text(encoding="utf-8"), object_hook=keep)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not (pictures and alike):
        raise DataError(f"{path} lists no images or no annotations as COCO's instances files do")
    return Instances(path, pictures, annotations, alike)


def _checked(what: str, read: Callable[[Mapping[str, Any]], T], record: Mapping[str, Any]) -> T:
    try:
        return read(record)
    except KeyError as error:
        raise DataError(f"{what} ({record.get('id', 'without id')}) lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} ({record.get('id', 'without id')}) is not COCO's: {error}") from error


def _annotation(record: Mapping[str, Any]) -> tuple[int, InstanceAnnotation]:
    box = tuple(float(side) for side in record["bbox"])
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"bbox must be four numbers, not {record['bbox']!r}")
    found = InstanceAnnotation(
        int_field(record, "image_id"), int_field(record, "category_id"), box, record.get("segmentation")
    )
    return int_field(record, "id"), found


def _picture(record: Mapping[str, Any]) -> tuple[int, Picture]:
    file = text_field(record, "file_name")
    if PurePath(file).name != file:
        raise ValueError(f"file_name must be the name of a file, not {file!r}")
    return int_field(record, "id"), Picture(file, int_field(record, "height"), int_field(record, "width"))


def _once(what: str, number: int, known: Collection[int]) -> None:
    if number in known:
        raise DataError(f"the {what} {number} is listed twice")

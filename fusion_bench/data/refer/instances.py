"""The reader of COCO's ``instances.json`` in REFER: images and annotated objects."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple, TypeVar

from fusion_bench.data.files import read_utf8, require
from fusion_bench.data.refer.records import int_field, text_field
from fusion_bench.errors import DataError

T = TypeVar("T")

_TOLERANCE = 1.0  # pixels; published boxes are rounded and may exceed the image by part of a pixel


class ImageInfo(NamedTuple):
    """The file name, height and width in pixels of an image."""

    file: str
    height: int
    width: int


class InstanceAnnotation(NamedTuple):
    """An annotated object.

    Attributes:
        image: number of its image.
        category: number of its category.
        box: x, y, width and height in pixels.
        segmentation: its outline in one of COCO's three forms, see `outlines.object_mask`.
    """

    image: int
    category: int
    box: tuple[float, float, float, float]
    segmentation: Any


@dataclass(frozen=True, eq=False)
class Instances:
    """The content of one ``instances.json``.

    Attributes:
        path: the file.
        images: all images by number.
        annotations: the requested objects by number.
        same_category: the number of objects by (image, category).
    """

    path: Path
    images: Mapping[int, ImageInfo]
    annotations: Mapping[int, InstanceAnnotation]
    same_category: Mapping[tuple[int, int], int]

    def locate(self, number: int) -> tuple[InstanceAnnotation, ImageInfo]:
        """Return a requested object and its image.

        Raises:
            DataError: there is no object with this number, its image is unknown, or its box exceeds the image.
        """
        found = self.annotations.get(number)
        if found is None:
            raise DataError(f"{self.path} has no annotation {number}")
        image = self.images.get(found.image)
        if image is None:
            raise DataError(
                f"{self.path}: annotation {number} belongs to image {found.image}, which is not listed"
            )
        x, y, width, height = found.box
        if not (width > 0 and height > 0):
            raise DataError(f"{self.path}: the box of annotation {number} has no area: {list(found.box)}")
        excess = max(-x, -y, x + width - image.width, y + height - image.height)
        if excess > _TOLERANCE:
            raise DataError(
                f"{self.path}: the box {list(found.box)} of annotation {number} exceeds its image "
                f"{image.file} of {image.width} x {image.height} pixels"
            )
        return found, image


def read_instances(path: Path, requested: Collection[int], published: str) -> Instances:
    """Read an ``instances.json``; each record is reduced to the needed fields while the file is parsed.

    Args:
        path: the file.
        requested: numbers of the annotations whose box and outline are kept; the others are only counted.
        published: the address where the file is published, for the error message.

    Raises:
        DataError: the file is missing, is not JSON, or does not follow COCO's schema.
    """
    require(path, published)
    annotations: dict[int, InstanceAnnotation] = {}
    images: dict[int, ImageInfo] = {}
    same_category: Counter[tuple[int, int]] = Counter()

    def reduce(record: dict[str, Any]) -> Any:
        if "bbox" in record:
            number, found = _checked("an annotation", _annotation, record)
            same_category[found.image, found.category] += 1
            if number in requested:
                _require_new("annotation", number, annotations)
                annotations[number] = found
            return None
        if "file_name" in record:
            number, image = _checked("an image", _image, record)
            _require_new("image", number, images)
            images[number] = image
            return None
        return record

    text = read_utf8(path)
    try:
        json.loads(text, object_hook=reduce)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not (images and same_category):
        raise DataError(
            f"{path} lists no images or no annotations; it must follow the schema of COCO's instances files"
        )
    return Instances(path, images, annotations, same_category)


def _checked(label: str, read: Callable[[Mapping[str, Any]], T], record: Mapping[str, Any]) -> T:
    try:
        return read(record)
    except KeyError as error:
        raise DataError(f"{label} ({record.get('id', 'without id')}) has no key {error}") from error
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{label} ({record.get('id', 'without id')}) does not follow COCO's schema: {error}"
        ) from error


def _annotation(record: Mapping[str, Any]) -> tuple[int, InstanceAnnotation]:
    box = tuple(float(side) for side in record["bbox"])
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError(f"bbox must be four numbers, not {record['bbox']!r}")
    found = InstanceAnnotation(
        int_field(record, "image_id"), int_field(record, "category_id"), box, record.get("segmentation")
    )
    return int_field(record, "id"), found


def _image(record: Mapping[str, Any]) -> tuple[int, ImageInfo]:
    file = text_field(record, "file_name")
    if PurePath(file).name != file:
        raise ValueError(f"file_name must be the name of a file, not {file!r}")
    return int_field(record, "id"), ImageInfo(file, int_field(record, "height"), int_field(record, "width"))


def _require_new(label: str, number: int, known: Collection[int]) -> None:
    if number in known:
        raise DataError(f"the {label} {number} is listed twice")

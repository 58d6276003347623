"""The writer of REFER's file layout and schema, which `Refer` reads."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_bench.data.miniclevr.referring.expressions import Expression
from fusion_bench.data.miniclevr.render.render import visible_boxes, visible_masks
from fusion_bench.data.miniclevr.scenes.scenes import SHAPES
from fusion_bench.data.refer.dataset import IMAGE_FOLDERS
from fusion_bench.storage import replacing, write_text


@dataclass(frozen=True, eq=False)
class Outline:
    """The visible pixels of an object.

    Attributes:
        box: x, y, width and height in pixels.
        runs: run lengths of the mask along the columns, beginning with zeros.
    """

    box: tuple[int, int, int, int]
    runs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image: its split, the shapes and outlines of its objects in order, and its referring expressions."""

    split: str
    shapes: tuple[str, ...]
    outlines: tuple[Outline, ...]
    expressions: tuple[Expression, ...]


def outlines(ids: npt.NDArray[np.int8], things: int) -> tuple[Outline, ...]:
    """Return the outlines of an image's objects; ``ids`` ``[H, W]`` has the object of each pixel, -1: ground."""
    found = zip(
        visible_boxes(ids[None], things)[0].tolist(), visible_masks(ids[None], things)[0], strict=True
    )
    return tuple(Outline((x, y, width, height), _runs(mask)) for (x, y, width, height), mask in found)


def refer_image_path(root: Path, number: int) -> Path:
    """Return the path of the image with this number under ``root``."""
    return root / IMAGE_FOLDERS[0] / _image_file(number)


def write_refer(root: Path, name: str, size: tuple[int, int], images: Sequence[AnnotatedImage]) -> None:
    """Write ``<name>/instances.json`` and ``<name>/refs(unc).p``.

    Args:
        root: the folder of the data set.
        name: the name of the data set.
        size: height and width of all images in pixels.
        images: the images, numbered from 1 in this order.
    """
    image_records = [
        {"id": number, "file_name": _image_file(number), "height": size[0], "width": size[1]}
        for number, _ in enumerate(images, start=1)
    ]
    annotations, refs = _records(size, images)
    categories = [{"supercategory": "thing", "id": _category(shape), "name": shape} for shape in SHAPES]
    content = {
        "info": {"description": name, "version": "1.0"},
        "licenses": [],
        "images": image_records,
        "annotations": annotations,
        "categories": categories,
    }
    write_text(root / name / "instances.json", json.dumps(content))
    # A pickle distinguishes equal strings from identical ones, and a single process shares more strings. Copying
    # through JSON makes the bytes independent of the number of processes.
    plain = json.loads(json.dumps(refs))
    with replacing(root / name / "refs(unc).p") as part:
        part.write_bytes(pickle.dumps(plain, protocol=2))


def _records(
    size: tuple[int, int], images: Iterable[AnnotatedImage]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the annotations of all objects and the refs of those with sentences."""
    annotations: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    sentence_count = 0
    for image, annotated in enumerate(images, start=1):
        for thing, (shape, outline) in enumerate(zip(annotated.shapes, annotated.outlines, strict=True)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": _category(shape),
                    "bbox": list(map(float, outline.box)),
                    "area": sum(outline.runs[1::2]),
                    "iscrowd": 0,
                    "segmentation": {"size": list(size), "counts": list(outline.runs)},
                }
            )
            texts = [each.text for each in annotated.expressions if each.thing == thing]
            if texts:
                refs.append(_ref(len(refs) + 1, annotated.split, annotations[-1], texts, sentence_count))
                sentence_count += len(texts)
    return annotations, refs


def _ref(
    number: int, split: str, annotation: dict[str, Any], texts: Sequence[str], sentence_count: int
) -> dict[str, Any]:
    sentences = [
        {"sent_id": sent_id, "sent": text, "raw": text, "tokens": text.split()}
        for sent_id, text in enumerate(texts, start=sentence_count + 1)
    ]
    stem = Path(_image_file(annotation["image_id"]))
    return {
        "ref_id": number,
        "ann_id": annotation["id"],
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "split": split,
        "file_name": f"{stem.stem}_{number}{stem.suffix}",
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "sentences": sentences,
    }


def _image_file(number: int) -> str:
    return f"miniclevr_{number:012d}.png"


def _category(shape: str) -> int:
    return SHAPES.index(shape) + 1


def _runs(mask: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """Return COCO's uncompressed run lengths of a mask ``[H, W]``."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False)).tolist()
    ends = [*edges, len(flat)]
    return tuple(end - start for start, end in zip([0, *edges], ends, strict=True))

"""REFER's file layout and schema, as written: what `Refer` reads back."""

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
from fusion_bench.data.miniclevr.render.render import boxes, masks
from fusion_bench.data.miniclevr.scenes.scenes import SHAPES
from fusion_bench.data.refer.dataset import IMAGE_FOLDERS
from fusion_bench.storage import replacing, write_text


@dataclass(frozen=True, eq=False)
class Outline:
    """Where a thing is seen: x, y, width and height in pixels, and run lengths down the columns, zeros first."""

    box: tuple[int, int, int, int]
    runs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Described:
    """One image: its split, the shapes and outlines of its things in order, and what is said of them."""

    split: str
    shapes: tuple[str, ...]
    outlines: tuple[Outline, ...]
    expressions: tuple[Expression, ...]


def outlines(ids: npt.NDArray[np.int8], things: int) -> tuple[Outline, ...]:
    """The outlines of a picture's things, from the number that each pixel ``[H, W]`` shows, -1 for the ground."""
    found = zip(boxes(ids[None], things)[0].tolist(), masks(ids[None], things)[0], strict=True)
    return tuple(Outline((x, y, width, height), _runs(mask)) for (x, y, width, height), mask in found)


def refer_image_path(root: Path, number: int) -> Path:
    """Where the image of this number stands under ``root``."""
    return root / IMAGE_FOLDERS[0] / _image_file(number)


def write(root: Path, name: str, size: tuple[int, int], images: Sequence[Described]) -> None:
    """Write ``<name>/instances.json`` and ``<name>/refs(unc).p``.

    Args:
        root: the data set's folder.
        name: the data set's name.
        size: height and width of all images.
        images: numbered from 1 in their order.
    """
    pictures = [
        {"id": number, "file_name": _image_file(number), "height": size[0], "width": size[1]}
        for number, _ in enumerate(images, start=1)
    ]
    annotations, refs = _records(size, images)
    categories = [{"supercategory": "thing", "id": _category(shape), "name": shape} for shape in SHAPES]
    content = {
        "info": {"description": name, "version": "1.0"},
        "licenses": [],
        "images": pictures,
        "annotations": annotations,
        "categories": categories,
    }
    write_text(root / name / "instances.json", json.dumps(content))
    # A pickle's bytes tell equal strings from the same one, of which there are more when one process makes all.
    plain = json.loads(json.dumps(refs))
    with replacing(root / name / "refs(unc).p") as part:
        part.write_bytes(pickle.dumps(plain, protocol=2))


def _records(
    size: tuple[int, int], images: Iterable[Described]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Annotations of all things and refs of those that are spoken of."""
    annotations: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    said = 0
    for image, described in enumerate(images, start=1):
        for thing, (shape, outline) in enumerate(zip(described.shapes, described.outlines, strict=True)):
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
            texts = [each.text for each in described.expressions if each.thing == thing]
            if texts:
                refs.append(_ref(len(refs) + 1, described.split, annotations[-1], texts, said))
                said += len(texts)
    return annotations, refs


def _ref(
    number: int, split: str, annotation: dict[str, Any], texts: Sequence[str], said: int
) -> dict[str, Any]:
    sentences = [
        {"sent_id": sent_id, "sent": text, "raw": text, "tokens": text.split()}
        for sent_id, text in enumerate(texts, start=said + 1)
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
    """COCO's uncompressed run lengths of a mask ``[H, W]``."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False)).tolist()
    ends = [*edges, len(flat)]
    return tuple(end - start for start, end in zip([0, *edges], ends, strict=True))

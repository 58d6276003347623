"""A tiny data set in REFER's published layout, which tests can modify."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (30, 40)  # height, width


def sentence(number: int, text: str, **changes: Any) -> dict[str, Any]:
    return {"sent_id": number, "sent": text, "raw": f"{text} (raw)", "tokens": text.split()} | changes


def ref(number: int, image: int, split: str, *sentences: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return ref ``number``, which refers to annotation ``1000 + number``."""
    record = {
        "ref_id": number,
        "ann_id": 1000 + number,
        "image_id": image,
        "category_id": 7,
        "split": split,
        "file_name": f"COCO_train2014_{image:012d}_{number}.jpg",
        "sent_ids": [one["sent_id"] for one in sentences],
        "sentences": list(sentences),
    }
    return record | changes


def annotation(number: int, image: int, **changes: Any) -> dict[str, Any]:
    record = {
        "id": number,
        "image_id": image,
        "category_id": 7,
        "bbox": [4.0, 5.0, 10.0, 6.0],
        "segmentation": [[4.0, 5.0, 14.0, 5.0, 14.0, 11.0, 4.0, 11.0]],
        "area": 60.0,
        "iscrowd": 0,
    }
    return record | changes


def write_instances(root: Path, name: str, images: list[int], annotations: list[dict[str, Any]]) -> Path:
    folder = root / "images" / "mscoco" / "images" / "train2014"
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        Image.new("RGB", SIZE[::-1]).save(folder / f"COCO_train2014_{image:012d}.jpg")
    records = [
        {"id": image, "file_name": f"COCO_train2014_{image:012d}.jpg", "height": SIZE[0], "width": SIZE[1]}
        for image in images
    ]
    path = root / name / "instances.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"supercategory": "thing", "id": 7, "name": "vase"}]
    path.write_text(
        json.dumps({"info": {}, "images": records, "annotations": annotations, "categories": categories})
    )
    return path


def write_refs(root: Path, name: str, split_by: str, refs: Any, protocol: int = 2) -> Path:
    path = root / name / f"refs({split_by}).p"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(refs if isinstance(refs, bytes) else pickle.dumps(refs, protocol=protocol))
    return path

"""A folder in easy-VQA's published layout for tests: small pictures of one coloured shape each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

COLOURS = ("red", "blue", "green", "gray")
SHAPES = ("circle", "rectangle", "triangle")
ANSWERS = ("yes", "no", *SHAPES, *COLOURS)


def write_easy_vqa(root: Path, train: int = 60, test: int = 24) -> Path:
    """Write a data set with four questions per picture: its shape, its colour, and whether a circle is there."""
    for stem, images in (("train", train), ("test", test)):
        rows: list[Sequence[Any]] = []
        for number in range(images):
            shape, colour = SHAPES[number % 3], COLOURS[number % 4]
            is_circle = shape == "circle"
            rows += [
                ("what shape is in the image?", shape, number),
                (f"what color is the {shape}?", colour, number),
                ("is there a circle?", "yes" if is_circle else "no", number),
                ("is no circle present?", "no" if is_circle else "yes", number),
            ]
            place = 1000 * (stem == "test") + number  # no two pictures have the same pixels
            _draw(root / stem / "images" / f"{number}.png", shape, colour, place)
        write_rows(root, stem, rows)
    (root / "answers.txt").write_text("".join(f"{answer}\n" for answer in ANSWERS))
    return root


def install_easy_vqa(site: Path, version: str = "1.0") -> Path:
    """Write the data set into ``site`` as pip would install its package, without code; return its folder."""
    information = site / f"easy_vqa-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: easy-vqa\nVersion: {version}\n")
    return write_easy_vqa(site / "easy_vqa" / "data")


def write_rows(root: Path, stem: str, rows: Sequence[Any]) -> Path:
    """Write the questions file of one split."""
    path = root / stem / "questions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(rows)))
    return path


def _draw(path: Path, shape: str, colour: str, place: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (32, 32), (255 - place % 200, 255 - place // 200, 255))
    draw = ImageDraw.Draw(picture)
    left, top = 2 + place % 10, 2 + place % 7
    box = (left, top, left + 16, top + 16)
    if shape == "circle":
        draw.ellipse(box, fill=colour)
    elif shape == "rectangle":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([(left, top + 16), (left + 16, top + 16), (left + 8, top)], fill=colour)
    picture.save(path)

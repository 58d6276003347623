"""A CLEVR folder of the release's size, from a small one: its questions and images over and over.

Written by ``python -m fusion_bench.bench.full_size SMALL OUT``; what it measures is reading, not learning.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fusion_bench.storage import read_json, replacing

QUESTIONS, IMAGES = 700_000, 70_000
"""Of the release's train split, rounded."""


def enlarge(small: Path, out: Path, split: str, questions: int = QUESTIONS, images: int = IMAGES) -> Path:
    """Write ``out/questions/CLEVR_<split>_questions.json`` and hard links to as many images.

    Args:
        small: a folder in CLEVR's layout.
        out: folder to make, on the same disk.
        split: which of its splits.
        questions: how many, spread evenly over the images.
        images: how many.

    Returns:
        The questions file.
    """
    records = read_json(small / "questions" / f"CLEVR_{split}_questions.json")["questions"]
    files = sorted((small / "images" / split).iterdir())
    folder = out / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"CLEVR_{split}_{number:06d}.png" for number in range(images)]
    for name, image in zip(names, itertools.cycle(files), strict=False):
        if not (folder / name).exists():
            os.link(image, folder / name)
    path = out / "questions" / f"CLEVR_{split}_questions.json"
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"info": {"split": "' + split + '", "version": "1.0"}, "questions": [')
        for number, record in zip(range(questions), itertools.cycle(records), strict=False):
            shown = number * images // questions
            own = {"image_index": shown, "image_filename": names[shown], "question_index": number}
            file.write((", " if number else "") + json.dumps({**record, **own}))
        file.write("]}")
    return path


def main(arguments: Sequence[str]) -> None:
    """Write the folder and say how large its questions file is."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.bench.full_size", description=__doc__)
    parser.add_argument("small", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    for split, share in (("train", 1.0), ("val", 0.2)):
        path = enlarge(given.small, given.out, split, int(share * QUESTIONS), int(share * IMAGES))
        sys.stdout.write(f"{path}: {path.stat().st_size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main(sys.argv[1:])

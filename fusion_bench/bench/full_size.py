"""A CLEVR folder of the size of the published release, made from a small one by repeating its questions and images.

``python -m fusion_bench.bench.full_size SMALL OUT`` writes it. The folder serves to time how the data are read; it
is useless for training.
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
"""Numbers of questions and images in the published train split, rounded."""


def enlarge(small: Path, out: Path, split: str, questions: int = QUESTIONS, images: int = IMAGES) -> Path:
    """Write ``out/questions/CLEVR_<split>_questions.json`` and one hard link per image.

    Args:
        small: a folder in the layout of CLEVR.
        out: the folder to make, on the same disk.
        split: the split to repeat.
        questions: the number of questions, spread evenly over the images.
        images: the number of images.

    Returns:
        The path of the questions file.
    """
    records = read_json(small / "questions" / f"CLEVR_{split}_questions.json")["questions"]
    files = sorted((small / "images" / split).iterdir())
    folder = out / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"CLEVR_{split}_{number:06d}.png" for number in range(images)]
    for name, source in zip(names, itertools.cycle(files), strict=False):
        if not (folder / name).exists():
            os.link(source, folder / name)
    path = out / "questions" / f"CLEVR_{split}_questions.json"
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"info": {"split": "' + split + '", "version": "1.0"}, "questions": [')
        for number, record in zip(range(questions), itertools.cycle(records), strict=False):
            image = number * images // questions
            changed = {"image_index": image, "image_filename": names[image], "question_index": number}
            file.write((", " if number else "") + json.dumps({**record, **changed}))
        file.write("]}")
    return path


def main(arguments: Sequence[str]) -> None:
    """Write the folder and print the size of each questions file."""
    parser = argparse.ArgumentParser(prog="python -m fusion_bench.bench.full_size", description=__doc__)
    parser.add_argument("small", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    for split, share in (("train", 1.0), ("val", 0.2)):
        path = enlarge(options.small, options.out, split, int(share * QUESTIONS), int(share * IMAGES))
        sys.stdout.write(f"{path}: {path.stat().st_size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main(sys.argv[1:])

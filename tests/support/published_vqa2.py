"""A folder in VQA v2's published layout for tests: small images and ten answers per question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "green": (40, 200, 40)}


def annotation(question: int, answers: Sequence[str], **changes: Any) -> dict[str, Any]:
    """Return one record of an annotations file; ``answers`` are the ten answers, the most common one first."""
    record = {
        "question_type": "what color",
        "multiple_choice_answer": answers[0] if answers else "",
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": number}
            for number, answer in enumerate(answers, start=1)
        ],
        "image_id": question // 1000,
        "answer_type": "other",
        "question_id": question,
    }
    return record | changes


def question(number: int, text: str = "What color is it?") -> dict[str, Any]:
    """Return one record of a questions file."""
    return {"image_id": number // 1000, "question": text, "question_id": number}


def write_split(
    root: Path,
    subtype: str,
    questions: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]] | None,
    colours: Sequence[tuple[int, int, int]] = ((90, 90, 90),),
) -> None:
    """Write questions, annotations and one small image per image number; the colours alternate."""
    for folder in ("Questions", "Annotations", f"Images/mscoco/{subtype.replace('-dev', '')}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    file = root / "Questions" / f"v2_OpenEnded_mscoco_{subtype}_questions.json"
    file.write_text(
        json.dumps({"info": {"version": "2.0"}, "data_subtype": subtype, "questions": list(questions)})
    )
    if annotations is not None:
        file = root / "Annotations" / f"v2_mscoco_{subtype}_annotations.json"
        file.write_text(json.dumps({"data_subtype": subtype, "annotations": list(annotations)}))
    stem = subtype.replace("-dev", "")
    for place, image in enumerate(sorted({record["image_id"] for record in questions})):
        # No two images have the same content.
        grain = np.random.default_rng(image).integers(0, 30, (32, 40, 3))
        pixels = (np.array(colours[place % len(colours)]) + grain).astype(np.uint8)
        Image.fromarray(pixels).save(root / "Images" / "mscoco" / stem / f"COCO_{stem}_{image:012d}.jpg")


def write_vqa2(root: Path, images: int = 60) -> Path:
    """Write a data set with two questions per image about its colour: train, val, and test-dev without answers."""
    colours = list(_COLOURS)
    for place, subtype in enumerate(("train2014", "val2014", "test-dev2015")):
        questions, annotations = [], []
        for number in range(images):
            image = 100_000 * (place + 1) + number
            colour = colours[number % len(colours)]
            other = colours[(number + 1) % len(colours)]
            questions.append(question(1000 * image))
            annotations.append(
                annotation(1000 * image, [colour] * 7 + [other] * 2 + [f"{colour}ish {number}"])
            )
            questions.append(question(1000 * image + 1, "Is it red?"))
            truth = "yes" if colour == "red" else "no"
            annotations.append(
                annotation(1000 * image + 1, [truth] * 10, question_type="is it", answer_type="yes/no")
            )
        write_split(
            root,
            subtype,
            questions,
            None if subtype == "test-dev2015" else annotations,
            list(_COLOURS.values()),
        )
    return root

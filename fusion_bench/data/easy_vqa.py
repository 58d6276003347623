"""The adapter of easy-VQA (V. Zhou, 2019): generated questions about pictures of one coloured shape each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusion_bench.data.annotations.easy_vqa_rows import EasyVqaRow, read_answer_lines, read_easy_vqa_rows
from fusion_bench.data.files import image_sizes
from fusion_bench.data.held_out import held_out_images
from fusion_bench.data.published import PublishedDataSet
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.data_package import DataPackage
from fusion_bench.samples.dataset import Counts, Splits, WordingFloor
from fusion_bench.samples.split import Split

NAMED_COLORS = frozenset({"black", "blue", "brown", "gray", "green", "red", "teal", "yellow"})
NAMED_SHAPES = frozenset({"circle", "rectangle", "triangle"})
_WORD = re.compile(r"[a-z0-9']+")


class EasyVqa(PublishedDataSet):
    """easy-VQA 1.0: ``{train,test}/{questions.json, images/<number>.png}`` and ``answers.txt`` under ``root``.

    ``root`` is the folder ``easy_vqa/data`` of the package, which is found where the package is installed; its files
    identify the data (`contents`), and the version of the package is not asked. One train image in twenty, chosen by
    a hash of its number, is held out as ``select``, with all its questions; arms are evaluated on ``test``. The
    publisher gives questions no ids: a sample is named by its split in the files and its row there, counted from 0.

    Slices: ``asks`` is what is asked, told from the wording: ``color``, ``shape``, ``presence`` (is there a ...?) or
    ``absence`` (is there no ...?); ``names`` is whether the question names a ``color``, a ``shape`` or ``neither``.

    Args:
        root: the folder with ``train``, ``test`` and ``answers.txt``.
    """

    name: ClassVar[str] = "easy_vqa"
    version: ClassVar[str] = "1.0"
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {"answering": ("accuracy",)}
    cluster: ClassVar[str] = "image"
    homepage: ClassVar[str] = "https://github.com/vzhou842/easy-VQA"
    package: ClassVar[DataPackage | None] = DataPackage(
        "easy-vqa", "easy_vqa/data", "pip install 'laconv-fusion-bench[easy-vqa]'"
    )
    published: Mapping[str, Counts] = {"train": Counts(38_575, 4_000), "test": Counts(9_673, 1_000)}
    cautions = (
        "Each picture of easy-VQA shows a single shape, and the test questions have the same wordings as the train "
        "questions: the data set checks that an arm learns published files, and ranks no arms for harder questions.",
    )

    splits = Splits(train="train", select="select", evaluate=("test",))

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        known = (self.splits.train, self.splits.select, *self.splits.evaluate)
        if name not in known:
            raise DataError(f"easy-VQA has no split {name!r}{did_you_mean(name, known)}")
        stem = self.splits.train if name == self.splits.select else name
        path = self._questions(stem)
        rows = read_easy_vqa_rows(path, read_answer_lines(self._answers(), self.homepage), self.homepage)
        self._require_images(stem, rows)
        if stem == self.splits.train:
            held_out = held_out_images(row.image for row in rows)
            rows = [row for row in rows if (row.image in held_out) == (name == self.splits.select)]
            if not rows:
                raise DataError(f"the split {name!r} of {path} is empty: the file has too few images")
        return self._assemble(name, stem, rows)

    def annotation_files(self) -> tuple[Path, ...]:
        """Return the questions of every split and the answers."""
        return (*map(self._questions, self._stems()), self._answers())

    def image_folders(self) -> tuple[Path, ...]:
        """Return the image folders of every split."""
        return tuple(map(self._images, self._stems()))

    def floor(self, train: Split, select: Split) -> WordingFloor:
        """Return the scores on ``select`` of the most frequent answer of ``train`` to each wording.

        A wording that does not occur in ``train`` gets the most frequent answer of all questions. Of equally frequent
        answers the first in alphabetical order is taken.
        """
        best = train.table.groupby("text")["truth"].agg(lambda answers: answers.mode().iloc[0])
        usual = str(train.table["truth"].mode().iloc[0])
        predicted = select.table["text"].map(best).fillna(usual)
        return WordingFloor(
            "wording",
            (predicted == select.table["truth"]).to_numpy().astype(np.float64),
            "most frequent answer to the same question, counted on train",
        )

    def _assemble(self, name: str, stem: str, rows: Sequence[EasyVqaRow]) -> Split:
        numbers, images = np.unique([row.image for row in rows], return_inverse=True)
        table = pd.DataFrame(
            {
                "sample": [f"{stem}-{row.number}" for row in rows],
                "cluster": [f"{stem}-{row.image}" for row in rows],
                "image": images.astype(np.int64),
                "text": [row.text for row in rows],
                "truth": [row.answer for row in rows],
                "asks": [_asks(row.text) for row in rows],
                "names": [_names(row.text) for row in rows],
            }
        )
        files = tuple(self._images(stem) / f"{number}.png" for number in numbers.tolist())
        return Split(name, table, files, ("asks", "names"))

    def _require_images(self, stem: str, rows: Sequence[EasyVqaRow]) -> None:
        folder = self._images(stem)
        present = image_sizes(folder)
        missing = {row.image: row.number for row in reversed(rows) if f"{row.image}.png" not in present}
        if missing:
            image, number = min(missing.items(), key=lambda item: item[1])
            raise DataError(
                f"{len(missing)} images of {self._questions(stem)} are missing in {folder}; the first is "
                f"{image}.png, in row {number}; get them from {self.homepage}"
            )

    def _stems(self) -> tuple[str, ...]:
        """Return the names of the splits in the files."""
        return (self.splits.train, *self.splits.evaluate)

    def _questions(self, stem: str) -> Path:
        return self.root / stem / "questions.json"

    def _images(self, stem: str) -> Path:
        return self.root / stem / "images"

    def _answers(self) -> Path:
        return self.root / "answers.txt"


def _asks(text: str) -> str:
    """Return what a question asks for; in all published rows this agrees with the kind of answer."""
    words = _WORD.findall(text.lower())
    if words[:1] == ["what"]:
        return "color" if "color" in words else "shape"
    return "absence" if {"no", "not"} & set(words) else "presence"


def _names(text: str) -> str:
    """Return which property a question names; no published question names both."""
    words = set(_WORD.findall(text.lower()))
    return "color" if words & NAMED_COLORS else "shape" if words & NAMED_SHAPES else "neither"

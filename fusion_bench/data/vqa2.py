"""The adapter of VQA v2 (Goyal et al., CVPR 2017): human questions about COCO photographs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_bench.data.annotations.vqa2_files import (
    Vqa2Annotation,
    Vqa2Question,
    read_annotations,
    read_answers,
    read_questions,
)
from fusion_bench.data.files import named_sizes
from fusion_bench.data.held_out import is_held_out
from fusion_bench.data.published import PublishedDataSet
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, Splits, Submission
from fusion_bench.samples.split import Split
from fusion_bench.samples.vqa_answers import ANNOTATORS, answer_list

_TRAIN, _VAL = "train2014", "val2014"
_COMPARABILITY = (
    "Arms are trained on 95 % of train2014 and evaluated on val2014; most published accuracies are on the test "
    "splits, of models that were also trained on val2014."
)


class Vqa2(PublishedDataSet):
    """VQA v2: ``Questions/``, ``Annotations/`` and ``Images/mscoco/<subtype>/`` under ``root``.

    Splits have the names of the official subtypes. The answers of the test splits are not published, so arms are
    evaluated on ``val2014``, and one train image in twenty, chosen by a hash of its number, is held out as
    ``select``.

    Further columns of `Split.table`: ``answers`` (the ten published answers; empty texts if they are secret), and
    the slices ``question_type`` (65 types) and ``answer_type``.

    Args:
        root: the folder with the three folders above.
        answers: the answers that a model may give. ``train``: the most common answers of more than eight questions
            of the training split. ``published``: the same over all of train2014 and val2014, as in most published
            systems; it needs the annotations of both. Otherwise, the name of a file under ``root`` with a list
            ``[answer to index, index to answer]``.
        predict: splits without published answers for which a cell records predictions for a submission
            (``test-dev2015``, ``test2015``).

    Raises:
        DataError: ``predict`` contains a split that has answers or does not exist, or ``answers`` names a file
            outside ``root``.
    """

    name: ClassVar[str] = "vqa2"
    version: ClassVar[str] = "2.0"
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {"vqa": ("accuracy",)}
    cluster: ClassVar[str] = "image"
    homepage: ClassVar[str] = "https://visualqa.org/download.html"
    unlabelled: ClassVar[tuple[str, ...]] = ("test-dev2015", "test2015")
    published: Mapping[str, Counts] = {
        "train2014": Counts(443_757, 82_783),
        "val2014": Counts(214_354, 40_504),
        "test2015": Counts(447_793, 81_434),
    }

    def __init__(self, root: Path, *, answers: str = "train", predict: Sequence[str] = ()) -> None:
        self.root = Path(root)
        self.answers = answers
        for name in predict:
            if name not in self.unlabelled:
                raise DataError(
                    f"predict: {name!r} is not a split without answers{did_you_mean(name, self.unlabelled)}"
                )
        self.splits = Splits(train=_TRAIN, select="select", evaluate=(_VAL,), predict=tuple(predict))
        # The path as written counts: a link under the root may lead anywhere.
        if self._answer_file is not None and (
            ".." in Path(answers).parts or not self._answer_file.is_relative_to(self.root)
        ):
            raise DataError(
                f"answers: {answers!r} is not under {self.root}; move the file there and write its name only"
            )
        self.cautions = (_COMPARABILITY, *self._data_warnings())

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        known = (self.splits.train, self.splits.select, *self.splits.evaluate, *self.unlabelled)
        if name not in known:
            raise DataError(f"VQA v2 has no split {name!r}{did_you_mean(name, known)}")
        subtype = _TRAIN if name == self.splits.select else name
        path = self._question_path(subtype)
        questions = read_questions(path, self.homepage)
        if name in self.unlabelled:
            return self._assemble(name, questions, None)
        annotations = self._matching_annotations(questions, subtype)
        if subtype == _TRAIN:
            selected = name == self.splits.select
            questions = [question for question in questions if is_held_out(question.image) == selected]
            if not questions:
                raise DataError(f"the split {name!r} of {path} is empty: the file has too few images")
        return self._assemble(name, questions, [annotations[question.id] for question in questions])

    def annotation_files(self) -> tuple[Path, ...]:
        """Return the questions and annotations of every split and the answer list."""
        files = [
            read(subtype)
            for subtype in (_TRAIN, _VAL)
            for read in (self._question_path, self._annotation_path)
        ]
        files += map(self._question_path, self.splits.predict)
        return (*files, *([self._answer_file] if self._answer_file is not None else []))

    def image_folders(self) -> tuple[Path, ...]:
        """Return the image folders of every split."""
        names = dict.fromkeys(map(self._image_subtype, (_TRAIN, _VAL, *self.splits.predict)))
        return tuple(self.root / "Images" / "mscoco" / name for name in names)

    def submission(self, split: str, answers: Mapping[str, str], author: str) -> Submission:
        """Return the official results file: ``[{"question_id": int, "answer": str}]``, one entry per question."""
        entries = [{"question_id": int(sample), "answer": answer} for sample, answer in answers.items()]
        file = f"v2_OpenEnded_mscoco_{split}_{author}_results.json"
        return Submission(file, json.dumps(entries, ensure_ascii=False))

    def _matching_annotations(
        self, questions: Sequence[Vqa2Question], subtype: str
    ) -> dict[int, Vqa2Annotation]:
        """Return the annotations by the number of their question; check that they match the questions."""
        path = self._annotation_path(subtype)
        annotations = {annotation.id: annotation for annotation in read_annotations(path, self.homepage)}
        for question in questions:
            annotation = annotations.get(question.id)
            if annotation is None:
                raise DataError(f"{path} has no annotation of question {question.id}")
            if annotation.image != question.image:
                raise DataError(
                    f"question {question.id} has the image {annotation.image} in {path}, but the image "
                    f"{question.image} in {self._question_path(subtype).name}"
                )
        if len(annotations) > len(questions):
            extra = min(annotations.keys() - {question.id for question in questions})
            raise DataError(
                f"{path} has annotations of {len(annotations) - len(questions)} questions that are not in "
                f"{self._question_path(subtype).name}; the first is {extra}"
            )
        return annotations

    def _assemble(
        self, name: str, questions: Sequence[Vqa2Question], annotations: Sequence[Vqa2Annotation] | None
    ) -> Split:
        folder, rows, images = self._locate_images(name, questions)
        table = pd.DataFrame(
            {
                "sample": [str(question.id) for question in questions],
                "cluster": np.array([Path(image).stem for image in images], dtype=object)[rows],
                "image": rows.astype(np.int64),
                "text": [question.text for question in questions],
            }
        )
        files = tuple(folder / image for image in images)
        if annotations is None:
            unknown = [("",) * ANNOTATORS] * len(questions)
            return Split(name, table.assign(truth="", answers=pd.Series(unknown, dtype=object)), files)
        table = table.assign(
            truth=[annotation.most_common for annotation in annotations],
            answers=pd.Series([annotation.answers for annotation in annotations], dtype=object),
            question_type=[annotation.question_type for annotation in annotations],
            answer_type=[annotation.answer_type for annotation in annotations],
        )
        answers = self._answer_list(table) if name == self.splits.train else None
        return Split(name, table, files, ("question_type", "answer_type"), answers=answers)

    def _locate_images(
        self, name: str, questions: Sequence[Vqa2Question]
    ) -> tuple[Path, npt.NDArray[np.int64], list[str]]:
        """Return the image folder, the row of each question's image, and the names of the images."""
        stem = self._image_subtype(name)
        folder = self.root / "Images" / "mscoco" / stem
        numbers, rows = np.unique([question.image for question in questions], return_inverse=True)
        images = [f"COCO_{stem}_{number:012d}.jpg" for number in numbers.tolist()]
        named_sizes(folder, images, self.homepage)
        return folder, rows.astype(np.int64), images

    def _answer_list(self, train: pd.DataFrame) -> tuple[str, ...]:
        """Return the answers that a model may give."""
        if self._answer_file is not None:
            return read_answers(self._answer_file)
        if self.answers == "train":
            return answer_list(train["truth"])
        files = [self._annotation_path(subtype) for subtype in (_TRAIN, _VAL)]
        return answer_list(
            annotation.most_common for file in files for annotation in read_annotations(file, self.homepage)
        )

    @property
    def _answer_file(self) -> Path | None:
        """The file with the answer list; None if the setting ``answers`` does not name a file."""
        return None if self.answers in {"train", "published"} else self.root / self.answers

    def _image_subtype(self, name: str) -> str:
        """Return the subtype in the names of a split's images."""
        return {self.splits.select: _TRAIN, "test-dev2015": "test2015"}.get(name, name)

    def _question_path(self, subtype: str) -> Path:
        return self.root / "Questions" / f"v2_OpenEnded_mscoco_{subtype}_questions.json"

    def _annotation_path(self, subtype: str) -> Path:
        return self.root / "Annotations" / f"v2_mscoco_{subtype}_annotations.json"

    def _data_warnings(self) -> tuple[str, ...]:
        """Return the cautions about the answer list."""
        if self.answers == "train":
            return ()
        if self._answer_file is not None:
            return (f"The answers that arms may give are those of the file `{self.answers}`.",)
        return (
            "The answers that arms may give were also counted on val2014 (`answers: published`), on which arms are "
            "evaluated.",
        )

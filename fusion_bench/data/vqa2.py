"""VQA v2 (Goyal et al., CVPR 2017) in its published layout: people's questions about COCO photographs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_bench.data.files import image_sizes, manifest, named_sizes, require
from fusion_bench.data.held_out import held_out
from fusion_bench.data.vqa2_files import Vqa2Annotation, Vqa2Question, read_annotations, read_questions
from fusion_bench.errors import DataError, FusionBenchError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, DataSet, Splits, Submission
from fusion_bench.samples.split import Split
from fusion_bench.samples.vqa_answers import ANNOTATORS, answer_list
from fusion_bench.storage import read_json

_TRAIN, _VAL = "train2014", "val2014"
_COMPARED = (
    "Arms are judged on val2014 and learn from 95 % of train2014; most published accuracies are of the test splits, "
    "and of models that learnt from val2014 too."
)


class Vqa2(DataSet):
    """VQA v2: ``Questions/``, ``Annotations/`` and ``Images/mscoco/<subtype>/`` under ``root``.

    Splits bear the official subtypes. Answers of the test splits are not published, so ``val2014`` is what arms
    are judged on, and one train image in twenty, chosen by a hash of its number, is held out as ``select``.

    Columns beyond those of `Split`: ``answers`` (what the ten annotators said, as published; empty texts where
    that is secret), and the slices ``question_type`` (65 of them) and ``answer_type``.

    Args:
        root: the folder that holds the three.
        answers: which answers a model may give. ``train``: those that are the commonest answer of more than eight
            questions of the training split; ``published``: the same over all of train2014 and val2014 (so it
            needs the annotations of both), as most published systems do; else the name of a file under
            ``root`` that holds a list ``[answer to index, index to answer]``.
        predict: splits without published answers whose predictions a cell records for a submission
            (``test-dev2015``, ``test2015``).

    Raises:
        DataError: ``predict`` names no such split, or ``answers`` a file outside ``root``.
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
                    f"predict: {name!r} is no split without answers{did_you_mean(name, self.unlabelled)}"
                )
        self.splits = Splits(train=_TRAIN, select="select", evaluate=(_VAL,), predict=tuple(predict))
        if self._listed is not None and not self._listed.resolve().is_relative_to(self.root.resolve()):
            raise DataError(
                f"answers: {answers!r} is not under {self.root}; put the file there and name it alone"
            )
        self.cautions = (_COMPARED, *self._data_warnings())

    def prepare(self, workers: int = 1) -> None:
        """Check that questions, annotations and images of every split are there."""
        del workers
        for path in self._files():
            require(path, self.homepage)
        for folder in self._folders():
            image_sizes(folder)

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        known = (self.splits.train, self.splits.select, *self.splits.evaluate, *self.unlabelled)
        if name not in known:
            raise DataError(f"VQA v2 has no split {name!r}{did_you_mean(name, known)}")
        subtype = _TRAIN if name == self.splits.select else name
        path = self._questions(subtype)
        questions = read_questions(path, self.homepage)
        if name in self.unlabelled:
            return self._assemble(name, questions, None)
        annotations = self._matched(questions, subtype)
        if subtype == _TRAIN:
            held = name == self.splits.select
            questions = [question for question in questions if held_out(question.image) == held]
            if not questions:
                raise DataError(f"no image of {path} falls to the split {name!r}; it holds too few")
        return self._assemble(name, questions, [annotations[question.id] for question in questions])

    def manifest(self) -> str:
        """SHA-256 over questions, annotations and the answer list, and the names and sizes of the images."""
        return manifest(self.root, self._files(), self._folders(), self.cache)

    def submission(self, split: str, answers: Mapping[str, str], author: str) -> Submission:
        """The official results file: ``[{"question_id": int, "answer": str}]``, one entry per question."""
        entries = [{"question_id": int(sample), "answer": answer} for sample, answer in answers.items()]
        file = f"v2_OpenEnded_mscoco_{split}_{author}_results.json"
        return Submission(file, json.dumps(entries, ensure_ascii=False))

    def _matched(self, questions: Sequence[Vqa2Question], subtype: str) -> dict[int, Vqa2Annotation]:
        """The annotation of each question, by the question's number."""
        path = self._annotations(subtype)
        annotations = {annotation.id: annotation for annotation in read_annotations(path, self.homepage)}
        for question in questions:
            annotation = annotations.get(question.id)
            if annotation is None:
                raise DataError(f"{path} has no annotation of the question {question.id}")
            if annotation.image != question.image:
                raise DataError(
                    f"{path} has the question {question.id} with the image {annotation.image}, and "
                    f"{self._questions(subtype).name} with the image {question.image}"
                )
        if len(annotations) > len(questions):
            spare = min(annotations.keys() - {question.id for question in questions})
            raise DataError(
                f"{path} has annotations of {len(annotations) - len(questions)} questions that "
                f"{self._questions(subtype).name} lacks, the first is {spare}"
            )
        return annotations

    def _assemble(
        self, name: str, questions: Sequence[Vqa2Question], annotations: Sequence[Vqa2Annotation] | None
    ) -> Split:
        folder, rows, images = self._located(name, questions)
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
            secret = [("",) * ANNOTATORS] * len(questions)
            return Split(name, table.assign(truth="", answers=pd.Series(secret, dtype=object)), files)
        table = table.assign(
            truth=[annotation.commonest for annotation in annotations],
            answers=pd.Series([annotation.answers for annotation in annotations], dtype=object),
            question_type=[annotation.question_type for annotation in annotations],
            answer_type=[annotation.answer_type for annotation in annotations],
        )
        answers = self._list(table) if name == self.splits.train else None
        return Split(name, table, files, ("question_type", "answer_type"), answers=answers)

    def _located(
        self, name: str, questions: Sequence[Vqa2Question]
    ) -> tuple[Path, npt.NDArray[np.int64], list[str]]:
        """The folder, the row of each question's image, and the images' names."""
        stem = self._pictures(name)
        folder = self.root / "Images" / "mscoco" / stem
        numbers, rows = np.unique([question.image for question in questions], return_inverse=True)
        images = [f"COCO_{stem}_{number:012d}.jpg" for number in numbers.tolist()]
        named_sizes(folder, images, self.homepage)
        return folder, rows.astype(np.int64), images

    def _list(self, train: pd.DataFrame) -> tuple[str, ...]:
        """The answers that a model may give."""
        if self._listed is not None:
            return read_answers(self._listed)
        if self.answers == "train":
            return answer_list(train["truth"])
        files = [self._annotations(subtype) for subtype in (_TRAIN, _VAL)]
        return answer_list(
            annotation.commonest for file in files for annotation in read_annotations(file, self.homepage)
        )

    @property
    def _listed(self) -> Path | None:
        """The file with the answers, where one is named."""
        return None if self.answers in {"train", "published"} else self.root / self.answers

    def _pictures(self, name: str) -> str:
        """The published name of the images that a split asks about."""
        return {self.splits.select: _TRAIN, "test-dev2015": "test2015"}.get(name, name)

    def _questions(self, subtype: str) -> Path:
        return self.root / "Questions" / f"v2_OpenEnded_mscoco_{subtype}_questions.json"

    def _annotations(self, subtype: str) -> Path:
        return self.root / "Annotations" / f"v2_mscoco_{subtype}_annotations.json"

    def _files(self) -> list[Path]:
        files = [read(subtype) for subtype in (_TRAIN, _VAL) for read in (self._questions, self._annotations)]
        files += map(self._questions, self.splits.predict)
        return [*files, *([self._listed] if self._listed is not None else [])]

    def _folders(self) -> list[Path]:
        names = dict.fromkeys(map(self._pictures, (_TRAIN, _VAL, *self.splits.predict)))
        return [self.root / "Images" / "mscoco" / name for name in names]

    def _data_warnings(self) -> tuple[str, ...]:
        """What must be said of the answer list."""
        if self.answers == "train":
            return ()
        if self._listed is not None:
            return (f"The answers that arms may give are those of the file `{self.answers}`.",)
        return (
            "The answers that arms may give were counted on val2014 too (`answers: published`), on which arms are "
            "judged.",
        )


def read_answers(path: Path) -> tuple[str, ...]:
    """A list of answers as published implementations keep it: ``[answer to index, index to answer]``.

    Raises:
        DataError: the file is missing, not JSON, or not such a list.
    """
    try:
        index = read_json(path)[0]
        ordered = {number: answer for answer, number in index.items()}
        return tuple(ordered[number] for number in range(len(index)))
    except (FusionBenchError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} does not hold a list of answers: JSON of the form [{{answer: index}}, {{index: answer}}], with "
            f"indices from 0 ({error})"
        ) from error

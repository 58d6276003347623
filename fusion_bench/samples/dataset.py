"""The data set contract: what every adapter declares and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.samples.data_package import DataPackage
from fusion_bench.samples.split import Split


@dataclass(frozen=True)
class Splits:
    """The roles of a data set's splits.

    Attributes:
        train: the split that a model is trained on.
        select: the split on which weights are chosen (early stopping, search).
        evaluate: the splits on which the chosen weights are evaluated, once.
        predict: splits whose truth is not published (empty texts); a cell only records its predictions there.
    """

    train: str
    select: str
    evaluate: tuple[str, ...]
    predict: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counts:
    """The number of samples and of images in a split; None where it is not known."""

    samples: int | None
    images: int | None


@dataclass(frozen=True)
class Submission:
    """The predictions for one split in the form that the data set's publishers accept: file name and file text."""

    file: str
    text: str


class DataSet(ABC):
    """An adapter that reads one data set in its published layout.

    It is constructed as ``Adapter(root, **settings)``. ``root`` is the folder with the published files; a
    ``built_in`` data set generates its files there (`prepare`).

    Class attributes:
        name: the registered name.
        version: the declared version; a new version gives new cells.
        tasks: the tasks that the data set supports, the default first: the name of each task and the names of
            its metrics, the primary metric first.
        built_in: True if `prepare` generates the files.
        cluster: the unit in which samples are drawn ("image", "sentence group").
        homepage: the address where the files are published.
        package: the Python package that carries the published files, whose folder is ``root`` where none is named;
            None without one.
        toy_settings: settings that make the data set small, for ``run --smoke``.
        pretext_condition: the CoGenT condition of the training split. The pretext backbone is trained on scenes of
            this condition only, so that it sees no combination that is new in the other condition; None allows
            any scene.
        unlabelled: further splits that `split` reads, whose truth is not published (empty texts).

    Attributes of the class or, where settings decide, of an instance:
        splits: the role of each split.
        cautions: sentences that a report prints under every verdict on this data set.
        published: the published counts by the published name of the split (a split that is held out of another
            one has no entry), None in them where settings leave samples out; empty for data that is not published.
            Images shared by two splits give a caution where counts are published, and an error where they are not.
        cache: folder for files that make later reads faster; None stores nothing. The code that opens the data
            set sets it.
        notify: is told how many files a built-in data set has generated; set likewise.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    tasks: ClassVar[Mapping[str, tuple[str, ...]]]
    built_in: ClassVar[bool] = False
    cluster: ClassVar[str]
    homepage: ClassVar[str]
    package: ClassVar[DataPackage | None] = None
    toy_settings: ClassVar[Mapping[str, Any]] = {}
    pretext_condition: ClassVar[Literal["A", "B"] | None] = None
    unlabelled: ClassVar[tuple[str, ...]] = ()

    splits: Splits
    cautions: tuple[str, ...] = ()
    published: Mapping[str, Counts] = {}
    cache: Path | None = None
    notify: Notify = staticmethod(say_nothing)

    @classmethod
    def task(cls, name: str = "") -> str:
        """Return the name of the requested task; an empty name means the default task."""
        return name or next(iter(cls.tasks))

    @classmethod
    def canonical_settings(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a study in one spelling, so that spellings that mean the same give the same cells.

        Args:
            settings: the settings that a study writes, as JSON values of the constructor's types.
        """
        return dict(settings)

    @abstractmethod
    def prepare(self, workers: int = 1) -> None:
        """Generate the files (built-in data sets) or check that they exist.

        Args:
            workers: number of processes that may be used; the files do not depend on it.

        Raises:
            DataError: files are missing or damaged; the message names them and the place of publication.
        """

    @abstractmethod
    def split(self, name: str) -> Split:
        """Read one split.

        Raises:
            DataError: the data set has no such split, or its files are damaged.
        """

    @abstractmethod
    def manifest(self) -> str:
        """Return the SHA-256 of the files that results depend on: annotations by content, images by name and size."""

    def contents(self) -> Mapping[str, str]:
        """Return a digest of each file and image folder that results depend on, by its path under the root.

        They decide whether a cell is stale, and name what changed since it was trained. An adapter without a list has
        one entry, the manifest, under the empty name.
        """
        return {"": self.manifest()}

    def files(self) -> tuple[Path, ...]:
        """Return the files and image folders that must exist, to be checked quickly; empty without such a list."""
        return ()

    @property
    def holds_out_select(self) -> bool:
        """True if the published counts of the training split include ``select``, which is held out of it."""
        return bool(self.published) and self.splits.select not in self.published

    def known_counts(self, split: str) -> Counts:
        """Return how many samples and images a split has, as far as that is known without its files.

        What remains of a training split of which ``select`` is held out is not known.
        """
        unknown = Counts(None, None)
        if split == self.splits.train and self.holds_out_select:
            return unknown
        return self.published.get(split, unknown)

    def submission(self, split: str, answers: Mapping[str, str], author: str) -> Submission | None:
        """Return the file to submit for a split; None where the publishers accept no submissions.

        Args:
            split: name of the split.
            answers: prediction by sample id, for every sample of the split in the split's order.
            author: name of the model, usable in a file name.
        """
        del split, answers, author
        return None

    def floor(self, train: Split, select: Split) -> WordingFloor | None:
        """Return the scores that the wording of a question alone allows; None if the data set defines none."""
        del train, select
        return None


@dataclass(frozen=True, eq=False)
class WordingFloor:
    """The scores of the best constant answer per group of questions, fitted on train and measured on another split.

    Attributes:
        name: label of its line in a figure ("wording", "always true").
        scores: the score of each sample of that split, in its order, in [0, 1]. An arm is compared with the floor
            sample by sample, because both answer the same drawn images.
        description: one phrase that says how the floor is computed.
    """

    name: str
    scores: npt.NDArray[np.float64]
    description: str

    @property
    def accuracy(self) -> float:
        """The mean score, in [0, 1]."""
        return float(self.scores.mean())

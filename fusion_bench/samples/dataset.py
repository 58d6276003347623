"""The data set contract: what every adapter declares and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from fusion_bench.samples.split import Split


@dataclass(frozen=True)
class Splits:
    """Which splits train, choose and judge: weights are chosen on ``select``, judged once on ``evaluate``.

    On ``predict``, whose truth is not published (empty texts), a cell only records what it says.
    """

    train: str
    select: str
    evaluate: tuple[str, ...]
    predict: tuple[str, ...] = ()


@dataclass(frozen=True)
class Counts:
    """How many samples and images a published split has; None for a number that is not published."""

    samples: int | None
    images: int | None


@dataclass(frozen=True)
class Submission:
    """Answers to a whole split in the form that a data set's publishers take: a file's name and its text."""

    file: str
    text: str


class DataSet(ABC):
    """An adapter that reads one data set in its published layout.

    Constructed as ``Adapter(root, **settings)``. ``root`` is the folder with the published files; a
    ``built_in`` data set makes its files there itself (`prepare`).

    Class attributes:
        version: the declared version; a change of it makes new cells.
        tasks: what can be asked of it, the default first: a task's name, and which of its metrics, the
            primary one first.
        cluster: what samples are drawn in ("image", "sentence group").
        homepage: where the files are published.
        toy_settings: settings that make it small, for ``run --smoke``.
        pretext_condition: CoGenT's condition of what is trained on: scenes that a pretext backbone learns from
            keep to it, since it must see nothing that is new in the other; None: any scenes.
        unlabelled: splits that `split` reads as well, whose truth is not published (empty there).

    Attributes of a class or, where settings decide, of an instance:
        splits: which train, choose and judge.
        cautions: sentences that belong under every verdict on it.
        published: what the published splits hold, by name as published (one that is held out of another has no
            entry); empty for data of one's own. Images that splits share are a caution where splits are
            published, and refused where they are not.
        cache: folder for what the adapter may keep to be quicker next time; None keeps nothing. Whoever opens
            the data set sets it.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    tasks: ClassVar[Mapping[str, tuple[str, ...]]]
    built_in: ClassVar[bool] = False
    cluster: ClassVar[str]
    homepage: ClassVar[str]
    toy_settings: ClassVar[Mapping[str, Any]] = {}
    pretext_condition: ClassVar[Literal["A", "B"] | None] = None
    unlabelled: ClassVar[tuple[str, ...]] = ()

    splits: Splits
    cautions: tuple[str, ...] = ()
    published: Mapping[str, Counts] = {}
    cache: Path | None = None

    @classmethod
    def task(cls, asked: str = "") -> str:
        """The name of the task that is meant; none means the first."""
        return asked or next(iter(cls.tasks))

    @abstractmethod
    def prepare(self, workers: int = 1) -> None:
        """Make the files (built-in) or check that they are there.

        Args:
            workers: how many processes may work on it; never changes what is made.

        Raises:
            DataError: files are missing or damaged; says which and where they are published.
        """

    @abstractmethod
    def split(self, name: str) -> Split:
        """Read one split.

        Raises:
            DataError: there is no such split, or its files are damaged.
        """

    @abstractmethod
    def manifest(self) -> str:
        """SHA-256 over what results depend on: annotation files by content, image files by name and size."""

    def submission(self, split: str, answers: Mapping[str, str], author: str) -> Submission | None:
        """What to hand in for a split; None where the publishers take nothing.

        Args:
            split: its name.
            answers: sample to answer, every sample of the split in its order.
            author: who answered, fit for a file's name.
        """
        del split, answers, author
        return None

    def floor(self, train: Split, select: Split) -> WordingFloor | None:
        """What the wording of a question alone gives away, where the data set defines it."""
        del train, select
        return None


@dataclass(frozen=True)
class WordingFloor:
    """Accuracy of the best constant answer per group of questions: fitted on train, measured on another split.

    ``name`` is what a figure writes at its line ("wording", "always true").
    """

    name: str
    accuracy: float
    description: str

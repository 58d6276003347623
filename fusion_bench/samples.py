"""What data, encoders and tasks share: samples, batches, words, metrics."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

PAD, UNKNOWN = 0, 1
_WORD = re.compile(r"[\w']+|[;,]")


def tokenize(text: str) -> list[str]:
    """Lower-case runs of letters, digits and apostrophes, in any script; ``;`` and ``,`` are words too."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words by id; 0 is padding and 1 every word not in the list."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Vocabulary:
        """Every word of ``texts``, the most frequent first, ties in alphabetical order."""
        counts = Counter(word for text in texts for word in tokenize(text))
        return cls(tuple(sorted(counts, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        return len(self.words) + 2

    def encode(self, texts: Sequence[str], longest: int | None = None) -> npt.NDArray[np.int64]:
        """Word ids ``[N, T]``; ``T`` is the longest text, at most ``longest`` words.

        A text without a word becomes one unknown word, so that every row has a real one.
        """
        ids = {word: number for number, word in enumerate(self.words, start=2)}
        rows = [[ids.get(word, UNKNOWN) for word in tokenize(text)][:longest] or [UNKNOWN] for text in texts]
        encoded = np.full((len(rows), max(map(len, rows), default=1)), PAD, dtype=np.int64)
        for row, numbers in zip(encoded, rows, strict=True):
            row[: len(numbers)] = numbers
        return encoded

    def read(self, text: str, longest: int | None = None) -> tuple[tuple[str, bool], ...]:
        """The words of one text as `encode` reads them, and whether each is in the list."""
        known = {*self.words}
        return tuple((word, word in known) for word in tokenize(text)[:longest] or [text.strip()])


@dataclass(frozen=True)
class Sample:
    """One question about one image, for showing to people."""

    id: str
    image: Path
    text: str
    truth: str


@dataclass(frozen=True, eq=False)
class Referents:
    """Where the thing that each sentence speaks of stands, in pixels of the original images.

    Attributes:
        boxes: ``[N, 4]`` float64, one row per sample: x1, y1, x2, y2, continuous edges (a box from pixel 3 up to
            and including pixel 5 is 3 to 6).
        sizes: ``[I, 2]`` int64, height and width of each of the split's images.
        masks: one per sample, COCO's compressed run lengths ``{"size": [h, w], "counts": bytes}``; None where
            the data set has boxes only.
    """

    boxes: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]
    masks: tuple[Mapping[str, Any], ...] | None = None

    def of(self, samples: npt.NDArray[np.int64], images: Sequence[int]) -> Referents:
        """Those of some samples, on some of the images."""
        masks = None if self.masks is None else tuple(self.masks[row] for row in samples)
        return Referents(self.boxes[samples], self.sizes[list(images)], masks)


@dataclass(frozen=True)
class Resizing:
    """How pictures of any size come to the network's input of ``height`` and ``width`` in pixels.

    They are stretched; or, with ``letterbox``, kept in shape, as large as they fit (sides rounded down) and in the
    middle (the smaller half of the rest before them), as YOLO's readers and LaConvNet's do.
    """

    height: int
    width: int
    letterbox: bool = False

    def windows(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The part of the input that shows each picture: ``[N, 2]`` heights and widths to ``[N, 4]``.

        Columns: left, top, width, height, in pixels of the input.
        """
        if not self.letterbox:
            return np.tile(np.array([0.0, 0.0, self.width, self.height]), (len(sizes), 1))
        high, wide = sizes[:, 0], sizes[:, 1]
        broad = wide * self.height >= high * self.width  # the width is what limits it
        fitted_width = np.where(broad, self.width, np.maximum(1, wide * self.height // high))
        fitted_height = np.where(broad, np.maximum(1, high * self.width // wide), self.height)
        left, top = (self.width - fitted_width) // 2, (self.height - fitted_height) // 2
        return np.stack([left, top, fitted_width, fitted_height], axis=1).astype(np.float64)

    def to_input(
        self, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Boxes ``[N, 4]`` (x1, y1, x2, y2) of the originals, each of its size, in pixels of the input."""
        shift, scale = self._affine(sizes)
        return boxes * scale + shift

    def to_original(
        self, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """`to_input` undone."""
        shift, scale = self._affine(sizes)
        return (boxes - shift) / scale

    def _affine(
        self, sizes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Shift and scale ``[N, 4]`` that bring x1, y1, x2, y2 into the windows."""
        windows = self.windows(sizes)
        scale = windows[:, 2:] / sizes[:, ::-1]
        return np.tile(windows[:, :2], 2), np.tile(scale, 2)


@dataclass(frozen=True, eq=False)
class Split:
    """One split of a data set, by column.

    Attributes:
        name: its name in the data set.
        table: one row per sample with ``sample`` (unique id), ``cluster`` (what is drawn together: the
            image, the sentence group), ``image`` (row in ``images``), ``text``, ``truth``, and one string
            column per entry of ``slices``; where several sentences speak of one thing, ``referent`` names it.
        images: files, each once.
        slices: columns of ``table`` by which results are broken down.
        referents: boxes and masks, in the order of ``table``; None where nothing is to be found in the image.
        answers: those that may be given, where the data set lists them; only the training split has them.
    """

    name: str
    table: pd.DataFrame
    images: tuple[Path, ...]
    slices: tuple[str, ...] = ()
    referents: Referents | None = None
    answers: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.table)

    def spread(self, samples: int) -> Split:
        """So many samples, spread evenly over the split, and the images that they are about."""
        return self.rows(np.linspace(0, len(self) - 1, min(samples, len(self))).round().astype(np.int64))

    def rows(self, chosen: npt.NDArray[np.int64]) -> Split:
        """The samples in these rows, in this order, and the images that they are about."""
        table = self.table.iloc[chosen].reset_index(drop=True)
        used = sorted(set(table["image"]))
        table["image"] = table["image"].map({old: new for new, old in enumerate(used)})
        images = tuple(self.images[number] for number in used)
        referents = None if self.referents is None else self.referents.of(chosen, used)
        return Split(self.name, table, images, self.slices, referents, self.answers)

    def sample(self, row: int) -> Sample:
        """The sample in ``row``."""
        record = self.table.iloc[row]
        return Sample(record["sample"], self.images[record["image"]], record["text"], record["truth"])


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples on their way through a model.

    Attributes:
        visual: images ``[B, 3, H, W]``, normalised, or cached backbone maps ``[B, C, h, w]``.
        tokens: ``[B, T]`` word ids, or ``[B, T, E]`` cached vectors of a frozen text encoder; ``mask``:
            ``[B, T]``, True at real words.
        target: what the task wants, by its own definition (answering: class index ``[B]``, -1 for an
            answer outside the list).
    """

    visual: Tensor
    tokens: Tensor
    mask: Tensor
    target: Tensor


@dataclass(frozen=True)
class Metric:
    """A number computed from a cell's ``samples.parquet`` alone.

    Reports give an interval to the mean of the scores or of a measure, to the share of samples in which a measure
    is above 0.5 to 0.9, and to the share of clusters that are right throughout.

    Attributes:
        name: short, lower case; reports put the split before it.
        compute: from the rows of one split (``sample``, ``cluster``, ``prediction``, ``truth``,
            ``score``, slices, the task's measures) to a number within ``range``.
    """

    name: str
    compute: Callable[[pd.DataFrame], float]
    higher_is_better: bool = True
    range: tuple[float, float] = (0.0, 1.0)


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

"""The adapter of CLEVR v1.0 in its released layout; it also reads files that `miniclevr` generates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fusion_bench.data.annotations.clevr_questions import QUESTION_GROUPS, question_table
from fusion_bench.data.files import image_sizes
from fusion_bench.data.held_out import held_out_images
from fusion_bench.data.published import PublishedDataSet
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, Splits, Submission, WordingFloor
from fusion_bench.samples.split import Split

KIND_STARTS: Mapping[str, int] = {
    "compare_integer": 0,
    "comparison": 9,
    "three_hop": 25,
    "single_and": 31,
    "same_relate": 36,
    "single_or": 64,
    "one_hop": 72,
    "two_hop": 78,
    "zero_hop": 84,
}
"""The nine question kinds and the first ``question_family_index`` of each, in the order of the release."""

Tier: TypeAlias = Literal["locate", "relate", "reason"]
TIERS: Mapping[str, tuple[str, ...]] = {
    "locate": ("zero_hop",),
    "relate": ("one_hop",),
    "reason": tuple(KIND_STARTS),
}
"""The named choices of question kinds, from the easiest to the hardest."""


class Clevr(PublishedDataSet):
    """CLEVR v1.0 (Johnson et al., CVPR 2017): ``images/``, ``questions/`` and ``scenes/`` under ``root``.

    The answers of the test split are not published, so arms are evaluated on ``val``, and one train image in twenty,
    chosen by a hash of its index, is held out as ``select``. `split` also reads ``test``.

    Further columns of `Split.table`: the slices ``kind`` (the nine question kinds), ``hops`` (number of ``relate``
    steps) and ``asks`` (the paper's five groups, by the last program function), and ``floor_group`` (kind, last
    function, number of filters), which only `floor` reads; no model sees it.

    Args:
        root: the folder ``CLEVR_v1.0``.
        kinds: keep only questions of these kinds, or of a tier's: ``locate`` (zero_hop), ``relate`` (one_hop) or
            ``reason`` (all nine); None keeps all.
        predict: splits without published answers for which a cell records predictions (``test``).

    Raises:
        DataError: ``kinds`` contains an unknown kind, or ``predict`` a split that has answers or does not exist.
    """

    name: ClassVar[str] = "clevr"
    version: ClassVar[str] = "1.0"
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {"answering": ("accuracy",)}
    cluster: ClassVar[str] = "image"
    homepage: ClassVar[str] = "https://cs.stanford.edu/people/jcjohns/clevr/"

    published: Mapping[str, Counts] = {
        "train": Counts(699_989, 70_000),
        "val": Counts(149_991, 15_000),
        "test": Counts(149_988, 15_000),
    }
    unlabelled: ClassVar[tuple[str, ...]] = ("test",)

    splits = Splits(train="train", select="select", evaluate=("val",))
    select_from_train: ClassVar[bool] = True
    """True if ``select`` has no files and is held out of the train files."""

    def __init__(
        self, root: Path, *, kinds: Tier | Sequence[str] | None = None, predict: Sequence[str] = ()
    ) -> None:
        self.root = Path(root)
        for name in predict:
            if name not in self.unlabelled:
                raise DataError(
                    f"predict: {name!r} is not a split without answers{did_you_mean(name, self.unlabelled)}"
                )
        self.splits = replace(self.splits, predict=tuple(predict))
        self.kinds = _kinds_named(kinds)
        for kind in self.kinds:
            if kind not in KIND_STARTS:
                raise DataError(f"CLEVR has no question kind {kind!r}{did_you_mean(kind, KIND_STARTS)}")
        if not self.kinds:
            raise DataError(f"kinds is empty; name at least one of {', '.join(KIND_STARTS)}")
        if set(self.kinds) != set(KIND_STARTS):  # how many questions of a kind there are is not published
            self.published = {
                name: counts if name in self.unlabelled else Counts(None, None)
                for name, counts in self.published.items()
            }

    @classmethod
    def canonical_settings(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings in which ``kinds`` is a list in CLEVR's order, or None for all nine.

        See `DataSet.canonical_settings`. A kind that does not exist is kept; the constructor refuses it.
        """
        canonical = super().canonical_settings(settings)
        if "kinds" in canonical:
            kinds = dict.fromkeys(_kinds_named(canonical["kinds"]))
            ordered = sorted(kinds, key=[*KIND_STARTS, *kinds].index)
            canonical["kinds"] = None if ordered == list(KIND_STARTS) else ordered
        return canonical

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`. An `unlabelled` split has no slices and ignores ``kinds``."""
        known = (self.splits.train, self.splits.select, *self.splits.evaluate, *self.unlabelled)
        if name not in known:
            raise DataError(f"{self.name} has no split {name!r}{did_you_mean(name, known)}")
        answered = name not in self.unlabelled
        path = self._questions(self._stem(name))
        questions = question_table(path, self.homepage, cache=self.cache, answered=answered)
        keep = self._members(name, questions["image_index"].to_numpy())
        if answered:
            keep &= np.isin(_kinds(questions), [list(KIND_STARTS).index(kind) for kind in self.kinds])
        questions = questions.filter(pa.array(keep))
        if not len(questions):
            raise DataError(
                f"{path} has no question of the kinds {', '.join(self.kinds)} for the split {name!r}"
            )
        return self._assemble(name, questions, answered=answered)

    def annotation_files(self) -> tuple[Path, ...]:
        """Return the question files of every split."""
        return tuple(map(self._questions, self._stems()))

    def image_folders(self) -> tuple[Path, ...]:
        """Return the image folders of every split."""
        return tuple(map(self._images, self._stems()))

    def submission(self, split: str, answers: Mapping[str, str], author: str) -> Submission:
        """Return one answer per line in the order of the questions file; CLEVR defines no other format."""
        return Submission(
            f"CLEVR_{split}_{author}.txt", "".join(f"{answer}\n" for answer in answers.values())
        )

    def floor(self, train: Split, select: Split) -> WordingFloor:
        """Return the scores on ``select`` of the best constant answer per ``floor_group`` of ``train``.

        A group that does not occur in ``train`` gets the most frequent answer of all questions. Of equally frequent
        answers the first in alphabetical order is taken.
        """
        counts = train.table.groupby(["floor_group", "truth"], sort=True).size().rename("count").reset_index()
        ranked = counts.sort_values("count", ascending=False, kind="stable")
        best = ranked.drop_duplicates("floor_group").set_index("floor_group")["truth"]
        totals = counts.groupby("truth", sort=True)["count"].sum()
        predicted = select.table["floor_group"].map(best).fillna(str(totals.idxmax()))
        return WordingFloor(
            "wording",
            (predicted == select.table["truth"]).to_numpy().astype(np.float64),
            "best constant answer per (kind, last program function, number of filter words), fitted on train",
        )

    def _stem(self, split: str) -> str:
        """Return the name of a split in the published files."""
        return self.splits.train if self.select_from_train and split == self.splits.select else split

    def _stems(self) -> tuple[str, ...]:
        names = (self.splits.train, self.splits.select, *self.splits.evaluate, *self.splits.predict)
        return tuple(dict.fromkeys(map(self._stem, names)))

    def _members(self, split: str, image_index: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return a mask ``[N]``: which questions of the file of `_stem` belong to ``split``."""
        if not self.select_from_train or self._stem(split) != self.splits.train:
            return np.ones(len(image_index), dtype=bool)
        is_selected = np.isin(image_index, list(held_out_images(image_index.tolist())))
        return is_selected if split == self.splits.select else ~is_selected

    def _questions(self, stem: str) -> Path:
        return self.root / "questions" / f"CLEVR_{stem}_questions.json"

    def _images(self, stem: str) -> Path:
        return self.root / "images" / stem

    def _assemble(self, name: str, questions: pa.Table, *, answered: bool) -> Split:
        stem = self._stem(name)
        files = questions["image_filename"].combine_chunks().dictionary_encode()
        # Images are in alphabetical order, independent of the order of the questions.
        names, position = np.unique(files.dictionary.to_numpy(zero_copy_only=False), return_inverse=True)
        rows = position[files.indices.to_numpy()]
        folder = self._images(stem)
        present = image_sizes(folder)
        missing = [file for file in names.tolist() if file not in present]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(names)} images of {self._questions(stem)} are missing in {folder}; the "
                f"first is {missing[0]}; get them from {self.homepage}"
            )
        clusters = np.array([file.rpartition(".")[0] for file in names.tolist()], dtype=object)
        table = pd.DataFrame(
            {
                "sample": f"CLEVR_{stem}_" + _strings(pc.cast(questions["number"], pa.large_string())),
                "cluster": clusters[rows],
                "image": rows.astype(np.int64),
                "text": _strings(questions["text"]),
                "truth": _strings(questions["answer"]) if answered else "",
            }
        )
        images = tuple(folder / file for file in names.tolist())
        if not answered:
            return Split(name, table, images)
        kinds = np.array(list(KIND_STARTS), dtype=object)[_kinds(questions)]
        table = table.assign(
            kind=kinds,
            hops=_strings(pc.cast(questions["hops"], pa.large_string())),
            asks=_strings(questions["last"]).map(QUESTION_GROUPS),
            floor_group=_joined(pa.array(kinds), questions["last"], questions["filters"], by=" "),
        )
        return Split(name, table, images, ("kind", "hops", "asks"))


def _kinds_named(kinds: Tier | Sequence[str] | None) -> tuple[str, ...]:
    """Return the question kinds that the setting ``kinds`` names.

    Raises:
        DataError: there is no tier of this name.
    """
    if kinds is None:
        return tuple(KIND_STARTS)
    if not isinstance(kinds, str):
        return tuple(kinds)
    if kinds not in TIERS:
        raise DataError(
            f"there is no tier of questions {kinds!r}{did_you_mean(kinds, TIERS)}; kinds are written as a list"
        )
    return TIERS[kinds]


def _kinds(questions: pa.Table) -> npt.NDArray[np.int64]:
    """Return the index into `KIND_STARTS` of each question ``[N]``."""
    starts = list(KIND_STARTS.values())
    kinds: npt.NDArray[np.int64] = np.searchsorted(starts, questions["family"].to_numpy(), side="right") - 1
    return kinds


def _strings(column: pa.ChunkedArray | pa.Array) -> pd.Series[str]:
    """Return a text column as a pandas series without a copy."""
    strings: pd.Series[str] = column.to_pandas()
    return strings


def _joined(*columns: pa.ChunkedArray | pa.Array, by: str) -> pd.Series[str]:
    """Return the columns joined row by row, with ``by`` between them."""
    parts = [pc.cast(part, pa.large_string()) for part in columns]
    return _strings(pc.binary_join_element_wise(*parts, pa.scalar(by, pa.large_string())))

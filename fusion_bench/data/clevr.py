"""CLEVR v1.0 in its released layout: real, rendered elsewhere, or made by `miniclevr`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fusion_bench.data.clevr_questions import ASKS, question_table
from fusion_bench.data.files import image_sizes, manifest, require
from fusion_bench.data.held_out import held_out_of
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, DataSet, Splits, Submission, WordingFloor
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
"""The nine template kinds and the first ``question_family_index`` of each, in the order of the release."""


class Clevr(DataSet):
    """CLEVR v1.0 (Johnson et al., CVPR 2017): ``images/``, ``questions/`` and ``scenes/`` under ``root``.

    The answers of the test split are not published, so ``val`` is what arms are judged on, and one train
    image in twenty, chosen by a hash of its index, is held out as ``select``. `split` reads ``test`` too.

    Columns beyond those of `Split`: the slices ``kind`` (the nine template kinds), ``hops`` (number of
    ``relate`` steps) and ``asks`` (the paper's five groups, by the last program function), and
    ``floor_group`` (kind, last function, number of filters), which `floor` reads and no model sees.

    Args:
        root: the folder ``CLEVR_v1.0``.
        kinds: keep only questions of these kinds; None keeps all.
        predict: splits without published answers whose predictions a cell records (``test``).

    Raises:
        DataError: ``kinds`` names no kind of CLEVR, or ``predict`` no split without answers.
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
    holds_out: ClassVar[bool] = True
    """True if ``select`` has no files of its own and is held out of the train files."""

    def __init__(
        self, root: Path, *, kinds: Sequence[str] | None = None, predict: Sequence[str] = ()
    ) -> None:
        self.root = Path(root)
        for name in predict:
            if name not in self.unlabelled:
                raise DataError(
                    f"predict: {name!r} is no split without answers{did_you_mean(name, self.unlabelled)}"
                )
        self.splits = replace(self.splits, predict=tuple(predict))
        self.kinds = tuple(KIND_STARTS) if kinds is None else tuple(kinds)
        for kind in self.kinds:
            if kind not in KIND_STARTS:
                raise DataError(f"CLEVR has no question kind {kind!r}{did_you_mean(kind, KIND_STARTS)}")
        if not self.kinds:
            raise DataError(f"kinds is empty; name at least one of {', '.join(KIND_STARTS)}")

    def prepare(self, workers: int = 1) -> None:
        """Check that questions and images of every split are there."""
        del workers
        for stem in self._stems():
            require(self._questions(stem), self.homepage)
            image_sizes(self._images(stem))

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`. One that is `unlabelled` has no slices and takes no ``kinds``."""
        known = (self.splits.train, self.splits.select, *self.splits.evaluate, *self.unlabelled)
        if name not in known:
            raise DataError(f"{self.name} has no split {name!r}{did_you_mean(name, known)}")
        answered = name not in self.unlabelled
        path = self._questions(self._stem(name))
        questions = question_table(path, self.homepage, cache=self.cache, answered=answered)
        keep = self._belongs(name, questions["image_index"].to_numpy())
        if answered:
            keep &= np.isin(_kinds(questions), [list(KIND_STARTS).index(kind) for kind in self.kinds])
        questions = questions.filter(pa.array(keep))
        if not len(questions):
            raise DataError(
                f"the split {name!r} of {path} holds no question of the kinds {', '.join(self.kinds)}"
            )
        return self._assemble(name, questions, answered=answered)

    def manifest(self) -> str:
        """SHA-256 over the question files and the names and sizes of the images."""
        stems = self._stems()
        return manifest(self.root, map(self._questions, stems), map(self._images, stems), self.cache)

    def submission(self, split: str, answers: Mapping[str, str], author: str) -> Submission:
        """One answer a line, in the order of the questions file: the release asks for no other form."""
        return Submission(
            f"CLEVR_{split}_{author}.txt", "".join(f"{answer}\n" for answer in answers.values())
        )

    def floor(self, train: Split, select: Split) -> WordingFloor:
        """The best constant answer per ``floor_group`` of ``train``, measured on ``select``.

        A group that ``train`` lacks gets the most frequent answer of all; ties go to the first in
        alphabetical order.
        """
        counts = train.table.groupby(["floor_group", "truth"], sort=True).size().rename("count").reset_index()
        ranked = counts.sort_values("count", ascending=False, kind="stable")
        best = ranked.drop_duplicates("floor_group").set_index("floor_group")["truth"]
        totals = counts.groupby("truth", sort=True)["count"].sum()
        said = select.table["floor_group"].map(best).fillna(str(totals.idxmax()))
        return WordingFloor(
            "wording",
            float((said == select.table["truth"]).mean()),
            "best constant answer per (kind, last program function, number of filter words), fitted on train",
        )

    def _stem(self, split: str) -> str:
        """The name that the published files give a split."""
        return self.splits.train if self.holds_out and split == self.splits.select else split

    def _stems(self) -> tuple[str, ...]:
        names = (self.splits.train, self.splits.select, *self.splits.evaluate, *self.splits.predict)
        return tuple(dict.fromkeys(map(self._stem, names)))

    def _belongs(self, split: str, image_index: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which questions of the file that `_stem` names belong to ``split``."""
        if not self.holds_out or self._stem(split) != self.splits.train:
            return np.ones(len(image_index), dtype=bool)
        apart = np.isin(image_index, list(held_out_of(image_index.tolist())))
        return apart if split == self.splits.select else ~apart

    def _questions(self, stem: str) -> Path:
        return self.root / "questions" / f"CLEVR_{stem}_questions.json"

    def _images(self, stem: str) -> Path:
        return self.root / "images" / stem

    def _assemble(self, name: str, questions: pa.Table, *, answered: bool) -> Split:
        stem = self._stem(name)
        files = questions["image_filename"].combine_chunks().dictionary_encode()
        # In alphabetical order, whatever the order of the questions.
        names, place = np.unique(files.dictionary.to_numpy(zero_copy_only=False), return_inverse=True)
        rows = place[files.indices.to_numpy()]
        folder = self._images(stem)
        present = image_sizes(folder)
        missing = [file for file in names.tolist() if file not in present]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(names)} images that {self._questions(stem)} asks about are not "
                f"in {folder}, the first is {missing[0]}; get them from {self.homepage}"
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
            asks=_strings(questions["last"]).map(ASKS),
            floor_group=_joined(pa.array(kinds), questions["last"], questions["filters"], by=" "),
        )
        return Split(name, table, images, ("kind", "hops", "asks"))


def _kinds(questions: pa.Table) -> npt.NDArray[np.int64]:
    """Index into `KIND_STARTS` of each question."""
    starts = list(KIND_STARTS.values())
    kinds: npt.NDArray[np.int64] = np.searchsorted(starts, questions["family"].to_numpy(), side="right") - 1
    return kinds


def _strings(column: pa.ChunkedArray | pa.Array) -> pd.Series[str]:
    """A column of text, as pandas holds text, without a copy."""
    strings: pd.Series[str] = column.to_pandas()
    return strings


def _joined(*columns: pa.ChunkedArray | pa.Array, by: str) -> pd.Series[str]:
    """Columns written one after the other with ``by`` between them."""
    parts = [pc.cast(part, pa.large_string()) for part in columns]
    return _strings(pc.binary_join_element_wise(*parts, pa.scalar(by, pa.large_string())))

"""The adapter of NLVR v1 (Suhr et al., ACL 2017): human sentences that are true or false of three boxes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusion_bench.data.annotations.nlvr_examples import read_nlvr_examples
from fusion_bench.data.files import image_sizes, require
from fusion_bench.data.published import PublishedDataSet
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, Splits, WordingFloor
from fusion_bench.samples.split import Split

PERMUTATIONS = 6
"""Number of images per example: one for each order of its three boxes."""

_WORD = re.compile(r"[a-z0-9']+")
_LENGTH_BINS = ((8, "up to 8"), (11, "9-11"), (14, "12-14"))


class Nlvr(PublishedDataSet):
    """NLVR v1: ``<split>/<split>.json`` and ``<split>/images/<directory>/<split>-<n>-<m>-<k>.png``.

    Each of the six box orders ``k`` of an example is one sample, with the id ``split-n-m-k``. The position ``m`` of
    the image in its annotation task appears in the id only, in no text and no slice, because the first two positions
    (A and B) are nearly always true. ``n`` is the sentence group, which is the cluster. The official ``train.json``
    is read if it exists, otherwise ``train_recovered.json``.

    Slices: ``picture`` is ``tower`` if every object is a square of size 20 at x = 40 (the images with stacked
    squares), else ``scatter``; ``words`` is the binned length of the sentence, counted in runs of letters, digits and
    apostrophes.

    Args:
        root: the folder with ``train``, ``dev``, ``test`` and ``hidden``.
    """

    name: ClassVar[str] = "nlvr"
    version: ClassVar[str] = "1.0"
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {"answering": ("accuracy", "consistency")}
    cluster: ClassVar[str] = "sentence group"
    homepage: ClassVar[str] = "https://github.com/lil-lab/nlvr"
    published: Mapping[str, Counts] = {
        "train": Counts(PERMUTATIONS * 12_410, 74_460),
        "dev": Counts(PERMUTATIONS * 989, 5_934),
        "test": Counts(PERMUTATIONS * 990, 5_940),
        "hidden": Counts(PERMUTATIONS * 985, 5_910),
    }
    cautions = (
        "If the official train.json is missing, models are trained on train_recovered.json (3,523 of its "
        "12,410 examples), and results are not comparable with published results.",
    )

    splits = Splits(train="train", select="dev", evaluate=("test", "hidden"))

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        if name not in self._names():
            raise DataError(f"NLVR has no split {name!r}{did_you_mean(name, self._names())}")
        path = self._sentences(name)
        require(path, self.homepage)
        examples = read_nlvr_examples(path)
        orders = [(example, k) for example in examples for k in range(PERMUTATIONS)]
        samples = [f"{name}-{example.group}-{example.position}-{k}" for example, k in orders]
        folder = self._images(name)
        images = _locate(folder, samples, [example.directory for example, _ in orders], self.homepage)
        table = pd.DataFrame(
            {
                "sample": samples,
                "cluster": [f"{name}-{example.group}" for example, _ in orders],
                "image": np.arange(len(orders)),
                "text": [example.sentence for example, _ in orders],
                "truth": [example.label for example, _ in orders],
                "picture": [example.picture for example, _ in orders],
                "words": [_length_bin(example.sentence) for example, _ in orders],
            }
        )
        return Split(name, table, images, ("picture", "words"))

    def annotation_files(self) -> tuple[Path, ...]:
        """Return the sentence files of every split."""
        return tuple(map(self._sentences, self._names()))

    def image_folders(self) -> tuple[Path, ...]:
        """Return the image folders of every split."""
        return tuple(map(self._images, self._names()))

    def floor(self, train: Split, select: Split) -> WordingFloor:
        """Return the scores on ``select`` of the more frequent truth value of ``train`` (which is ``true``)."""
        constant = str(train.table["truth"].mode().iloc[0])
        scores = (select.table["truth"] == constant).to_numpy().astype(np.float64)
        return WordingFloor(
            f"always {constant}", scores, f"always {constant}, the more frequent answer in train"
        )

    def _names(self) -> tuple[str, ...]:
        return (self.splits.train, self.splits.select, *self.splits.evaluate)

    def _images(self, name: str) -> Path:
        return self.root / name / "images"

    def _sentences(self, name: str) -> Path:
        official = self.root / name / f"{name}.json"
        recovered = self.root / name / f"{name}_recovered.json"
        return recovered if name == self.splits.train and not official.is_file() else official


def _length_bin(sentence: str) -> str:
    words = len(_WORD.findall(sentence.lower()))
    return next((label for longest, label in _LENGTH_BINS if words <= longest), "15 and more")


def _locate(
    folder: Path, samples: Sequence[str], directories: Sequence[str | None], published: str
) -> tuple[Path, ...]:
    """Return the image of each sample, found in ``folder``; a directory given by the release must be right."""
    files = {Path(name).stem: name for name in image_sizes(folder)}
    for sample, directory in zip(samples, directories, strict=True):
        file_path = files.get(sample)
        if file_path is None or (directory is not None and file_path != f"{directory}/{sample}.png"):
            expected = f"images/{directory or '<directory>'}/{sample}.png"
            raise DataError(
                f"{expected} is missing in {folder.parent}; the images are published at {published}"
            )
    return tuple(folder / files[sample] for sample in samples)

"""The adapter of NLVR v1 (Suhr et al., ACL 2017): human sentences that are true or false of three boxes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fusion_bench.data.files import (
    content_digests,
    image_sizes,
    manifest_of,
    read_utf8,
    require,
    require_all,
)
from fusion_bench.data.json_stream import has_half_pair
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, DataSet, Splits, WordingFloor
from fusion_bench.samples.split import Split

PERMUTATIONS = 6
"""Number of images per example: one for each order of its three boxes."""

_IDENTIFIER = re.compile(r"(\d+)-(\d+)")
_WORD = re.compile(r"[a-z0-9']+")
_LENGTH_BINS = ((8, "up to 8"), (11, "9-11"), (14, "12-14"))


class Nlvr(DataSet):
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

    def prepare(self, workers: int = 1) -> None:
        """Check that the sentences and images of every split exist; see `DataSet.prepare`."""
        del workers
        require_all(self.files(), self.homepage)
        for name in self._names():
            image_sizes(self._images(name))

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        if name not in self._names():
            raise DataError(f"NLVR has no split {name!r}{did_you_mean(name, self._names())}")
        path = self._sentences(name)
        require(path, self.homepage)
        examples = _read_examples(path)
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

    def manifest(self) -> str:
        """Return the SHA-256 of the sentence files and of the names and sizes of the images."""
        return manifest_of(self.contents())

    def contents(self) -> Mapping[str, str]:
        """Return the digests of the sentence files and image folders; see `DataSet.contents`."""
        names = self._names()
        return content_digests(self.root, map(self._sentences, names), map(self._images, names), self.cache)

    def files(self) -> tuple[Path, ...]:
        """Return the sentence files and image folders of every split; see `DataSet.files`."""
        names = self._names()
        return (*map(self._sentences, names), *map(self._images, names))

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


@dataclass(frozen=True, slots=True)
class _Example:
    """One line of a sentences file; ``directory`` is None where the release does not give it (split hidden)."""

    group: str
    position: str
    sentence: str
    label: str
    picture: str
    directory: str | None


def _read_examples(path: Path) -> list[_Example]:
    """Read a file with one JSON object per line; blank lines are skipped."""
    examples: list[_Example] = []
    # Other line ends of Unicode, at which splitlines() would cut, may stand in a sentence.
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if has_half_pair(record, line):
                raise ValueError("a text contains half of a surrogate pair, such as \\ud83d")
            examples.append(_example(record))
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            detail = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}, line {number} is not an NLVR example: {detail}") from error
    if not examples:
        raise DataError(f"{path} contains no example")
    if len({(example.group, example.position) for example in examples}) != len(examples):
        raise DataError(f"{path} contains an identifier twice")
    return examples


def _example(record: Mapping[str, Any]) -> _Example:
    identifier = _IDENTIFIER.fullmatch(record["identifier"])
    if identifier is None:
        raise ValueError(f"the identifier {record['identifier']!r} is not of the form n-m")
    if record["label"] not in {"true", "false"}:
        raise ValueError(f"the label {record['label']!r} is neither 'true' nor 'false'")
    if not isinstance(record["sentence"], str):
        raise ValueError("the sentence is not text")
    return _Example(
        identifier[1],
        identifier[2],
        record["sentence"],
        record["label"],
        _picture_type(record["structured_rep"]),
        record.get("directory"),
    )


def _picture_type(boxes: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    stacked = all((o["type"], o["size"], o["x_loc"]) == ("square", 20, 40) for box in boxes for o in box)
    return "tower" if stacked else "scatter"


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

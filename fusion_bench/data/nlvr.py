"""NLVR v1 (Suhr et al., ACL 2017) in its published layout: human sentences, true or false of three boxes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fusion_bench.data.files import image_sizes, manifest, require
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, DataSet, Splits, WordingFloor
from fusion_bench.samples.split import Split

PERMUTATIONS = 6
"""Every example is drawn six times, once per order of its three boxes."""

_IDENTIFIER = re.compile(r"(\d+)-(\d+)")
_WORD = re.compile(r"[a-z0-9']+")
_LENGTHS = ((8, "up to 8"), (11, "9-11"), (14, "12-14"))


class Nlvr(DataSet):
    """NLVR v1: ``<split>/<split>.json`` and ``<split>/images/<directory>/<split>-<n>-<m>-<k>.png``.

    Each of an example's six box orders ``k`` is a sample of its own, named ``split-n-m-k``. The position
    ``m`` (A and B are nearly always true) stands in that name alone: it is in no text and no slice.
    ``n`` is the sentence group, so it is the cluster. The official ``train.json`` is read if it is there,
    else ``train_recovered.json``.

    Slices: ``picture`` is ``tower`` if every object is a square of size 20 at x = 40 (the stacked
    pictures), else ``scatter``; ``words`` bins the sentence's length in runs of letters, digits and
    apostrophes.

    Args:
        root: the folder that holds ``train``, ``dev``, ``test`` and ``hidden``.
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
        "Where the official train.json is absent, models are trained on train_recovered.json (3,523 of its "
        "12,410 examples), and results are not comparable with published ones.",
    )

    splits = Splits(train="train", select="dev", evaluate=("test", "hidden"))

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def prepare(self, workers: int = 1) -> None:
        """Check that sentences and images of every split are there."""
        del workers
        for name in self._names():
            require(self._sentences(name), self.homepage)
            image_sizes(self._images(name))

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        if name not in self._names():
            raise DataError(f"NLVR has no split {name!r}{did_you_mean(name, self._names())}")
        path = self._sentences(name)
        require(path, self.homepage)
        examples = _read(path)
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
                "words": [_length(example.sentence) for example, _ in orders],
            }
        )
        return Split(name, table, images, ("picture", "words"))

    def manifest(self) -> str:
        """SHA-256 over the sentence files and the names and sizes of the images."""
        names = self._names()
        return manifest(self.root, map(self._sentences, names), map(self._images, names))

    def floor(self, train: Split, select: Split) -> WordingFloor:
        """Accuracy of the more frequent truth value of ``train`` (it is ``true``), measured on ``select``."""
        constant = str(train.table["truth"].mode().iloc[0])
        accuracy = float((select.table["truth"] == constant).mean())
        return WordingFloor(
            f"always {constant}", accuracy, f"always {constant}, the more frequent answer in train"
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
    """One line of a sentences file; ``directory`` is None where the release does not say it (hidden)."""

    group: str
    position: str
    sentence: str
    label: str
    picture: str
    directory: str | None


def _read(path: Path) -> list[_Example]:
    """One JSON object a line."""
    examples: list[_Example] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            examples.append(_example(json.loads(line)))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            detail = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}, line {number} is not an NLVR example: {detail}") from error
    if not examples:
        raise DataError(f"{path} holds no example")
    if len({(example.group, example.position) for example in examples}) != len(examples):
        raise DataError(f"{path} holds an identifier twice")
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
        _picture(record["structured_rep"]),
        record.get("directory"),
    )


def _picture(boxes: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    stacked = all((o["type"], o["size"], o["x_loc"]) == ("square", 20, 40) for box in boxes for o in box)
    return "tower" if stacked else "scatter"


def _length(sentence: str) -> str:
    words = len(_WORD.findall(sentence.lower()))
    return next((label for longest, label in _LENGTHS if words <= longest), "15 and more")


def _locate(
    folder: Path, samples: Sequence[str], directories: Sequence[str | None], published: str
) -> tuple[Path, ...]:
    """The image of each sample, found by walking ``folder``; a stated directory must be the right one."""
    places = {Path(file).stem: file for file in image_sizes(folder)}
    for sample, directory in zip(samples, directories, strict=True):
        place = places.get(sample)
        if place is None or (directory is not None and place != f"{directory}/{sample}.png"):
            wanted = f"images/{directory or '<directory>'}/{sample}.png"
            raise DataError(f"{folder.parent} lacks {wanted}; the images are published at {published}")
    return tuple(folder / places[sample] for sample in samples)

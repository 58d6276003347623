"""Is a data set on this disk the one that was published? Everything that is wrong, in one list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fusion_bench.data.images import damage_of
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Counts, DataSet
from fusion_bench.samples.split import Split
from fusion_bench.storage import file_digest

_SHOWN = 5
"""Damaged images that are named; of the rest only their number is told."""
_CHUNK = 64


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        found: what each split that could be read holds.
        problems: one sentence each; none if all is as published.
        notes: what is no problem: splits without answers that are not there, where files are published.
        published: whether there were published counts to compare with.
    """

    found: Mapping[str, Counts]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    published: bool


Track = Callable[[Sequence[Path], str], Iterable[Path]]
"""Hands on what it is given, one by one, and shows how far it is (a progress bar)."""


def verify(data: DataSet, track: Track, workers: int = 1) -> Verified:
    """Check files, schema, ids, counts and every image of a data set.

    Args:
        data: constructed, nothing prepared.
        track: shows how far the images are.
        workers: threads that open them.
    """
    problems: list[str] = []
    notes: list[str] = []
    if not data.built_in:
        try:
            data.prepare(workers)
        except DataError as error:
            problems.append(str(error))
    splits: dict[str, Split] = {}
    for name in _names(data):
        try:
            splits[name] = data.split(name)
        except DataError as error:
            # What nobody is judged on need not be there.
            (notes if name in data.unlabelled else problems).append(str(error))
    for split in splits.values():
        problems += _flaws(split, labelled=split.name not in data.unlabelled)
    found = {name: Counts(len(split), len(split.images)) for name, split in splits.items()}
    problems += _miscounts(data, found)
    images = list(dict.fromkeys(image for split in splits.values() for image in split.images))
    problems += _damaged(images, track, workers)
    if problems and not data.built_in:
        notes.append(f"{data.name} {data.version} is published at {data.homepage}")
    return Verified(found, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(notes)), bool(data.published))


def checksums(root: Path, track: Track) -> dict[str, str]:
    """SHA-256 of every file under ``root``, by path relative to it, sorted; hidden files left out.

    Raises:
        DataError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    files = sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    return {path.relative_to(root).as_posix(): file_digest(path) for path in track(files, "checksums")}


def _names(data: DataSet) -> tuple[str, ...]:
    judging = (data.splits.train, data.splits.select, *data.splits.evaluate)
    return tuple(dict.fromkeys([*judging, *data.splits.predict, *data.unlabelled]))


def _flaws(split: Split, *, labelled: bool) -> Iterator[str]:
    """What no split may have, whatever the data set."""
    table = split.table
    if repeated := int(table["sample"].duplicated().sum()):
        yield f"{split.name}: {repeated} sample ids stand there twice"
    wanted = ("sample", "cluster", "text", *(("truth",) if labelled else ()), *split.slices)
    for column in wanted:
        if empty := int((table[column].isna() | (table[column].astype(str).str.strip() == "")).sum()):
            yield f"{split.name}: {empty} samples have no {column}"
    outside = ~table["image"].between(0, len(split.images) - 1)
    if outside.any():
        yield f"{split.name}: {int(outside.sum())} samples name an image that is not there"
    if split.referents is not None:
        yield from _misplaced(split.name, split.referents.boxes, split.referents.sizes[table["image"]])


def _misplaced(name: str, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> Iterator[str]:
    """Boxes that do not lie in their images, to a pixel."""
    left, top, right, bottom = boxes.T
    height, width = sizes.T
    bad = (
        (right <= left)
        | (bottom <= top)
        | (left < -1)
        | (top < -1)
        | (right > width + 1)
        | (bottom > height + 1)
    )
    if bad.any():
        yield f"{name}: {int(bad.sum())} boxes are empty or not within their images"


def _miscounts(data: DataSet, found: Mapping[str, Counts]) -> Iterator[str]:
    """Published counts against those of the splits; one that is held out of another counts with it."""
    for name, published in data.published.items():
        if name not in found:
            continue
        parts = [name]
        if name == data.splits.train and data.splits.select not in data.published:
            parts.append(data.splits.select)
        for what in ("samples", "images"):
            want, have = (
                getattr(published, what),
                sum(getattr(found[part], what) for part in parts if part in found),
            )
            if want is not None and have != want:
                yield f"{name}: {have:,} {what}, published are {want:,}"


def _damaged(images: Sequence[Path], track: Track, workers: int) -> Iterator[str]:
    with ThreadPoolExecutor(max(1, workers)) as pool:
        damages = pool.map(damage_of, images)
        found = [damage for _, damage in zip(track(images, "images"), damages, strict=True) if damage]
    yield from found[:_SHOWN]
    if len(found) > _SHOWN:
        yield f"{len(found) - _SHOWN} more images are damaged"

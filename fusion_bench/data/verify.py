"""The check that a data set on disk is the published one; all problems are returned in one list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fusion_bench.data.images import image_damage
from fusion_bench.errors import DataError
from fusion_bench.samples.dataset import Counts, DataSet
from fusion_bench.samples.geometry import OutlinedMasks
from fusion_bench.samples.split import Split
from fusion_bench.storage import file_digest

_SHOWN = 5
"""Number of damaged images that are named; of the others only the number is given."""
_CHUNK = 64


@dataclass(frozen=True)
class VerificationResult:
    """The result of `verify`.

    Attributes:
        found: the counts of each split that could be read.
        problems: one sentence per problem; empty if the data set is as published.
        notes: further sentences that are not problems: missing splits without answers, the place of publication.
        published: True if there are published counts to compare with.
    """

    found: Mapping[str, Counts]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    published: bool


Track = Callable[[Sequence[Path], str], Iterable[Path]]
"""A function that yields the given paths one by one and shows the progress under the given label."""


def verify(data: DataSet, track: Track, workers: int = 1) -> VerificationResult:
    """Check files, schema, ids, counts and every image of a data set.

    Args:
        data: the data set, constructed and not prepared.
        track: shows the progress over the images.
        workers: number of threads that open images.
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
            # A split on which no arm is evaluated may be missing.
            (notes if name in data.unlabelled else problems).append(str(error))
    for split in splits.values():
        problems += _split_problems(split, labelled=split.name not in data.unlabelled)
        notes += _mask_notes(split)
    found = {name: Counts(len(split), len(split.images)) for name, split in splits.items()}
    problems += _count_problems(data, found)
    problems += _image_problems(splits.values(), track, workers)
    if problems and not data.built_in:
        notes.append(f"{data.name} {data.version} is published at {data.homepage}")
    compared = any(
        count is not None
        for name, published in data.published.items()
        if name in found
        for count in (published.samples, published.images)
    )
    return VerificationResult(found, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(notes)), compared)


def checksums(root: Path, track: Track) -> dict[str, str]:
    """Return the SHA-256 of every file under ``root`` by relative path, sorted; hidden files are left out.

    Raises:
        DataError: ``root`` is not a folder.
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
    main_splits = (data.splits.train, data.splits.select, *data.splits.evaluate)
    return tuple(dict.fromkeys([*main_splits, *data.splits.predict, *data.unlabelled]))


def _split_problems(split: Split, *, labelled: bool) -> Iterator[str]:
    """Yield the problems of one split that are independent of the data set."""
    table = split.table
    if repeated := int(table["sample"].duplicated().sum()):
        yield f"{split.name}: {repeated} sample ids occur twice"
    required = ("sample", "cluster", "text", *(("truth",) if labelled else ()), *split.slices)
    for column in required:
        if empty := int((table[column].isna() | (table[column].astype(str).str.strip() == "")).sum()):
            yield f"{split.name}: {empty} samples have no {column}"
    outside = ~table["image"].between(0, len(split.images) - 1)
    if outside.any():
        yield f"{split.name}: {int(outside.sum())} samples refer to an image that does not exist"
    if split.referents is not None:
        yield from _box_problems(split.name, split.referents.boxes, split.referents.sizes[table["image"]])


def _box_problems(name: str, boxes: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> Iterator[str]:
    """Yield a problem if boxes are empty or exceed their images by more than one pixel."""
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
        yield f"{name}: {int(bad.sum())} boxes are empty or outside their images"


def _mask_notes(split: Split) -> Iterator[str]:
    """Yield what segmentation leaves out; other tasks do not read outlines."""
    masks = None if split.referents is None else split.referents.masks
    if not isinstance(masks, OutlinedMasks):
        return
    made = [masks.made(row) for row in range(len(masks))]
    problems = [mask.problem for mask in made if mask.mask is None]
    if problems:
        yield f"{split.name}: segmentation leaves out {len(problems)} samples without a mask; {problems[0]}"
    if partial := sum(mask.mask is not None and mask.dropped > 0 for mask in made):
        yield f"{split.name}: {partial} samples have outlines with parts that give no pixel"


def _count_problems(data: DataSet, found: Mapping[str, Counts]) -> Iterator[str]:
    """Yield the differences from the published counts; a held-out split is counted with its source split."""
    for name, published in data.published.items():
        if name not in found:
            continue
        parts = [name]
        if name == data.splits.train and data.holds_out_select:
            parts.append(data.splits.select)
        for unit in ("samples", "images"):
            expected, actual = (
                getattr(published, unit),
                sum(getattr(found[part], unit) for part in parts if part in found),
            )
            if expected is not None and actual != expected:
                yield f"{name}: {actual:,} {unit}, but {expected:,} are published"


def _image_problems(splits: Iterable[Split], track: Track, workers: int) -> Iterator[str]:
    """Yield what is wrong with images, as the decoder of cells finds it; each image is decoded once."""
    annotated = {
        image: None if split.referents is None else split.referents.sizes[row]
        for split in splits
        for row, image in enumerate(split.images)
    }
    with ThreadPoolExecutor(max(1, workers)) as pool:
        damages = pool.map(image_damage, annotated, annotated.values())
        found = [damage for _, damage in zip(track([*annotated], "images"), damages, strict=True) if damage]
    yield from found[:_SHOWN]
    if len(found) > _SHOWN:
        yield f"{len(found) - _SHOWN} more images cannot be used"

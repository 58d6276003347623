"""The adapters of RefCOCO, RefCOCO+ and RefCOCOg in REFER's published layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from fusion_bench.data.files import known_digest, manifest_of, named_sizes
from fusion_bench.data.held_out import held_out_images
from fusion_bench.data.refer.instances import ImageInfo, InstanceAnnotation, Instances, read_instances
from fusion_bench.data.refer.outlines import object_mask
from fusion_bench.data.refer.sentences import Sentence, read_sentences
from fusion_bench.errors import DataError
from fusion_bench.registry import did_you_mean
from fusion_bench.samples.dataset import Counts, DataSet, Splits
from fusion_bench.samples.geometry import ObjectMask, OutlinedMasks, Referents
from fusion_bench.samples.split import Split
from fusion_bench.storage import cached_file, digest, read_json, write_json

IMAGE_FOLDERS = ("images/mscoco/images/train2014", "images/train2014")
"""The folders under the root in which images are searched: that of refer.py, then a shorter path."""

_SELECT = "select"
_COCO_CAUTION = (
    "The evaluation images are part of COCO train2014, so a backbone that was trained on COCO has seen them."
)
_SHARED_IMAGES_CAUTION = (
    "The google partition divides objects, not images, so images of the evaluation splits are also in train."
)


@dataclass(frozen=True)
class Partition:
    """One published partition of a data set into splits.

    Attributes:
        splits: the roles of the splits.
        published: the published numbers of sentences and images by split.
        by_object: True if objects were divided instead of images, so that splits share images.
    """

    splits: Splits
    published: Mapping[str, Counts]
    by_object: bool = False


class Refer(DataSet):
    """Referring expressions: ``<name>/refs(<split_by>).p``, ``<name>/instances.json``, images of COCO train2014.

    Each sentence is one sample with its ``sent_id`` as id; ``text`` is the cleaned ``sent``, ``truth`` the box as
    x1 y1 x2 y2 in pixels, and the cluster is the image. If ``val`` is the only split for evaluation, one train image
    in twenty, chosen by a hash of its number, is held out as ``select``. As in the published reader, ``testA`` is the
    union of all splits whose name contains test and A.

    Slice: ``same_class`` is the number of objects of the referent's category in its image, including the referent.

    Subclasses declare their ``partitions``.

    Args:
        root: the folder with ``<name>`` and ``images``.
        split_by: name of the partition; None takes the first.

    Raises:
        DataError: the data set has no such partition.
    """

    version: ClassVar[str] = "1.0"
    tasks: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "grounding": (
            "accuracy",
            "mean_iou",
            "accuracy_at_0_6",
            "accuracy_at_0_7",
            "accuracy_at_0_8",
            "accuracy_at_0_9",
        ),
        "segmentation": (
            "mean_iou",
            "overall_iou",
            "precision_at_0_5",
            "precision_at_0_6",
            "precision_at_0_7",
            "precision_at_0_8",
            "precision_at_0_9",
            "box_mask_disagreement",
        ),
    }
    cluster: ClassVar[str] = "image"
    homepage: ClassVar[str] = "https://github.com/lichengunc/refer"
    partitions: ClassVar[Mapping[str, Partition]]
    """The partitions by ``split_by``, the default first."""

    cautions: tuple[str, ...] = (_COCO_CAUTION,)

    def __init__(self, root: Path, *, split_by: str | None = None) -> None:
        self.root = Path(root)
        self.split_by = next(iter(self.partitions)) if split_by is None else split_by
        if self.split_by not in self.partitions:
            raise DataError(
                f"{self.name} is not split by {self.split_by!r}{did_you_mean(self.split_by, self.partitions)}"
            )
        partition = self.partitions[self.split_by]
        self.splits, self.published = partition.splits, partition.published
        if partition.by_object:
            self.cautions = (*self.cautions, _SHARED_IMAGES_CAUTION)

    def prepare(self, workers: int = 1) -> None:
        """Check that the sentences, annotations and images exist; see `DataSet.prepare`."""
        del workers
        named_sizes(self._images(), self._image_names(), self.homepage)

    def split(self, name: str) -> Split:
        """Read one split; see `DataSet.split`."""
        known = (self.splits.train, self.splits.select, *self.splits.evaluate)
        if name not in known:
            raise DataError(f"{self.name} has no split {name!r}{did_you_mean(name, known)}")
        sentences = [sentence for sentence in self._sentences if self._is_member(sentence, name)]
        if not sentences:
            published = ", ".join(sorted({sentence.split for sentence in self._sentences}))
            raise DataError(f"{self._refs} has no sentence of the split {name!r}; its splits are {published}")
        return self._assemble(name, sentences)

    def manifest(self) -> str:
        """Return the SHA-256 of sentences, annotations, and of the names and sizes of the images."""
        return manifest_of(self.contents())

    def contents(self) -> Mapping[str, str]:
        """Return the digests of sentences, annotations and the images in use; see `DataSet.contents`."""
        sizes = named_sizes(self._images(), self._image_names(), self.homepage)
        return {**self._annotation_digests(), "images/": digest(sizes, length=64)}

    def files(self) -> tuple[Path, ...]:
        """Return the files of sentences and annotations; see `DataSet.files`."""
        return (self._refs, self._instances_file)

    def _annotation_digests(self) -> dict[str, str]:
        return {
            path.relative_to(self.root).as_posix(): known_digest(path, self.cache) for path in self.files()
        }

    @property
    def _refs(self) -> Path:
        return self.root / self.name / f"refs({self.split_by}).p"

    @property
    def _instances_file(self) -> Path:
        return self.root / self.name / "instances.json"

    @cached_property
    def _sentences(self) -> list[Sentence]:
        return read_sentences(self._refs, self.homepage)

    @cached_property
    def _instances(self) -> Instances:
        required = frozenset(sentence.annotation for sentence in self._sentences)
        return read_instances(self._instances_file, required, self.homepage)

    @cached_property
    def _held_out(self) -> frozenset[int]:
        return held_out_images(
            sentence.image for sentence in self._sentences if sentence.split == self.splits.train
        )

    def _image_names(self) -> list[str]:
        """Return the file names of all images that sentences refer to, stored in `cache`."""
        if self.cache is None:
            return self._find_image_names()
        key = {"images of sentences": self._annotation_digests()}
        file = cached_file(self.cache, key, ".names", lambda part: write_json(part, self._find_image_names()))
        names: list[str] = read_json(file)
        return names

    def _find_image_names(self) -> list[str]:
        return sorted({self._locate(sentence)[1].file for sentence in self._sentences})

    def _images(self) -> Path:
        folders = [self.root / folder for folder in IMAGE_FOLDERS]
        for folder in folders:
            if folder.is_dir():
                return folder
        raise DataError(
            f"neither {folders[0]} nor {folders[1]} is a folder; one of them must contain the images of COCO "
            f"train2014 (see {self.homepage})"
        )

    def _is_member(self, sentence: Sentence, split: str) -> bool:
        if split.startswith("test"):
            return sentence.split.startswith("test") and split[4:] in sentence.split[4:]
        if self.splits.select != _SELECT or split == "val":
            return sentence.split == split
        return sentence.split == self.splits.train and (sentence.image in self._held_out) == (
            split == _SELECT
        )

    def _locate(self, sentence: Sentence) -> tuple[InstanceAnnotation, ImageInfo]:
        try:
            annotation, image_info = self._instances.locate(sentence.annotation)
        except DataError as error:
            raise DataError(f"{self._refs}: ref {sentence.ref} has no valid object: {error}") from error
        if annotation.image != sentence.image:
            raise DataError(
                f"{self._refs}: ref {sentence.ref} belongs to image {sentence.image}, but its annotation "
                f"{sentence.annotation} to image {annotation.image}"
            )
        return annotation, image_info

    def _assemble(self, name: str, sentences: list[Sentence]) -> Split:
        located = [self._locate(sentence) for sentence in sentences]
        images = {annotation.image: image_info for annotation, image_info in located}
        row = {number: index for index, number in enumerate(sorted(images))}
        image_infos = [images[number] for number in row]
        folder = self._images()
        named_sizes(folder, [image_info.file for image_info in image_infos], self.homepage)
        boxes = np.array([annotation.box for annotation, _ in located], dtype=np.float64)
        boxes[:, 2:] += boxes[:, :2]
        table = pd.DataFrame(
            {
                "sample": [f"{self.name}_{sentence.number}" for sentence in sentences],
                "cluster": [Path(image_info.file).stem for _, image_info in located],
                "image": np.array([row[annotation.image] for annotation, _ in located], dtype=np.int64),
                "text": [sentence.text for sentence in sentences],
                "referent": [str(sentence.ref) for sentence in sentences],
                "truth": [" ".join(f"{side:.1f}" for side in box) for box in boxes],
                "same_class": [
                    _count_bin(self._instances.same_category[annotation.image, annotation.category])
                    for annotation, _ in located
                ],
            }
        )
        sizes = np.array(
            [[image_info.height, image_info.width] for image_info in image_infos], dtype=np.int64
        )
        masks = OutlinedMasks(self._object_mask, tuple(sentence.annotation for sentence in sentences))
        paths = tuple(folder / image_info.file for image_info in image_infos)
        return Split(name, table, paths, ("same_class",), Referents(boxes, sizes, masks))

    @cached_property
    def _object_mask(self) -> Callable[[int], ObjectMask]:
        """The function that returns the mask of an annotation; it makes each mask once."""

        def make(number: int) -> ObjectMask:
            annotation, image_info = self._instances.locate(number)
            made = object_mask(annotation.segmentation, image_info.height, image_info.width)
            if made.mask is not None:
                return made
            where = f"{self._instances_file}: annotation {number} has no valid mask"
            return replace(made, problem=f"{where}: {made.problem}")

        return cache(make)


def _count_bin(objects: int) -> str:
    return str(objects) if objects < 3 else "3-4" if objects < 5 else "5+"


_UNKNOWN = Counts(None, None)
_UNC = Splits(train="train", select="val", evaluate=("testA", "testB"))
_WITH_TEST = Splits(train="train", select="val", evaluate=("test",))
_ONLY_VAL = Splits(train="train", select=_SELECT, evaluate=("val",))


def _unc(val: int, test_a: int, test_b: int) -> Partition:
    counts = {"val": Counts(val, 1_500), "testA": Counts(test_a, 750), "testB": Counts(test_b, 750)}
    return Partition(_UNC, {"train": _UNKNOWN, **counts})


class RefCoco(Refer):
    """RefCOCO (Kazemzadeh et al., EMNLP 2014; Yu et al., ECCV 2016); testA has people, testB other objects."""

    name: ClassVar[str] = "refcoco"
    partitions: ClassVar[Mapping[str, Partition]] = {
        "unc": _unc(10_834, 5_657, 5_095),
        "google": Partition(_WITH_TEST, dict.fromkeys(("train", "val", "test"), _UNKNOWN), by_object=True),
    }


class RefCocoPlus(Refer):
    """RefCOCO+ (Yu et al., ECCV 2016): as RefCOCO, from players who were not allowed to use words for locations."""

    name: ClassVar[str] = "refcoco+"
    partitions: ClassVar[Mapping[str, Partition]] = {"unc": _unc(10_758, 5_726, 4_889)}


class RefCocoG(Refer):
    """RefCOCOg (Mao et al., CVPR 2016; partition umd: Nagaraja et al., ECCV 2016): longer sentences."""

    name: ClassVar[str] = "refcocog"
    partitions: ClassVar[Mapping[str, Partition]] = {
        "umd": Partition(_WITH_TEST, dict.fromkeys(("train", "val", "test"), _UNKNOWN)),
        "google": Partition(_ONLY_VAL, {"train": _UNKNOWN, "val": Counts(9_536, 4_650)}, by_object=True),
    }

"""The adapters of RefCOCO on a few images that are written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from fusion_bench.data.refer import dataset
from fusion_bench.data.refer.dataset import RefCoco, RefCocoG, RefCocoPlus
from fusion_bench.errors import DataError
from fusion_bench.registries import DATASETS
from fusion_bench.registry import Target
from fusion_bench.samples.vocabulary import Vocabulary
from fusion_bench.training.config import Component, DataConfig
from fusion_bench.training.splits import read_split
from referit import SIZE, annotation, ref, sentence, write_instances, write_refs

TRAIN = ref(1, 3, "train", sentence(10, "the red vase"), sentence(11, "vase by the door"))
VAL = ref(2, 3, "val", sentence(12, "left vase"))
PEOPLE = ref(3, 5, "testA", sentence(13, "man"), sentence(14, "man in black"))
REST = ref(4, 5, "testB", sentence(15, "花瓶在左边"))
REFS = [TRAIN, VAL, PEOPLE, REST]
TRIANGLE = [[20.0, 5.0, 32.0, 5.0, 20.0, 17.0]]
ANNOTATIONS = [
    annotation(1001, 3),
    annotation(1002, 3, bbox=[20, 5, 12.5, 12], segmentation=TRIANGLE),
    annotation(1003, 5),
    annotation(1004, 5, category_id=8),
    *(annotation(number, 5) for number in range(2000, 2004)),
]


def write(root: Path, refs: Any = REFS, annotations: Any = ANNOTATIONS, name: str = "refcoco") -> Path:
    write_instances(root, name, [3, 5], annotations)
    write_refs(root, name, {"refcocog": "umd"}.get(name, "unc"), refs)
    return root


def test_a_split_has_one_row_per_sentence(tmp_path: Path) -> None:
    data = RefCoco(write(tmp_path))
    data.prepare()
    split = data.split("testA")
    shared = {
        "cluster": "COCO_train2014_000000000005",
        "image": 0,
        "referent": "3",
        "truth": "4.0 5.0 14.0 11.0",
        "same_class": "5+",
    }
    assert split.table.to_dict("records") == [
        {"sample": "refcoco_13", "text": "man", **shared},
        {"sample": "refcoco_14", "text": "man in black", **shared},
    ]
    assert split.slices == ("same_class",)
    folder = tmp_path / "images" / "mscoco" / "images" / "train2014"
    assert split.images == (folder / "COCO_train2014_000000000005.jpg",)


def test_boxes_and_masks_stand_in_pixels_of_the_image(tmp_path: Path) -> None:
    data = RefCoco(write(tmp_path))
    found = data.split("val").referents
    assert found is not None
    assert found.boxes.tolist() == [[20.0, 5.0, 32.5, 17.0]]
    assert found.sizes.tolist() == [list(SIZE)]
    assert found.masks is not None
    mask = np.asarray(coco.decode(found.masks[0]))
    assert mask.shape == SIZE
    assert abs(int(mask.sum()) - 72) <= 12  # half of 12 x 12, give or take the slanted edge
    assert mask[6, 21] and not mask[16, 31]
    both = data.split("train").referents
    assert both is not None and both.masks is not None
    assert both.masks[0] is both.masks[1]


def test_outlines_are_read_where_masks_are_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = RefCoco(write(tmp_path))
    monkeypatch.setattr(dataset, "object_mask", lambda *_: pytest.fail("a mask was made"))
    config = DataConfig("refcoco", Component(Target("fusion_bench.data.refer.dataset:RefCoco")), "1.0", SIZE)
    for name in ("train", "val", "testA", "testB"):
        assert len(read_split(data, name, config).split.rows(np.array([0])).referents.boxes) == 1  # type: ignore[union-attr]


def test_a_byte_order_mark_before_the_annotations_is_no_error(tmp_path: Path) -> None:
    data = RefCoco(write(tmp_path))
    path = tmp_path / "refcoco" / "instances.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\n")
    assert len(data.split("train")) == 2


def test_objects_of_the_referents_category_are_counted_in_its_image(tmp_path: Path) -> None:
    data = RefCoco(write(tmp_path))
    of = {name: list(data.split(name).table["same_class"]) for name in ("train", "val", "testA", "testB")}
    assert of == {"train": ["2", "2"], "val": ["2"], "testA": ["5+", "5+"], "testB": ["1"]}
    fewer = RefCoco(write(tmp_path, annotations=ANNOTATIONS[:-2]))
    assert list(fewer.split("testA").table["same_class"]) == ["3-4", "3-4"]


def test_partitions_and_their_cautions(tmp_path: Path) -> None:
    unc, google = RefCoco(tmp_path), RefCocoG(tmp_path, split_by="google")
    assert (unc.splits.select, unc.splits.evaluate) == ("val", ("testA", "testB"))
    assert RefCocoPlus(tmp_path).splits == unc.splits
    assert RefCocoG(tmp_path).splits.evaluate == ("test",)
    assert (google.splits.select, google.splits.evaluate) == ("select", ("val",))
    assert [len(data.cautions) for data in (unc, google, RefCoco(tmp_path, split_by="google"))] == [1, 2, 2]
    assert "trained on COCO" in unc.cautions[0]
    assert "divides objects, not images" in google.cautions[1]
    with pytest.raises(DataError, match=r"refcoco\+ is not split by 'google' \(known: unc\)"):
        RefCocoPlus(tmp_path, split_by="google")
    for cls in (RefCoco, RefCocoPlus, RefCocoG):
        assert DATASETS.resolve(cls.name).load() is cls


def test_where_only_val_is_labelled_select_is_held_out_of_train_by_image(tmp_path: Path) -> None:
    images = list(range(1, 121))
    refs = [ref(n, image, "train", sentence(n, "a vase")) for n, image in enumerate([*images, *images])]
    refs.append(ref(900, 1, "val", sentence(900, "the vase")))
    annotations = [annotation(1000 + r["ref_id"], r["image_id"]) for r in refs]
    write_instances(tmp_path, "refcocog", images, annotations)
    write_refs(tmp_path, "refcocog", "google", refs)
    data = RefCocoG(tmp_path, split_by="google")
    train, select, val = (data.split(name) for name in ("train", "select", "val"))
    assert 1 <= len(select.images) <= 14
    assert len(train) + len(select) == 240
    assert not set(train.images) & set(select.images)
    assert list(val.table["sample"]) == ["refcocog_900"]


def test_testa_is_every_split_with_an_a(tmp_path: Path) -> None:
    """As in the published reader, testAB belongs to both."""
    data = RefCoco(write(tmp_path, [*REFS[:3], REST | {"split": "testAB"}]))
    assert list(data.split("testA").table["sample"]) == ["refcoco_13", "refcoco_14", "refcoco_15"]
    assert list(data.split("testB").table["sample"]) == ["refcoco_15"]


def test_images_may_stand_in_either_place(tmp_path: Path) -> None:
    data = RefCoco(write(tmp_path))
    before = data.manifest()
    (tmp_path / "images" / "mscoco" / "images" / "train2014").rename(tmp_path / "images" / "train2014")
    assert RefCoco(tmp_path).split("val").images[0].parent == tmp_path / "images" / "train2014"
    assert RefCoco(tmp_path).manifest() == before
    (tmp_path / "images" / "train2014").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"mscoco/images/train2014 nor .*images/train2014 is a folder"):
        RefCoco(tmp_path).prepare()


def test_the_manifest_follows_annotations_and_images(tmp_path: Path) -> None:
    before = RefCoco(write(tmp_path)).manifest()
    assert RefCoco(write(tmp_path, REFS[::-1])).manifest() != before
    assert RefCoco(write(tmp_path, annotations=ANNOTATIONS[:-1])).manifest() != before
    assert RefCoco(write(tmp_path)).manifest() == before
    image = tmp_path / "images" / "mscoco" / "images" / "train2014" / "COCO_train2014_000000000003.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    assert RefCoco(tmp_path).manifest() != before


def test_a_sentence_of_ten_thousand_words_and_one_in_chinese_are_read(tmp_path: Path) -> None:
    long = " ".join(["vase"] * 10_000)
    data = RefCoco(write(tmp_path, [ref(1, 3, "train", sentence(10, long)), REST]))
    assert data.split("train").table["text"][0] == long
    assert Vocabulary(("vase",)).encode([long], longest=30).shape == (1, 30)
    assert data.split("testB").table["text"][0] == "花瓶在左边"


def test_a_repeated_sentence_is_reported_and_counted_once(tmp_path: Path) -> None:
    data = RefCoco(write(tmp_path, [*REFS, PEOPLE]))
    config = DataConfig("refcoco", Component(Target("fusion_bench.data.refer.dataset:RefCoco")), "1.0", SIZE)
    read = read_split(data, "testA", config)
    assert list(read.split.table["sample"]) == ["refcoco_13", "refcoco_14"]
    assert read.repeated == 2


def test_only_published_partitions_may_share_images(tmp_path: Path) -> None:
    """Without published counts, the shared images of the google partition would be an error."""
    for cls in (RefCoco, RefCocoPlus, RefCocoG):
        for split_by, partition in cls.partitions.items():
            data = cls(tmp_path, split_by=split_by)
            files = {data.splits.train, *data.splits.evaluate, data.splits.select} - {"select"}
            assert set(data.published) == files
            assert partition.by_object == (split_by == "google")
    counts = RefCoco(tmp_path).published["testA"]
    assert (counts.samples, counts.images) == (5_657, 750)


@pytest.mark.parametrize(
    ("refs", "message"),
    [
        (
            [ref(1, 3, "train", sentence(10, "a")), ref(2, 3, "train", sentence(10, "b"))],
            "two different sentences have the sent_id 10",
        ),
        ([ref(1, 3, "train", sentence(10, "\ud83d"))], r"'\\ud83d' contains half of a surrogate pair"),
        (
            [ref(1, 3, "train", sentence(10, "a"), ann_id=77)],
            "ref 1 has no valid object: .*has no annotation 77",
        ),
        (
            [ref(1, 5, "train", sentence(10, "a"))],
            "ref 1 belongs to image 5, but its annotation 1001 to image 3",
        ),
        ([ref(1, 3, "train", sentence("x", "a"))], "sent_id must be a whole number, not 'x'"),  # type: ignore[arg-type]
        ([ref(1, 3, "train", sentence(10, "a", sent=None))], "sent must be text, not None"),
        ([{"ref_id": 1}], "ref number 0 has no key 'ann_id'"),
        ([7], "ref number 0 does not follow REFER's schema: it is not a dictionary"),
        ([], "does not contain a list of refs"),
        ({}, "does not contain a list of refs"),
        ([VAL], r"has no sentence of the split 'train'; its splits are val"),
    ],
)
def test_refs_outside_the_schema_are_refused(tmp_path: Path, refs: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RefCoco(write(tmp_path, refs)).split("train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bbox": [35, 5, 10, 6]},
            r"annotation 1001 exceeds its image COCO_train2014_000000000003\.jpg of 40 x 30",
        ),
        ({"bbox": [-3, 5, 10, 6]}, "exceeds its image"),
        ({"bbox": [4, 5, 10, 0]}, "the box of annotation 1001 has no area"),
        ({"bbox": [4, 5, 10]}, "bbox must be four numbers"),
        ({"bbox": [4, 5, float("nan"), 4]}, "bbox must be four numbers"),
        ({"image_id": 9}, "annotation 1001 belongs to image 9, which is not listed"),
        ({"category_id": "vase"}, "category_id must be a whole number"),
    ],
)
def test_annotations_outside_the_schema_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    root = write(tmp_path, annotations=[annotation(1001, 3, **changes), *ANNOTATIONS[1:]])
    with pytest.raises(DataError, match=message) as error:
        RefCoco(root).split("train")
    assert "instances.json" in str(error.value)


def test_boxes_rounded_to_just_outside_are_published_boxes(tmp_path: Path) -> None:
    root = write(tmp_path, annotations=[annotation(1001, 3, bbox=[30.5, 5, 9.9, 6]), *ANNOTATIONS[1:]])
    found = RefCoco(root).split("train").referents
    assert found is not None
    assert found.boxes[0].tolist() == [30.5, 5.0, 40.4, 11.0]


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    data = RefCoco(write(tmp_path))
    with pytest.raises(DataError, match=r"refcoco has no split 'testC' \(did you mean 'test"):
        data.split("testC")
    image = tmp_path / "images" / "mscoco" / "images" / "train2014" / "COCO_train2014_000000000003.jpg"
    image.unlink()
    with pytest.raises(
        DataError, match=r"1 of 2 images are missing in .*first is COCO_train2014_000000000003\.jpg"
    ):
        data.prepare()
    with pytest.raises(DataError, match="1 of 1 images are missing in"):
        data.split("train")
    instances = tmp_path / "refcoco" / "instances.json"
    instances.write_text('{"images": [')
    with pytest.raises(DataError, match=r"instances\.json is not JSON"):
        RefCoco(tmp_path).split("train")
    instances.write_text("{}")
    with pytest.raises(DataError, match="lists no images or no annotations"):
        RefCoco(tmp_path).split("train")
    pictures = {"images": [{"id": 1, "file_name": "../../secret.jpg", "height": 3, "width": 4}]}
    instances.write_text(json.dumps(pictures))
    with pytest.raises(DataError, match=r"file_name must be the name of a file, not '../../secret\.jpg'"):
        RefCoco(tmp_path).split("train")
    write_instances(tmp_path, "refcoco", [3, 5], [*ANNOTATIONS, ANNOTATIONS[0]])
    with pytest.raises(DataError, match="the annotation 1001 is listed twice"):
        RefCoco(tmp_path).split("train")
    instances.unlink()
    with pytest.raises(DataError, match=r"instances\.json does not exist; it is published at https://"):
        RefCoco(tmp_path).split("train")
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"refs\(unc\)\.p refers to the object os\.system"):
        RefCoco(tmp_path).prepare()

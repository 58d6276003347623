"""Referring expressions on built-in scenes: unique, without unnecessary words, exact to the pixel."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from fusion_bench.data.miniclevr.layout import scene_record
from fusion_bench.data.miniclevr.placement import SceneRecipe, draw_scenes
from fusion_bench.data.miniclevr.referring.dataset import MiniClevrRefer
from fusion_bench.data.miniclevr.referring.expressions import generate_expressions
from fusion_bench.data.miniclevr.render.render import object_ids, render
from fusion_bench.data.miniclevr.scenes.scenes import Scene
from fusion_bench.data.programs import Facts
from fusion_bench.data.refer.pickles import read_plain_pickle
from fusion_bench.errors import DataError
from fusion_bench.registries import DATASETS
from fusion_bench.samples.split import Split

IMAGES = {"train": 66, "select": 5, "evaluate": 9}
SIZE = (32, 48)
MEANS = {
    "size": {"large": "large", "big": "large", "small": "small", "tiny": "small"},
    "color": {c: c for c in ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")},
    "material": {
        "rubber": "rubber",
        "matte": "rubber",
        "metal": "metal",
        "metallic": "metal",
        "shiny": "metal",
    },
    "shape": {"cube": "cube", "block": "cube", "sphere": "sphere", "ball": "sphere", "cylinder": "cylinder"},
}
RELATION = re.compile(
    r" (?:that is )?(?:(?:to the |on the )?(left|right)(?: side)? of|(behind)|in (front) of) the "
)


def generate_in(root: Path, **changes: Any) -> MiniClevrRefer:
    data = MiniClevrRefer(root, **{"images": IMAGES, "size": SIZE} | changes)
    data.prepare()
    return data


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> MiniClevrRefer:
    return generate_in(tmp_path_factory.mktemp("data") / "refer")


def scenes_of(split: str, count: int) -> list[Scene]:
    return draw_scenes(SceneRecipe(0, split, SIZE, distractors=0.5), range(count))


def parse(text: str) -> tuple[dict[str, str], str | None, dict[str, str]]:
    """Return attributes, relation and attributes of the reference in a sentence, read word by word."""
    assert text.startswith("the ")
    relation = RELATION.search(text)
    of_thing, of_other = (text[4:], "") if relation is None else RELATION.split(text[4:], maxsplit=1)[::4]
    which = None if relation is None else next(filter(None, relation.groups()))
    return _attributes(of_thing), which, _attributes(of_other)


def _attributes(words: str) -> dict[str, str]:
    found = {}
    for word in words.split():
        names = [name for name, known in MEANS.items() if word in known]
        assert names or word in {"thing", "object"}, word
        found.update({name: MEANS[name][word] for name in names})
    return found


def matching_objects(scene: Scene, expression: tuple[dict[str, str], str | None, dict[str, str]]) -> set[int]:
    """Return the objects that match, by a second executor without bit sets and programs, from world coordinates."""
    wanted, relation, of_other = expression

    def fitting(attributes: dict[str, str]) -> set[int]:
        return {
            number
            for number, thing in enumerate(scene.things)
            if all(getattr(thing, name) == value for name, value in attributes.items())
        }

    things = fitting(wanted)
    if relation is None:
        return things
    (reference,) = fitting(of_other)
    toward = np.array(scene.directions[relation])
    start = np.array(scene.things[reference].coords) @ toward
    return {number for number in things if np.array(scene.things[number].coords) @ toward - start > 0.2}


def referring_sentences(
    data: MiniClevrRefer, split: str, scenes: list[Scene], first: int
) -> list[tuple[Scene, int, str]]:
    """Return scene, object and text of every sentence, by the numbers of the annotations."""
    content = json.loads((data.root / data.name / "instances.json").read_text())
    starts: dict[int, int] = {}
    for annotation in content["annotations"]:
        starts.setdefault(annotation["image_id"], annotation["id"])
    refs = read_plain_pickle(data.root / data.name / "refs(unc).p", "")
    return [
        (scenes[ref["image_id"] - first], ref["ann_id"] - starts[ref["image_id"]], sentence["sent"])
        for ref in refs
        if ref["split"] == split
        for sentence in ref["sentences"]
    ]


def test_every_sentence_identifies_its_object_and_every_word_is_necessary(generated: MiniClevrRefer) -> None:
    sentences = referring_sentences(generated, "train", scenes_of("train", 66), first=1)
    assert len(sentences) == len(generated.split("train")) > 350
    redundant = 0
    for scene, thing, text in sentences:
        wanted, relation, of_other = parse(text)
        assert matching_objects(scene, (wanted, relation, of_other)) == {thing}, text
        shorter = [
            ({name: value for name, value in wanted.items() if name != dropped}, relation, of_other)
            for dropped in wanted
        ]
        if relation is not None:
            shorter.append((wanted, None, {}))
        redundant += any(matching_objects(scene, expression) == {thing} for expression in shorter)
    # A second sentence has an unnecessary word only if no other description is left.
    assert redundant / len(sentences) < 0.05
    kinds = Counter("relation" if parse(text)[1] else len(parse(text)[0]) for _, _, text in sentences)
    assert 0.4 < kinds["relation"] / len(sentences) < 0.7
    assert kinds[1] / len(sentences) < 0.3  # for most objects, one word is not enough
    assert kinds[2] and kinds[3]


def test_things_are_described_twice_and_no_two_sentences_of_an_image_are_equal(
    generated: MiniClevrRefer,
) -> None:
    table = generated.split("train").table
    assert not table.duplicated(["image", "text"]).any()
    assert (table.groupby("image").size() <= 6).all()
    twice = table.groupby(["image", "truth"]).size() == 2
    assert twice.mean() > 0.95


@pytest.mark.parametrize("relations", [True, False])
def test_an_image_does_not_predict_the_referent(relations: bool) -> None:
    """In many draws, no object of a scene is much more frequent than by chance, which limits `image_only`."""
    draws, random = 120, np.random.default_rng(0)
    most_frequent, by_chance = [], []
    for scene in scenes_of("bound", 30):
        facts = Facts.of(scene_record(scene, "bound"))
        counted: Counter[int] = Counter()
        for number in range(draws):
            drawn = generate_expressions(facts, 2, relations, Random(f"{scene.index} {number}"))  # noqa: S311
            counted.update({sentence.thing for sentence in drawn})
        most_frequent.append(max(counted.values(), default=0))
        things = len(scene.things)
        by_chance.append(random.multinomial(draws, [1 / things] * things, size=200).max(axis=1).mean())
    assert np.sum(most_frequent) < 1.3 * np.sum(by_chance)


def test_without_relations_no_sentence_says_where(tmp_path: Path) -> None:
    data = generate_in(tmp_path / "data", images={"train": 20, "select": 1, "evaluate": 1}, relations=False)
    texts = list(data.split("train").table["text"])
    assert len(texts) > 80
    assert all(parse(text)[1] is None for text in texts)


def _masks(split: Split) -> np.ndarray[Any, Any]:
    assert split.referents is not None and split.referents.masks is not None
    return np.stack([np.asarray(coco.decode(mask)) for mask in split.referents.masks]).astype(bool)


def test_masks_are_the_renderers_to_the_pixel_and_boxes_are_tight(generated: MiniClevrRefer) -> None:
    split, scenes = generated.split("test"), scenes_of("test", 9)
    first = IMAGES["train"] + IMAGES["select"] + 1
    ids = {id(scene): row for scene, row in zip(scenes, object_ids(scenes, SIZE), strict=True)}
    sentences = referring_sentences(generated, "test", scenes, first)
    assert [text for _, _, text in sentences] == list(split.table["text"])
    assert split.referents is not None
    for (scene, thing, _), mask, box in zip(sentences, _masks(split), split.referents.boxes, strict=True):
        np.testing.assert_array_equal(mask, ids[id(scene)] == thing)
        y, x = np.nonzero(mask)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
    np.testing.assert_array_equal(np.asarray(Image.open(split.images[0])), render(scenes[:1], SIZE)[0])
    assert (split.referents.sizes == SIZE).all()


def test_it_is_written_in_refers_layout(generated: MiniClevrRefer) -> None:
    folder = generated.root / "images" / "mscoco" / "images" / "train2014"
    assert len(list(folder.iterdir())) == 80
    content = json.loads((generated.root / "miniclevr_refer" / "instances.json").read_text())
    assert {image["id"] for image in content["images"]} == set(range(1, 81))
    assert [category["name"] for category in content["categories"]] == ["cube", "sphere", "cylinder"]
    scene = scenes_of("train", 1)[0]
    of_first = [record for record in content["annotations"] if record["image_id"] == 1]
    assert len(of_first) == len(scene.things)
    for record, thing in zip(of_first, scene.things, strict=True):
        assert content["categories"][record["category_id"] - 1]["name"] == thing.shape
        assert record["area"] == coco.area(coco.frPyObjects(record["segmentation"], *SIZE))
    refs = read_plain_pickle(generated.root / "miniclevr_refer" / "refs(unc).p", "")
    assert set(refs[0]) == {
        *("ref_id", "ann_id", "image_id", "category_id", "split", "file_name", "sent_ids", "sentences")
    }
    assert refs[0]["sent_ids"] == [sentence["sent_id"] for sentence in refs[0]["sentences"]]
    assert set(refs[0]["sentences"][0]) == {"tokens", "raw", "sent_id", "sent"}


def test_categories_are_shapes_and_counted(generated: MiniClevrRefer) -> None:
    scenes = scenes_of("train", 66)
    table = generated.split("train").table
    for (scene, thing, _), slice_value in zip(
        referring_sentences(generated, "train", scenes, 1), table["same_class"], strict=True
    ):
        same_shape = sum(other.shape == scene.things[thing].shape for other in scene.things)
        assert slice_value == ("5+" if same_shape > 4 else "3-4" if same_shape > 2 else str(same_shape))


def test_splits_and_cautions(generated: MiniClevrRefer) -> None:
    assert (generated.splits.train, generated.splits.select, generated.splits.evaluate) == (
        "train",
        "val",
        ("test",),
    )
    names = {"train": 66, "val": 5, "test": 9}
    assert {name: len(generated.split(name).images) for name in names} == names
    assert generated.cautions == ()
    assert DATASETS.resolve("miniclevr_refer").load() is MiniClevrRefer


def test_the_sentences_of_the_default_settings_stay_as_they_are(generated: MiniClevrRefer) -> None:
    texts = "\n".join(generated.split("train").table["text"])
    assert hashlib.sha256(texts.encode()).hexdigest() == (
        "44276ef6d5c9f682fcec1d3a60f7016ac08d99bb7d37deafaf220853c673f002"
    )


def test_attributes_that_do_not_vary_are_never_named(tmp_path: Path) -> None:
    data = generate_in(tmp_path / "data", attributes={"color", "material"}, things=[2, 4])
    named = [parse(text) for text in data.split("train").table["text"]]
    assert len(named) > 250
    words = {name for wanted, _, of_other in named for name in (*wanted, *of_other)}
    assert words == {"color", "material"}
    recipe = SceneRecipe(0, "train", SIZE, (2, 4), distractors=0.5, attributes=("color", "material"))
    sentences = referring_sentences(data, "train", draw_scenes(recipe, range(66)), first=1)
    assert all(matching_objects(scene, parse(text)) == {thing} for scene, thing, text in sentences)


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(generated: MiniClevrRefer, tmp_path: Path) -> None:
    other = MiniClevrRefer(tmp_path / "other", images=IMAGES, size=SIZE)
    other.prepare(workers=2)
    files = [path for path in generated.root.rglob("*") if path.is_file()]
    assert len(files) == 83
    for path in files:
        assert path.read_bytes() == (other.root / path.relative_to(generated.root)).read_bytes()
    assert other.manifest() == generated.manifest()


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    for changes, message in (
        ({"expressions_per_image": 0}, "expressions_per_image must be at least 1"),
        ({"images": {"train": 3}}, "images must give a number of images"),
        ({"things": [3, 11]}, "things must be a least and a greatest number"),
        ({"attributes": {"colour"}}, r"no attribute 'colour' \(did you mean 'color'\?\)"),
        ({"attributes": {"size"}}, "the attributes size are too few for sentences that refer to one object"),
    ):
        with pytest.raises(DataError, match=message):
            generate_in(tmp_path / "data", **changes)  # type: ignore[arg-type]

"""CLEVR-CoGenT: reading, generation, and that nothing of condition B is colours_by_shape before the evaluation."""

from __future__ import annotations

import json
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_bench.data.cogent import ClevrCogent, ClevrCogentB
from fusion_bench.data.miniclevr.cogent import MiniClevrCogent, MiniClevrCogentB
from fusion_bench.data.miniclevr.pretext import ATTRIBUTE_NAMES, ATTRIBUTE_VALUES, pretext_images
from fusion_bench.errors import DataError
from fusion_bench.registries import DATASETS
from fusion_bench.samples.counting import Notify
from fusion_bench.samples.dataset import DataSet
from fusion_bench.storage import file_digest
from fusion_bench.training.pretext import weights
from fusion_bench.training.pretext.recognition import PretextRecipe
from fusion_bench.training.pretext.task import PretextTask

# The sets of colours in the paper, written out here again.
ONE, OTHER = {"gray", "blue", "brown", "yellow"}, {"red", "green", "purple", "cyan"}
ALLOWED = {
    "A": {"cube": ONE, "cylinder": OTHER, "sphere": ONE | OTHER},
    "B": {"cube": OTHER, "cylinder": ONE, "sphere": ONE | OTHER},
}


def colours_by_shape(root: Path, stem: str) -> dict[str, set[str]]:
    """Return the colours of each shape in a scenes file."""
    found: dict[str, set[str]] = defaultdict(set)
    for scene in json.loads((root / "scenes" / f"CLEVR_{stem}_scenes.json").read_text())["scenes"]:
        for thing in scene["objects"]:
            found[thing["shape"]].add(thing["color"])
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MiniClevrCogent:
    data = MiniClevrCogent(
        tmp_path_factory.mktemp("data") / "cogent",
        images={"train": 30, "select": 12, "evaluate": 30},
        questions_per_image=3,
        size=[16, 24],
    )
    data.prepare()
    return data


def test_every_split_keeps_to_its_condition_and_uses_all_of_it(made: MiniClevrCogent) -> None:
    for stem, condition in (("trainA", "A"), ("valA", "A"), ("valB", "B")):
        assert colours_by_shape(made.root, stem) == ALLOWED[condition]
    for shape, colors in colours_by_shape(made.root, "selectA").items():
        assert colors <= ALLOWED["A"][shape]


def test_it_is_written_in_the_released_layout_and_read_by_its_adapter(made: MiniClevrCogent) -> None:
    assert (made.splits.train, made.splits.evaluate) == ("trainA", ("valA", "valB"))
    assert {name: len(made.split(name).images) for name in ("trainA", "selectA", "valA", "valB")} == {
        "trainA": 30,
        "selectA": 12,
        "valA": 30,
        "valB": 30,
    }
    # The adapter of the release reads the same files, but holds its select split out of train.
    released = ClevrCogent(made.root)
    released.prepare()
    train, select = released.split("trainA"), released.split("select")
    assert len(train) + len(select) == len(made.split("trainA"))
    assert not set(train.images) & set(select.images)
    assert released.split("valB").table.equals(made.split("valB").table)
    for cls in (ClevrCogent, MiniClevrCogent, ClevrCogentB, MiniClevrCogentB):
        assert DATASETS.resolve(cls.name).load() is cls


def test_fine_tuning_on_b_keeps_the_evaluation_splits(made: MiniClevrCogent, tmp_path: Path) -> None:
    tuned = MiniClevrCogentB(
        tmp_path / "cogent_b",
        images={"train": 20, "select": 12, "evaluate": 30},
        questions_per_image=3,
        size=[16, 24],
    )
    tuned.prepare()
    for name in ("trainB", "selectB"):
        for shape, colors in colours_by_shape(tuned.root, name).items():
            assert colors <= ALLOWED["B"][shape]
    for name in ("valA", "valB"):
        ours, theirs = tuned.split(name), made.split(name)
        assert ours.table.equals(theirs.table)
        assert [image.read_bytes() for image in ours.images] == [
            image.read_bytes() for image in theirs.images
        ]
    texts = [set(tuned.split(name).table["sample"]) for name in ("trainB", "selectB", "valB")]
    assert not texts[0] & texts[1] and not texts[1] & texts[2]
    assert tuned.pretext_condition == "A"


def test_the_released_val_b_is_divided_for_fine_tuning(made: MiniClevrCogent) -> None:
    data = ClevrCogentB(made.root)
    data.prepare()
    tune, select, rest = (data.split(name) for name in ("tuneB", "selectB", "restB"))
    assert [len(split.images) for split in (tune, select, rest)] == [6, 2, 22]
    assert all(image.parent.name == "valB" for image in tune.images)
    images = [set(split.images) for split in (tune, select, rest)]
    assert not images[0] & images[1] and not images[1] & images[2] and not images[0] & images[2]
    assert len(tune) + len(select) + len(rest) == len(made.split("valB"))
    assert data.split("valA").table.equals(made.split("valA").table)
    with pytest.raises(DataError, match="has no split 'valB'"):
        data.split("valB")


@pytest.mark.parametrize("condition", ["A", "B"])
def test_pretext_scenes_keep_to_a_condition(condition: Any) -> None:
    attributes = pretext_images(0, 60, (16, 24), condition=condition).attributes.reshape(-1, 4)
    named = [
        dict(
            zip(
                ATTRIBUTE_NAMES,
                (known[value] for known, value in zip(ATTRIBUTE_VALUES, row, strict=True)),
                strict=True,
            )
        )
        for row in attributes[attributes[:, 0] >= 0]
    ]
    found: dict[str, set[str]] = defaultdict(set)
    for thing in named:
        found[thing["shape"]].add(thing["color"])
    assert found == ALLOWED[condition]


def test_without_a_condition_the_pretext_scenes_do_not_change() -> None:
    np.testing.assert_array_equal(
        pretext_images(0, 3, (16, 24)).images, pretext_images(0, 3, (16, 24), condition=None).images
    )
    assert DataSet.pretext_condition is None
    assert MiniClevrCogent.pretext_condition == "A"


def test_a_condition_has_weights_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions: list[Any] = []

    def make(task: PretextTask, file: Path, notify: Notify) -> None:
        conditions.append(task.condition)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"weights")
        file.with_suffix(".pictures").write_bytes(b"")
        file.with_suffix(".json").write_text(
            json.dumps({"sha256": file_digest(file), "pictures_sha256": sha256(b"").hexdigest()})
        )

    monkeypatch.setattr(weights, "write_pretext_weights", make)
    recipe = PretextRecipe()
    files = [
        weights.make_pretext_weights(PretextTask("resnet18", 2, (64, 96), recipe, condition), tmp_path).file
        for condition in (None, "A", "B", "A", None)
    ]
    assert conditions == [None, "A", "B"]
    assert files[0] == files[4] and files[1] == files[3]
    assert len(set(files)) == 3


@pytest.mark.pack
def test_a_pack_rendered_in_blender_reads_whole(packs: Path) -> None:
    root = packs / "clevr_cogent_mini"
    data = ClevrCogent(root)
    data.prepare()
    train, select, val_a, val_b = (data.split(name) for name in ("trainA", "select", "valA", "valB"))
    assert len(train) + len(select) == 240
    assert len(train.images) + len(select.images) == 24
    assert (len(val_a), len(val_b), len(val_a.images), len(val_b.images)) == (120, 120, 12, 12)
    assert not set(train.images) & set(select.images)
    for stem in ("trainA", "valA", "valB"):
        for shape, colors in colours_by_shape(root, stem).items():
            assert colors <= ALLOWED[stem[-1]][shape]

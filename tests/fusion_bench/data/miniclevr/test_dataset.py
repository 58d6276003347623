"""The built-in data set from settings to splits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fusion_bench.data.clevr import KIND_STARTS, Clevr
from fusion_bench.data.miniclevr import build
from fusion_bench.data.miniclevr.cogent import MiniClevrCogent
from fusion_bench.data.miniclevr.dataset import MiniClevr
from fusion_bench.data.programs import ATTRIBUTES, Facts, execute
from fusion_bench.errors import DataError
from fusion_bench.registries import DATASETS

IMAGES = {"train": 70, "select": 5, "evaluate": 6}


def small(root: Path, **changes: Any) -> MiniClevr:
    settings: dict[str, Any] = {"images": IMAGES, "questions_per_image": 4, "size": [16, 24]}
    return MiniClevr(root, **settings | changes)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> MiniClevr:
    data = small(tmp_path_factory.mktemp("data") / "miniclevr")
    data.prepare()
    return data


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_files_stand_where_clevr_has_them(generated: MiniClevr) -> None:
    files = set(fingerprint(generated.root))
    for split, count in (("train", 70), ("val", 5), ("test", 6)):
        assert f"scenes/CLEVR_{split}_scenes.json" in files
        assert f"questions/CLEVR_{split}_questions.json" in files
        assert {f"images/{split}/CLEVR_{split}_{index:06d}.png" for index in range(count)} <= files
    with Image.open(generated.root / "images" / "train" / "CLEVR_train_000069.png") as image:
        assert (image.size, image.mode) == ((24, 16), "RGB")


def test_every_split_reads_through_the_clevr_adapter(generated: MiniClevr) -> None:
    for split, count in (("train", 70), ("val", 5), ("test", 6)):
        read = generated.split(split)
        assert len(read.images) == count
        assert len(read) == 4 * count
    assert generated.splits.evaluate == ("test",)
    assert 0 < generated.floor(generated.split("train"), generated.split("val")).accuracy < 0.7
    assert DATASETS.resolve("miniclevr").load() is MiniClevr


def test_the_executor_agrees_with_every_question_on_file(generated: MiniClevr) -> None:
    for split in ("train", "val", "test"):
        scenes = json.loads((generated.root / "scenes" / f"CLEVR_{split}_scenes.json").read_text())["scenes"]
        facts = {scene["image_filename"]: Facts.of(scene) for scene in scenes}
        questions = generated.root / "questions" / f"CLEVR_{split}_questions.json"
        for record in json.loads(questions.read_text())["questions"]:
            assert execute(record["program"], facts[record["image_filename"]]) == record["answer"]


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(generated: MiniClevr, tmp_path: Path) -> None:
    other = small(tmp_path / "other")
    other.prepare(workers=2)
    assert fingerprint(other.root) == fingerprint(generated.root)
    assert other.manifest() == generated.manifest()


def test_prepared_data_is_left_alone(generated: MiniClevr, monkeypatch: pytest.MonkeyPatch) -> None:
    def render_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(build, "render_images", render_again)
    generated.prepare()


def test_an_interrupted_generation_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small(tmp_path / "data", images={"train": 2, "select": 1, "evaluate": 1})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "render_images", killed)
        with pytest.raises(KeyboardInterrupt):
            data.prepare()
    with pytest.raises(DataError, match=r"does not exist in .* yet"):
        data.split("train")
    data.prepare()
    assert len(data.split("train").images) == 2
    shown = [path.name for path in tmp_path.iterdir() if path.is_dir() and not path.name.startswith(".")]
    assert shown == ["data"]  # beside it stands the folder of its lease


def test_a_folder_of_other_settings_or_files_is_left_alone(generated: MiniClevr, tmp_path: Path) -> None:
    before = fingerprint(generated.root)
    for changes in ({"seed": 1}, {"kinds": ["zero_hop"]}, {"images": IMAGES | {"train": 71}}):
        other = small(generated.root, **changes)
        for use in (other.prepare, other.manifest, lambda other=other: other.split("train")):
            with pytest.raises(DataError, match="contains a miniclevr with other settings"):
                use()
    assert fingerprint(generated.root) == before
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataError, match="files that miniclevr did not generate"):
        small(tmp_path).prepare()
    assert (tmp_path / "thesis.tex").exists()


def test_splits_share_no_scene(generated: MiniClevr) -> None:
    places = []
    for split in ("train", "val", "test"):
        scenes = json.loads((generated.root / "scenes" / f"CLEVR_{split}_scenes.json").read_text())["scenes"]
        places += [json.dumps(scene["objects"]) for scene in scenes]
    assert len(set(places)) == len(places) == 81


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {"train": 3}}, "images must give a number of images for each of train, select, evaluate"),
        ({"images": IMAGES | {"select": 0}}, "images must give"),
        ({"questions_per_image": 0}, "questions_per_image must be at least 1"),
        ({"size": [64]}, "size must be two whole numbers of at least 8"),
        ({"things": [4, 3]}, "things must be a least and a greatest number"),
        ({"things": [3, 11]}, "things must be a least and a greatest number"),
        ({"kinds": ["nought_hop"]}, "no question kind 'nought_hop'"),
        ({"kinds": "locat"}, r"no tier of questions 'locat' \(did you mean 'locate'\?\)"),
        ({"kinds": "zero_hop"}, "kinds are written as a list"),
        ({"wordings": "some"}, "wordings must be one or all, not 'some'"),
        ({"attributes": []}, "attributes is empty; name at least one of shape, size, color, material"),
        ({"attributes": ["shap"]}, r"objects have no attribute 'shap' \(did you mean 'shape'\?\)"),
        ({"attributes": ["size"]}, "the attributes size are too few for questions of the kind comparison"),
        (
            {"attributes": ["size"], "kinds": "relate"},
            "too few for questions of the kind one_hop in scenes of 10",
        ),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        small(tmp_path, **changes)


def test_the_files_of_the_default_settings_stay_as_they_are(generated: MiniClevr) -> None:
    """Digests of the first release; others would give the same cell ids other data."""
    questions = generated.root / "questions" / "CLEVR_train_questions.json"
    assert hashlib.sha256(questions.read_bytes()).hexdigest() == (
        "982a9e1461b4db79864bbb2440a9cc8b301cead6b948416cf7f2ae0d859ad7ec"
    )
    # A folder that was made before a setting existed is complete.
    assert json.loads((generated.root / "DONE").read_text()).keys() == {
        *("version", "seed", "images", "questions_per_image", "kinds", "size", "things"),
    }


def test_wordings_and_attributes_reach_the_files(tmp_path: Path) -> None:
    data = small(
        tmp_path / "data", kinds="locate", wordings="one", attributes=["color", "shape"], things=[2, 3]
    )
    data.prepare()
    scenes = json.loads((data.root / "scenes" / "CLEVR_train_scenes.json").read_text())["scenes"]
    objects = [thing for scene in scenes for thing in scene["objects"]]
    assert {(thing["size"], thing["material"]) for thing in objects} == {("large", "rubber")}
    assert {thing["color"] for thing in objects} == set(ATTRIBUTES["color"])
    table = data.split("train").table
    assert set(table["kind"]) == {"zero_hop"}
    starts = ("What color is the ", "What shape is the ", "How many ", "Are there any ")
    assert table["text"].str.startswith(starts).all()
    assert {start for start in starts if table["text"].str.startswith(start).any()} == set(starts)
    assert not table["text"].str.contains("large|rubber|size|made").any()
    with pytest.raises(DataError, match="with other settings"):
        small(
            data.root, kinds="locate", wordings="all", attributes=["color", "shape"], things=[2, 3]
        ).prepare()


@pytest.mark.parametrize(
    ("tier", "kinds"), [("locate", ["zero_hop"]), ("relate", ["one_hop"]), ("reason", [*KIND_STARTS])]
)
def test_a_tier_stands_for_its_kinds(tmp_path: Path, tier: str, kinds: list[str]) -> None:
    assert list(small(tmp_path, kinds=tier).kinds) == list(small(tmp_path, kinds=kinds).kinds) == kinds
    assert Clevr(tmp_path, kinds=tier).kinds == tuple(kinds)  # type: ignore[arg-type]


def test_cogent_exchanges_the_colors_of_shapes(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"images": IMAGES, "size": [16, 24], "things": [2, 3]}
    assert MiniClevrCogent(tmp_path, **settings, attributes={"shape", "color"}).kinds
    for attributes in ({"shape", "size"}, {"size", "color", "material"}):
        with pytest.raises(DataError, match="attributes must contain shape and color, not only"):
            MiniClevrCogent(tmp_path, **settings, attributes=attributes)  # type: ignore[arg-type]

"""The JSON schema accepts every ready study and what the reader accepts, and refuses faulty studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from fusion_bench.errors import StudyFileError
from fusion_bench.spec.editor.schema import editor_schema
from study_fakes import GOOD, Load, fake_catalogue

ROOT = Path(__file__).parents[4]
TEMPLATE = ROOT / "fusion_bench" / "cli" / "templates" / "study.yaml"
STUDIES = (*sorted((ROOT / "studies").rglob("*.yaml")), *sorted((ROOT / "examples").rglob("*.yaml")))


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.fixture(scope="module")
def shipped() -> Draft202012Validator:
    """The schema of this repository, as it is committed."""
    return Draft202012Validator(json.loads((ROOT / "studies" / "schema.json").read_text(encoding="utf-8")))


def test_the_schema_is_one(shipped: Draft202012Validator) -> None:
    Draft202012Validator.check_schema(shipped.schema)
    Draft202012Validator.check_schema(editor_schema(fake_catalogue()))


@pytest.mark.parametrize("path", [*STUDIES, TEMPLATE], ids=lambda path: path.stem)
def test_every_ready_study_is_accepted(shipped: Draft202012Validator, path: Path) -> None:
    errors = [error.message for error in shipped.iter_errors(parsed(path.read_text(encoding="utf-8")))]
    assert not errors


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_ready_study_names_the_schema_for_editors(path: Path) -> None:
    first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    assert (path.parent / first.removeprefix(prefix)).resolve() == ROOT / "studies" / "schema.json"


WHOLE = """\
version: 1
name: whole
data: {name: miniclevr, image_size: [48, 72], images: {train: 100, select: 10, evaluate: 10}}
backbone: {name: test_resnet, weights: pretext}
text: {hidden: 64}
arms:
  laconv: {module: laconv, kernel_size: 3}
  mine: {module: gate.py, anything: 3}
  other: {module: "my_package.fusion:Gate"}
  net: {network: laconvnet_tiny}
seeds: [0, 1]
search: {trials: 4, space: {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}, kernel_size: [3, 5]}}
contexts: {pooled: {head.pool: mean, text.hidden: 32}}
"""
CHILD = """\
extends: whole.yaml
data: {size: [48, 72]}
text: {hidden: 32}
arms: {laconv: {kernel_size: 5}, mine: null}
search: {batch: 2}
backbone: {frozen: true}
"""
OFFICIAL = """\
version: 1
name: official
official: true
data: {name: refcoco}
arms: {net: {network: laconvnet_s}}
controls: false
seeds: 1
"""


@pytest.mark.parametrize("text", [WHOLE, CHILD, OFFICIAL], ids=["whole", "child", "official"])
def test_a_study_of_another_shape_is_accepted(shipped: Draft202012Validator, text: str) -> None:
    assert [error.message for error in shipped.iter_errors(parsed(text))] == []


FAULTS = [
    (WHOLE, "version: 1\n", ""),
    (WHOLE, "version: 1", "version: 2"),
    (WHOLE, "name: whole", "name: a/b"),
    (WHOLE, "name: whole", "nam: whole"),
    (WHOLE, "name: miniclevr,", "name: miniclever,"),
    (WHOLE, "name: miniclevr,", ""),
    (WHOLE, "image_size: [48, 72], ", ""),
    (WHOLE, "image_size: [48, 72]", "image_size: [48]"),
    (WHOLE, "image_size: [48, 72]", "image_size: [4, 72]"),
    (WHOLE, "images: {", "imags: {"),
    (WHOLE, "images: {train: 100", "images: {train: many"),
    (WHOLE, "images: {train: 100", "task: grounding, images: {train: 100"),
    (WHOLE, "images: {train: 100", "split_by: google, images: {train: 100"),
    (WHOLE, "images: {train: 100, select: 10, evaluate: 10}", "things: null"),
    (WHOLE, "weights: pretext", "weights: imagnet"),
    (WHOLE, "weights: pretext", "weigths: pretext"),
    (WHOLE, "name: test_resnet, ", ""),
    (WHOLE, "hidden: 64", "hiden: 64"),
    (WHOLE, "hidden: 64", "hidden: wide"),
    (WHOLE, "text: {hidden: 64}", "text: {encoder: lstm}"),
    (WHOLE, "text: {hidden: 64}", "text: {encoder: glove, heads: 3}"),
    (WHOLE, "module: laconv,", "module: lacov,"),
    (WHOLE, "module: laconv,", ""),
    (WHOLE, "module: laconv,", "network: laconvnet_tiny, module: laconv,"),
    (WHOLE, "kernel_size: 3}", "kernel_sice: 3}"),
    (WHOLE, "kernel_size: 3}", "kernel_size: big}"),
    (WHOLE, "kernel_size: 3}", "train: {epoch: 3}}"),
    (WHOLE, "{module: gate.py, anything: 3}", "null"),
    (WHOLE, "{module: gate.py, anything: 3}", "film"),
    (WHOLE, "network: laconvnet_tiny", "network: laconvnet_xl"),
    (WHOLE, "network: laconvnet_tiny", "network: laconvnet_tiny, kernel_size: 3"),
    (WHOLE, "  net:", "  a/b:"),
    (WHOLE, "seeds: [0, 1]", "seeds: []"),
    (WHOLE, "seeds: [0, 1]", "seeds: -1"),
    (WHOLE, "seeds: [0, 1]", "seeds: true"),
    (WHOLE, "seeds: [0, 1]", "seeds: 3\ncontrols: [question_onl]"),
    (WHOLE, "seeds: [0, 1]", "seeds: 3\ntrain: {epochs: 100001}"),
    (WHOLE, "seeds: [0, 1]", 'seeds: 3\ntrain: {learning_rate: "1e-4"}'),
    (WHOLE, "seeds: [0, 1]", "seeds: 3\nepochs: 3"),
    (WHOLE, "seeds: [0, 1]", "seeds: 3\nvary: {base: {module: film}}"),
    (WHOLE, "seeds: [0, 1]", "seeds: 3\nexpected: [{arm: laconv, metric: accuracy}]"),
    (WHOLE, "trials: 4, ", ""),
    (WHOLE, "trials: 4", "trials: 0"),
    (WHOLE, "low: 1e-4, ", ""),
    (WHOLE, "train.learning_rate: {", "train.learning_rat: {"),
    (WHOLE, "train.learning_rate: {low: 1e-4, high: 1e-2, log: true}", "fusion.slot: [uniform]"),
    (WHOLE, "train.learning_rate: {low: 1e-4, high: 1e-2, log: true}", "train.precision: [float8]"),
    (WHOLE, "head.pool: mean", "head.pool: median"),
    (WHOLE, "head.pool: mean", "seeds: 3"),
    (CHILD, "size: [48, 72]", "size: [48, 72], name: miniclever"),
    (CHILD, "size: [48, 72]", "size: [48, 72], name: clevr"),
    (CHILD, "kernel_size: 5", "module: laconv, kernel_sice: 5"),
    (CHILD, "mine: null", "mine: 3"),
    (CHILD, "batch: 2", "batsh: 2"),
    (CHILD, "frozen: true", "frozen: maybe"),
    (CHILD, "hidden: 32", "encoder: gru, hiden: 32"),
    (CHILD, "extends: whole.yaml", "extends: null"),
    (CHILD, "extends: whole.yaml", "extends: [3]"),
    (OFFICIAL, "official: true", "official: false"),
    (OFFICIAL, "official: true", "official: yes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "old", "new"), FAULTS, ids=[f"{new or 'no ' + old}"[:40] for _, old, new in FAULTS]
)
def test_a_faulty_study_is_refused(shipped: Draft202012Validator, text: str, old: str, new: str) -> None:
    assert text.count(old) >= 1
    assert not shipped.is_valid(parsed(text.replace(old, new, 1)))


ODD: tuple[Any, ...] = (
    None, -1, 2, 0.5, True, "a/b", "film", "max", [1], [[None]], {}, {"a": [1]}, {"module": "film"},
)  # fmt: skip
PATHS = (
    ("data",), ("data", "kinds"), ("data", "longest_text"), ("data", "task"), ("data", "more"), ("backbone",),
    ("backbone", "layer"), ("text",), ("text", "encoder"), ("text", "hidden"), ("fusion", "slot"), ("head",),
    ("head", "pool"), ("train",), ("train", "patience"), ("train", "betas"), ("arms",), ("arms", "film"),
    ("arms", "film", "module"), ("arms", "film", "network"), ("arms", "film", "scale"), ("arms", "film", "train"),
    ("arms", "more"), ("vary",), ("controls",), ("seeds",), ("threads",), ("reference",), ("search",), ("budget",),
    ("contexts",), ("expected",), ("report",), ("report", "margin"), ("title",), ("official",), ("extends",),
    ("more",),
)  # fmt: skip


@pytest.mark.parametrize("keys", PATHS, ids=".".join)
def test_what_the_reader_accepts_the_schema_accepts(
    load: Load, tmp_path: Path, keys: tuple[str, ...]
) -> None:
    schema = Draft202012Validator(editor_schema(fake_catalogue()))
    for value in ODD:
        study = parsed(GOOD)
        inner = study
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
        text = json.dumps(study)
        try:
            load(text)
        except StudyFileError:
            continue
        errors = [error.message for error in schema.iter_errors(study)]
        assert not errors, f"{'.'.join(keys)} = {value!r} is read, and refused by the schema"

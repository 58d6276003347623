"""Study files in general: their schema, any value at any key, and the studies of this repository."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import fusion_modules
from fusion_bench.contract import FusionModule
from fusion_bench.errors import StudyFileError
from fusion_bench.registry import Registry
from fusion_bench.spec.catalogue import installed_catalogue
from fusion_bench.spec.document import sections
from fusion_bench.spec.document.problems import Problems
from fusion_bench.spec.document.tree import Location, Node
from fusion_bench.spec.document.yaml import read_text
from fusion_bench.spec.load import read_study
from fusion_bench.training.config import BackboneConfig, FusionConfig, HeadConfig, TrainConfig
from study_fakes import GOOD, Load


def test_the_sections_hold_exactly_the_fields_of_a_cells_settings() -> None:
    for section, config, besides in [
        (sections.TrainSection, TrainConfig, set()),
        (sections.HeadSection, HeadConfig, set()),
        (sections.FusionSection, FusionConfig, set()),
    ]:
        assert set(section.model_fields) == {field.name for field in fields(config)} | besides
    backbone = {field.name for field in fields(BackboneConfig)} - {"weights_sha256"}
    assert set(sections.BackboneSection.model_fields) == backbone


WHOLE = f"""{GOOD}
head: {{pool: max}}
budget: {{match: none}}
search: {{trials: 2, seeds: [9], space: {{kernel_size: [3, 5], scale: {{low: 0, high: 1}}}}}}
"""
VARIED = """\
version: 1
name: varied
data: {name: mini, image_size: [64, 96]}
backbone: {name: test_resnet}
vary:
  base: {module: film}
  one_at_a_time: {kernel_size: [5]}
  grid: {fusion.depth: [1, 2], head.pool: [max]}
controls: [image_only]
seeds: 1
"""
ODD: tuple[Any, ...] = (None, -1, "a/b", [[None]], {"a": [1]})


def every_path(node: Node) -> Iterator[str]:
    for child in node.children.values():
        yield child.path
        yield from every_path(child)


@pytest.mark.parametrize("text", [WHOLE, VARIED], ids=["arms", "vary"])
def test_any_value_at_any_key_is_accepted_or_refused_with_a_message(load: Load, text: str) -> None:
    load(text)
    tree = read_text(text, Location(Path("s.yaml")), Problems())
    assert tree is not None
    for path in every_path(tree):
        for value in ODD:
            try:
                load(text, f"{path}={json.dumps(value)}")
            except StudyFileError as error:
                assert str(error), "a refusal says why"


STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_of_this_repository_are_without_mistakes(path: Path) -> None:
    shipped: Registry[FusionModule] = Registry("module", builtin=fusion_modules.CATALOGUE)
    study = read_study(path, catalogue=replace(installed_catalogue(), modules=shipped))
    assert study.name == path.stem
    assert len([arm for arm in study.arms if arm.role != "control"]) >= 2
    assert len(study.seeds) >= 2


def test_reading_the_specification_does_not_import_torch() -> None:
    code = "import fusion_bench.spec.load, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

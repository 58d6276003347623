"""Which changes of source make a cell stale."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fusion_bench.cells import source_digest as digests
from fusion_bench.cells.provenance import (
    changed_sources,
    current_provenance,
    current_sources,
    module_digest,
    numerics_digest,
)
from fusion_bench.cells.source_digest import source_digest
from fusion_bench.registry import Target
from fusion_bench.training.config import CellConfig, Component
from toys import here, toy_config

NET = "from family.parts import HALF\n\nclass Net:\n    half = HALF\n"


def _forget_sources() -> None:
    for cached in (digests.reachable_digest, digests._split, digests._named_imports, digests._content):
        cached.cache_clear()


def _start_next_process() -> None:
    _forget_sources()
    digests.read_source.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "family"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a module and the part that it imports."""
    package = tmp_path / "family"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text(NET)
    (package / "parts.py").write_text("HALF = 0.5\n")
    (package / "other.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    _start_next_process()
    return package


def test_comments_docstrings_and_layout_do_not_count() -> None:
    plain = "def f(x):\n    return x + 1\n"
    dressed = '"""A file."""\n# why\ndef f(x):\n    """Add."""\n\n    return (x +\n            1)\n'
    assert source_digest([plain]) == source_digest([dressed])
    assert source_digest([plain]) != source_digest([plain.replace("1", "2")])


def test_a_module_answers_for_what_it_imports_from_its_own_package(family: Path) -> None:
    target = Target("family.net:Net")
    before = module_digest(target)
    (family / "other.py").write_text("X = 2\n")
    _start_next_process()
    assert module_digest(target) == before
    (family / "parts.py").write_text("HALF = 0.25\n")
    assert module_digest(target) == before  # this process has imported what was there
    _start_next_process()
    assert module_digest(target) != before


def test_a_module_file_answers_for_code_beside_it_that_may_change(family: Path) -> None:
    target = Target("file:Net", source=NET + "import json\nimport torch\nfrom torch import nn\n")
    before = module_digest(target)
    (family / "parts.py").write_text("HALF = 0.25\n")
    _start_next_process()
    assert module_digest(target) != before
    alone = Target("file:Net", source="import json\nimport torch.nn\nX = 1\n")
    assert module_digest(alone) == source_digest([str(alone.source)]), "versions stand for what is released"


def _config(reference: str) -> CellConfig:
    return replace(toy_config(), arm=Component(Target(reference, name="net")))


def test_moving_a_module_changes_neither_id_nor_staleness(family: Path) -> None:
    before = _config("family.net:Net")
    digest = module_digest(before.arm.target)
    inner = family / "nets" / "deep"
    inner.mkdir(parents=True)
    (family / "nets" / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("from family.nets.deep.network import Net\n\n__all__ = ['Net']\n")
    (family / "net.py").rename(inner / "network.py")
    (family / "parts.py").rename(inner / "constants.py")
    (inner / "network.py").write_text(NET.replace("family.parts", "family.nets.deep.constants"))
    for reference in ("family.nets.deep.network:Net", "family.nets.deep:Net"):
        _start_next_process()
        after = _config(reference)
        assert after.id == before.id
        assert module_digest(after.arm.target) == digest
    (inner / "network.py").write_text(NET.replace("family.parts", ".constants"))
    _start_next_process()
    assert module_digest(Target("family.nets.deep.network:Net")) == digest
    (inner / "constants.py").write_text("HALF = 0.25\n")
    _start_next_process()
    assert module_digest(Target("family.nets.deep.network:Net")) != digest


@pytest.mark.parametrize(
    "changed",
    [
        NET.replace("import HALF", "import THIRD as HALF"),
        NET.replace("family.parts", "family.others"),
    ],
    ids=["another_name", "another_module"],
)
def test_importing_something_else_under_the_same_name_makes_cells_stale(family: Path, changed: str) -> None:
    (family / "parts.py").write_text("HALF = 0.5\nTHIRD = 0.3\n")
    (family / "others.py").write_text("HALF = 0.6\n")
    (family / "net.py").write_text(NET + "from family.others import HALF as OTHER\n")
    _start_next_process()
    before = module_digest(Target("family.net:Net"))
    (family / "net.py").write_text(changed + "from family.others import HALF as OTHER\n")
    _start_next_process()
    assert module_digest(Target("family.net:Net")) != before


def test_the_numerics_follow_the_package_of_a_third_party_data_set(family: Path) -> None:
    config = toy_config()
    data = replace(config.data, adapter=Component(Target("family.adapter:Adapter")))
    (family / "adapter.py").write_text(
        "from toys import Squares\nfrom family.parts import HALF\n\nclass Adapter(Squares):\n    half = HALF\n"
    )
    before = numerics_digest(replace(config, data=data))
    (family / "parts.py").write_text("HALF = 0.25\n")
    _start_next_process()
    assert numerics_digest(replace(config, data=data)) != before


def test_where_the_tasks_are_registered_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    source = digests.read_source
    before = numerics_digest(toy_config())
    monkeypatch.setattr(
        digests,
        "read_source",
        lambda name: source(name) + "\nX = 1\n" if name.endswith(".registry") else source(name),
    )
    _forget_sources()
    assert numerics_digest(toy_config()) == before


def test_a_file_given_by_path_answers_for_its_own_text() -> None:
    assert module_digest(Target("file:A", "class A: x = 1")) != module_digest(
        Target("file:A", "class A: x = 2")
    )


def test_what_a_cell_never_imports_is_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    source = digests.read_source
    monkeypatch.setattr(digests, "read_source", lambda name: read.append(name) or source(name))
    _forget_sources()
    numerics_digest(toy_config())
    assert "fusion_bench.training.loop" in read
    assert "fusion_bench.training.seeds" in read
    for part in ("evaluation", "losses", "position", "result", "step_done"):
        assert f"fusion_bench.training.fit.{part}" in read
    assert "toys" in read
    assert not any(name.startswith("fusion_bench.data.nlvr") for name in read)


def test_what_changed_is_named() -> None:
    config = toy_config()
    today = current_sources(config)
    recorded = current_provenance(config, "cpu", manifest="", weights="", start="")
    assert recorded.sources == today
    assert changed_sources(recorded, today) == ()
    assert changed_sources(replace(recorded, module="x"), today) == ("module",)
    assert recorded.circumstances != replace(recorded, torch="2").circumstances
    assert module_digest(here("Product")) == today.module

"""Which changes of source make a cell stale."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_bench.registry import Target
from fusion_bench.study import provenance
from fusion_bench.study.provenance import (
    differences,
    expected_provenance,
    fingerprint,
    module_digest,
    source_digest,
)
from toys import here, toy_config


def test_comments_docstrings_and_layout_do_not_count() -> None:
    plain = "def f(x):\n    return x + 1\n"
    dressed = '"""A file."""\n# why\ndef f(x):\n    """Add."""\n\n    return (x +\n            1)\n'
    assert source_digest([plain]) == source_digest([dressed])
    assert source_digest([plain]) != source_digest([plain.replace("1", "2")])


def test_a_module_answers_for_what_it_imports_from_its_own_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "family"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("from family.parts import HALF\n\nclass Net:\n    half = HALF\n")
    (package / "parts.py").write_text("HALF = 0.5\n")
    (package / "other.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    target = Target("family.net:Net")
    before = module_digest(target)
    (package / "other.py").write_text("X = 2\n")
    provenance._source.cache_clear()  # as in the next process
    assert module_digest(target) == before
    (package / "parts.py").write_text("HALF = 0.25\n")
    assert module_digest(target) == before  # this process has imported what was there
    provenance._source.cache_clear()
    assert module_digest(target) != before


def test_a_file_given_by_path_answers_for_its_own_text() -> None:
    assert module_digest(Target("file:A", "class A: x = 1")) != module_digest(
        Target("file:A", "class A: x = 2")
    )


def test_what_a_cell_never_imports_is_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    source = provenance._source
    monkeypatch.setattr(provenance, "_source", lambda name: read.append(name) or source(name))
    provenance.numerics_digest(toy_config())
    assert "fusion_bench.training.loop" in read
    assert "fusion_bench.training.seeds" in read
    assert "toys" in read
    assert not any(name.startswith("fusion_bench.data.nlvr") for name in read)


def test_differences_name_what_changed() -> None:
    today = expected_provenance(toy_config())
    recorded = {**today, "torch": "1"}
    assert differences(recorded, today) == ()
    assert differences({**recorded, "module": "x"}, today) == ("module",)
    assert fingerprint(recorded) != fingerprint({**recorded, "torch": "2"})
    assert module_digest(here("Product")) == today["module"]

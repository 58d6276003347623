"""``docs/reference/modules.md`` says what the registered modules are today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import document
import fusion_modules
from document_modules import modules_page
from fusion_bench.contract import FusionModule, VisionLanguageNetwork
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import Registry

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "modules.md"
SHIPPED: Registry[FusionModule] = Registry("module", builtin=fusion_modules.CATALOGUE)
NETWORKS: Registry[VisionLanguageNetwork] = Registry("network", builtin=fusion_modules.NETWORK_CATALOGUE)


@pytest.fixture(scope="module")
def page() -> str:
    return modules_page(SHIPPED, NETWORKS)


def test_the_published_page_is_up_to_date(page: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == page, (
        "docs/reference/modules.md is stale: run python tools/document.py"
    )


def test_every_module_has_its_facts(page: str) -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))
    assert set(sections) >= set(fusion_modules.CATALOGUE)
    for name in fusion_modules.CATALOGUE:
        cls = SHIPPED.load(name)
        text = sections[name]
        assert cls.citation.url and f"]({cls.citation.url})" in text
        assert f"- Position code: {cls.position_code}\n" in text or name == "laconv"
        assert cls.width is None or f"`{cls.width.argument}`" in text
        if cls.reads == {"image", "language"} and name != "late_concat":
            assert "```text\n" in text, f"{name} shows no formula"


def test_facts_of_one_module(page: str) -> None:
    section = page.partition("## film\n")[2].partition("\n## ")[0]
    assert "FiLM(F_c) = (1 + gamma_c) F_c + beta_c,    (gamma, beta) = Linear(q)" in section
    assert "out = r + ReLU(FiLM(BN(conv3x3(r))))" in section
    assert "- Defaults: `hidden: null`, `coordinates: true`\n" in section
    assert f"- Parameters: {66 * 64 + 64 + 9 * 64 * 64 + 64 + 128 * 128 + 128:,}\n" in section
    assert f"- Multiply-adds: {96 * (66 * 64 + 9 * 64 * 64) + 128 * 128:,}\n" in section


def test_a_module_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not today")

    monkeypatch.setattr(SHIPPED.load("film"), "__init__", refuse)
    with pytest.raises(FusionBenchError, match="the module 'film' cannot be made at its defaults: not today"):
        modules_page(SHIPPED, NETWORKS)


def test_the_pages_are_written_where_they_should_be(
    tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "PAGES", {"reference/modules.md": lambda: page})
    document.main([str(tmp_path)])
    assert (tmp_path / "reference" / "modules.md").read_text(encoding="utf-8") == page

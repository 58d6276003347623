"""The version stands in ``pyproject.toml``; everything else that names it agrees."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECK = ROOT / ".ci" / "check_release.py"
HEADINGS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Cell identity"}


@pytest.fixture(scope="module")
def contradictions() -> Callable[..., list[str]]:
    found: Callable[..., list[str]] = runpy.run_path(str(CHECK))["contradictions"]
    return found


def test_citation_and_changelog_name_the_version_of_pyproject(
    contradictions: Callable[..., list[str]],
) -> None:
    assert contradictions(ROOT) == []


def test_the_installed_package_is_of_that_version() -> None:
    assert f'\nversion = "{version("laconv-fusion-bench")}"\n' in (ROOT / "pyproject.toml").read_text()


def test_no_source_file_repeats_the_version() -> None:
    sources = [file for room in ("fusion_bench", "modules") for file in (ROOT / room).rglob("*.py")]
    assert sources
    own = version("laconv-fusion-bench")
    assert [file for file in sources if re.search(rf"""["']{re.escape(own)}["']""", file.read_text())] == []


def test_the_changelog_uses_the_sections_that_it_promises() -> None:
    found = re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert {"Added", "Changed", "Fixed", "Cell identity"} <= set(found) <= HEADINGS


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A checkout that is ready to be tagged v1.2.0."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("version: 1.2.0\ndate-released: 2026-01-31\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## 1.2.0 - 2026-01-31\n\n### Added\n\n- A thing.\n\n## 1.1.0 - 2025-12-01\n\n- Old.\n"
    )
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "check_release.py").write_text(CHECK.read_text())
    return tmp_path


def _checked(release: Path, tag: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(release / ".ci" / "check_release.py"), tag]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_release_prints_its_own_part_of_the_changelog(release: Path) -> None:
    done = _checked(release, "v1.2.0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "### Added\n\n- A thing.\n", "")


def test_a_release_with_another_tag_is_refused(release: Path) -> None:
    done = _checked(release, "v1.2.1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the tag is v1.2.1, but pyproject.toml has version 1.2.0: tag v1.2.0\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("CITATION.cff", "1.2.0", "1.1.0", "CITATION.cff has version 1.1.0, but pyproject.toml has 1.2.0"),
        (
            "CITATION.cff",
            "2026-01-31",
            "2026-02-01",
            "date-released 2026-02-01, but CHANGELOG.md dates 1.2.0",
        ),
        ("CHANGELOG.md", "1.2.0 - 2026-01-31", "1.2.0 - unreleased", "gives version 1.2.0 no date"),
        ("CHANGELOG.md", "## 1.2.0", "## 1.3.0", "does not begin with a section '## 1.2.0 - YYYY-MM-DD'"),
        ("CHANGELOG.md", "### Added\n\n- A thing.\n", "", "says nothing about version 1.2.0"),
    ],
)
def test_each_contradiction_is_named(
    release: Path, contradictions: Callable[..., list[str]], file: str, old: str, new: str, said: str
) -> None:
    assert contradictions(release, "v1.2.0") == []
    text = (release / file).read_text()
    assert old in text
    (release / file).write_text(text.replace(old, new))
    assert any(said in sentence for sentence in contradictions(release, "v1.2.0"))

"""Checks that a release is named the same everywhere; prints its part of the changelog.

``python .ci/check_release.py v0.1.0`` ends with status 1 and one line for each contradiction between the tag, the
version in ``pyproject.toml``, ``CITATION.cff`` and ``CHANGELOG.md``. Only the standard library is needed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNRELEASED = "unreleased"


def changelog_sections(text: str) -> dict[str, tuple[str, str]]:
    """Return each version's date (``YYYY-MM-DD`` or "unreleased") and text, the newest version first."""
    parts = re.split(r"^## (\S+) - (\S+)$", text, flags=re.MULTILINE)
    return dict(
        zip(parts[1::3], zip(parts[2::3], (part.strip() for part in parts[3::3]), strict=True), strict=True)
    )


def contradictions(root: Path, tag: str | None = None) -> list[str]:
    """Return one sentence for each place that disagrees with the version in ``pyproject.toml``.

    Args:
        root: the folder of the checkout.
        tag: the tag that is released (``v0.1.0``); None while nothing is released, when no date is needed.
    """
    version = str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    cited, released = (_field(citation, name) for name in ("version", "date-released"))
    sections = changelog_sections((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    date, text = sections.get(version, (UNRELEASED, ""))
    found = []
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, but pyproject.toml has version {version}: tag v{version}")
    if cited != version:
        found.append(f"CITATION.cff has version {cited}, but pyproject.toml has {version}")
    if next(iter(sections), None) != version:
        found.append(f"CHANGELOG.md does not begin with a section '## {version} - YYYY-MM-DD'")
    elif not text:
        found.append(f"CHANGELOG.md says nothing about version {version}")
    if tag is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        found.append(f"CHANGELOG.md gives version {version} no date: write '## {version} - YYYY-MM-DD'")
    if released != (None if date == UNRELEASED else date):
        found.append(f"CITATION.cff has date-released {released}, but CHANGELOG.md dates {version} as {date}")
    return found


def _field(citation: str, name: str) -> str | None:
    line = re.search(rf"^{name}: *(\S+)$", citation, flags=re.MULTILINE)
    return line[1].strip("\"'") if line else None


def main() -> int:
    """Check the tag given as the only argument; return the exit status."""
    tag = sys.argv[1]
    found = contradictions(ROOT, tag)
    for sentence in found:
        sys.stderr.write(f"{sentence}\n")
    if not found:
        sections = changelog_sections((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
        sys.stdout.write(sections[tag.removeprefix("v")][1] + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

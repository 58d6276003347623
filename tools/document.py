"""Write every generated page of ``docs/`` and the schema in ``studies/``: ``python tools/document.py``.

Give another folder than ``docs/`` as the argument to write the pages there, and no schema.

Each page is made from what the program itself declares, so that the reference cannot disagree with it. The pages are
committed, and ``tests/tools/test_document.py`` fails when one of them is out of date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from document_commands import commands_page
from document_data_sets import data_sets_page
from document_modules import modules_page
from document_python_api import python_api_page
from document_reports import reports_page
from document_rooms import rooms_drawing
from document_schema import schema_file
from document_study_file import study_file_page
from fusion_bench.storage import write_text

ROOT = Path(__file__).parents[1]

PAGES: Mapping[str, Callable[[], str]] = {
    "explanation/rooms.svg": lambda: rooms_drawing(ROOT),
    "reference/commands.md": commands_page,
    "reference/data_sets.md": lambda: data_sets_page(ROOT / "studies"),
    "reference/modules.md": modules_page,
    "reference/python_api.md": python_api_page,
    "reference/reports.md": lambda: reports_page(ROOT / "reports"),
    "reference/study_file.md": study_file_page,
}
"""The generated files, by path below ``docs/``."""
SCHEMA = ROOT / "studies" / "schema.json"


def main(arguments: Sequence[str]) -> None:
    """Write every page below the folder given, or every page below ``docs/`` and the schema."""
    parser = argparse.ArgumentParser(prog="python tools/document.py", description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", help="another folder than docs/; no schema is written then"
    )
    folder = parser.parse_args(arguments).folder
    for name, page in PAGES.items():
        write_text((folder or ROOT / "docs") / name, page())
    if folder is None:
        write_text(SCHEMA, schema_file())


if __name__ == "__main__":
    main(sys.argv[1:])

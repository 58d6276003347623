"""What a part of ``tools/gpu_check.sh`` leaves: a table that is written row by row, and the goals."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusion_bench.bench.targets import Line


class PartOutcome:
    """The table of one part, as ``<name>.md`` and ``<name>.json`` in a folder.

    The files are written anew with every row, so that a part that is cut off keeps what it has measured.

    Args:
        folder: the folder, which exists.
        name: the name of the part.
        machine: what it is measured on.
        headings: the headings of the table.
    """

    def __init__(self, folder: Path, name: str, machine: str, headings: Sequence[str]) -> None:
        self._folder, self._name, self._machine, self._headings = folder, name, machine, tuple(headings)
        self._rows: list[Sequence[str]] = []
        self._values: list[Any] = []
        self._lines: list[Line] = []

    def add(self, row: Sequence[str], value: Any) -> None:
        """Add a row of text and the same values as a dataclass."""
        self._rows.append(row)
        self._values.append(asdict(value))
        self._write()

    def judge(self, lines: Sequence[Line]) -> None:
        """Add goals."""
        self._lines += lines
        self._write()

    def end(self) -> int:
        """Print everything and return the exit code: 1 if a goal is missed, else 0."""
        sys.stdout.write(self._text())
        return 0 if all(line.reached for line in self._lines) else 1

    def _text(self) -> str:
        table = [self._headings, ["---"] * len(self._headings), *self._rows]
        rows = "\n".join(f"| {' | '.join(row)} |" for row in table)
        goals = "".join(f"- {line.sentence}\n" for line in self._lines)
        return f"{self._machine}\n\n{rows}\n" + (f"\n{goals}" if goals else "")

    def _write(self) -> None:
        values = {
            "machine": self._machine,
            "rows": self._values,
            "goals": [{**asdict(line), "reached": line.reached} for line in self._lines],
        }
        self._replace("json", json.dumps(values, indent=2) + "\n")
        self._replace("md", self._text())

    def _replace(self, ending: str, text: str) -> None:
        part = self._folder / f".{self._name}.{ending}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(self._folder / f"{self._name}.{ending}")

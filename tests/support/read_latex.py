"""LaTeX files as a reader sees them: parsed strictly, and compiled where a TeX is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

CELL = re.compile(r"(?<!\\)&")


def table_cells(text: str) -> list[list[str]]:
    """The cells of every row of the first tabular, with their markup."""
    body = text.split(r"\begin{tabular}", 1)[1].split(r"\end{tabular}", 1)[0]
    body = body.split("\n", 1)[1]
    rows = [line for line in body.split("\n") if line.rstrip().endswith(r"\\")]
    return [[cell.strip() for cell in CELL.split(row.rstrip()[:-2])] for row in rows]


def shown_text(latex: str) -> str:
    """The text that LaTeX shows; needs pylatexenc."""
    from pylatexenc.latex2text import LatexNodes2Text

    return str(LatexNodes2Text(math_mode="text", strict_latex_spaces=True).latex_to_text(latex))


def check_syntax(latex: str) -> None:
    """Raise for a brace, an environment or a formula that is not closed; needs pylatexenc."""
    from pylatexenc.latexwalker import LatexWalker

    LatexWalker(latex, tolerant_parsing=False).get_latex_nodes()


def has_tex() -> bool:
    return shutil.which("pdflatex") is not None and shutil.which("bibtex") is not None


def compile_tex(folder: Path, name: str) -> str:
    """Compile a document with its bibliography; return the log, or raise with its end."""
    said = ""
    for command in (("pdflatex", name), ("bibtex", name), ("pdflatex", name), ("pdflatex", name)):
        options = ("-interaction=nonstopmode", "-halt-on-error") if command[0] == "pdflatex" else ()
        done = subprocess.run(
            [command[0], *options, command[1]], cwd=folder, capture_output=True, timeout=120, check=False
        )
        said = done.stdout.decode("utf-8", errors="replace")
        assert done.returncode == 0, said[-3000:]
    return said

"""The pack for a paper: a folder with a LaTeX table, the same rows as CSV, figures as PDF and SVG, and BibTeX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.figures.figure_data import FigureData
from fusion_bench.reporting.figures.figures import draw_vector, draw_vectors
from fusion_bench.reporting.paper.bibliography import bibliography, references_of_data
from fusion_bench.reporting.paper.caption import forest_caption, tie_sentences
from fusion_bench.reporting.paper.critical_difference import diagram_size, draw_diagram, mean_ranks
from fusion_bench.reporting.paper.latex_text import latex
from fusion_bench.reporting.paper.rows import paper_rows
from fusion_bench.reporting.paper.table import csv_table, latex_table
from fusion_bench.reporting.published.published_study import inside
from fusion_bench.reporting.tables.formatting import plural
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.storage import write_text

PAPER = "paper"
"""The name of the folder inside that of a report."""
DIAGRAM, FOREST = "critical_difference", "differences"


def write_paper(results: StudyResults, tables: Tables, folder: Path) -> Path:
    """Write the pack into ``folder``; files of an earlier one are replaced.

    Args:
        results: the study.
        tables: its numbers.
        folder: where to write it; it is made if it does not exist.

    Returns:
        The path of ``paper.tex``, which shows all of it and compiles as it stands.

    Raises:
        FusionBenchError: no arm has a result, or the folder of figures is a link to a place outside.
    """
    rows = paper_rows(results, tables)
    if not rows:
        raise FusionBenchError(f"the study {results.name!r} has no mean to show in a table for a paper")
    drawn_in = inside(folder, "figures")
    figures = draw_vectors(results, tables, drawn_in)
    data = FigureData.of(results, tables)
    draw_vector(data, diagram_size, draw_diagram, drawn_in / DIAGRAM)
    write_text(folder / "table.tex", latex_table(results, tables, rows))
    write_text(folder / "table.csv", csv_table(rows))
    write_text(folder / "references.bib", bibliography(results))
    captions = {name: latex(caption) + "." for name, caption in figures.items()}
    if FOREST in captions:
        captions[FOREST] = forest_caption(results, tables, rows)
    if diagram_caption := _diagram_caption(results, tables):
        captions[DIAGRAM] = diagram_caption
    write_text(folder / "paper.tex", _document(results, captions))
    return folder / "paper.tex"


def _diagram_caption(results: StudyResults, tables: Tables) -> str:
    ranks, seeds = mean_ranks(results, tables)
    if len(ranks) < 2:
        return ""
    bars = " ".join(tie_sentences(results, tables)).removeprefix("Ties: arms that share a letter cannot")
    return (
        f"Mean ranks on {latex(f'{results.primary_split} {results.primary}')} over "
        f"{plural(seeds, 'seed')} that all ranked arms have. Dots on one bar: arms that cannot{bars} "
        "The bars follow from paired differences on the same seeds and samples, not from a test on ranks."
    )


def _document(results: StudyResults, captions: Mapping[str, str]) -> str:
    """Return a document that shows the table and every figure, and cites the data."""
    data = ",".join(reference.key for reference in references_of_data(results))
    parts = [
        r"\documentclass{article}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{booktabs}",
        r"\usepackage{graphicx}",
        r"\begin{document}",
    ]
    if data:
        parts.append(rf"Data: {latex(dict(results.setup)['Data'])}~\cite{{{data}}}")
    parts.append(r"\input{table}")
    for name, caption in captions.items():
        parts += [
            r"\begin{figure}[p]",
            r"\centering",
            rf"\includegraphics[width=\linewidth,height=0.85\textheight,keepaspectratio]{{figures/{name}.pdf}}",
            rf"\caption{{{caption}}}",
            rf"\label{{fig:{name.replace('_', '-')}}}",
            r"\end{figure}",
        ]
    parts += [
        r"\clearpage",
        r"\bibliographystyle{plain}",
        r"\bibliography{references}",
        r"\end{document}",
    ]
    return "\n".join(parts) + "\n"

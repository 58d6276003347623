"""The report: one Markdown file with its figures, made from a folder of published files and nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fusion_bench.reporting.figures.figures import draw_figures
from fusion_bench.reporting.report import markdown
from fusion_bench.reporting.report.publish import load, save
from fusion_bench.reporting.report.ranking import agreement_table, ranking_table
from fusion_bench.reporting.report.sentences import verdict_sentences
from fusion_bench.reporting.tables.formatting import code, escape, listing, plural
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.contexts import report_folder
from fusion_bench.storage import write_text

REPORT = "report.md"
_FIGURES = "figures"


def write_report(results: StudyResults, folder: Path) -> Path:
    """Save ``results`` into ``folder`` and make the report there from what was saved.

    Returns:
        The path of ``report.md``.

    Raises:
        FusionBenchError: the answers of two cells cannot be paired (see `fusion_bench.statistics.scores`).
    """
    save(results, folder)
    return rebuild(folder)


def rebuild(folder: Path) -> Path:
    """Make ``report.md`` and every figure again from the published files in ``folder``.

    Returns:
        The path of ``report.md``.

    Raises:
        FusionBenchError: a published file is missing or damaged.
    """
    results = load(folder)
    for label in results.contexts:
        rebuild(folder / report_folder(label))
    tables = build_tables(results)
    drawn = draw_figures(results, tables, folder / _FIGURES)
    write_text(folder / REPORT, _render(results, tables, drawn))
    return folder / REPORT


def _render(results: StudyResults, tables: Tables, drawn: dict[str, str]) -> str:
    # Markdown, not HTML: what comes from outside is escaped where it is written (`numerals.escape`).
    environment = Environment(
        loader=PackageLoader("fusion_bench.reporting"),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("report.md.jinja")
    return template.render(
        **_words(results, tables),
        **_numbers(results, tables),
        drawn=drawn,
        figure=partial(_figure, drawn),
    )


def _numbers(results: StudyResults, tables: Tables) -> dict[str, Any]:
    return {
        "setup": markdown.setup_table(results),
        "arms": markdown.arms_table(results.arms),
        "searched": markdown.searched_table(results.arms),
        "means": markdown.means_tables(results, tables),
        "floors": markdown.floors_table(tables),
        "floors_legend": markdown.floors_legend(results),
        "others": markdown.other_means_table(results, tables),
        "comparisons": markdown.comparisons_table(tables),
        "controls": markdown.controls_table(tables),
        "differences": markdown.differences_table(tables),
        "ranking": ranking_table(results, tables),
        "agreement": agreement_table(tables),
        "learning": markdown.learning_table(tables),
        "slices": markdown.slices_tables(tables),
        "expected": markdown.expected_table(results, tables),
        "unfinished": markdown.unfinished_table(tables),
        "environment": markdown.environment_table(results),
        "cell_count": len(results.cells),
    }


def _words(results: StudyResults, tables: Tables) -> dict[str, Any]:
    aim = f"{results.primary_split} {results.primary}"
    seeds = results.cells["seed"].nunique()
    controls = sum(arm.role == "control" for arm in results.arms)
    counted = [plural(len(results.arms) - controls, "arm"), plural(controls, "control")]
    judged = (tables.means["split"] == results.primary_split) & (tables.means["metric"] == results.primary)
    sampled = tables.means.loc[judged]
    base = ""
    if len(sampled) and "samples" in sampled:
        row = sampled.iloc[0]
        base = f", {plural(int(row['samples']), 'sample')} of {plural(int(row['clusters']), results.cluster)}"
    batch = f" of one batch of {results.latency_batch}" if results.latency_batch else " of one batch"
    latency = f"Latency is the median time of one forward pass{batch}, with nothing else running."
    return {
        "title": escape(results.title),
        "subtitle": (
            f"Study {code(results.name)}: {listing(counted)}, {plural(seeds, 'seed')}; judged on **{aim}**{base}."
        ),
        "answers": verdict_sentences(results, tables),
        "cautions": [escape(caution) for caution in results.cautions],
        "reference": code(results.reference),
        "budget": results.budget,
        "aim": aim,
        "cluster": results.cluster,
        "command": results.command,
        "equivalence": _equivalence(results),
        "cost_note": latency,
        "means_note": (
            "Parameters and multiply-adds (of one sample): of the fusion modules and their adapters, plus what "
            f"stands around them: backbone if trained, text encoder, head. {latency}"
        ),
        "comparisons_note": (
            "The interval is not widened for the family, the p-value is corrected (Holm); the verdict follows the "
            "p-value. Detectable: the true difference, in points, that this study would have found four times in "
            "five at the strictest step of the correction."
        ),
        "contexts": [(escape(label), f"{report_folder(label)}/{REPORT}") for label in results.contexts],
        "learning_note": (
            "Converged: the selection metric, mean over seeds, rose by no more than 1 point in the last fifth of "
            "the samples seen. Epochs and best epoch are means over seeds."
        ),
    }


def _equivalence(results: StudyResults) -> str:
    if results.margin is None:
        return "The study states no margin, so no arm can be called equivalent."
    return (
        f"Equivalent means that the difference is surely smaller than the stated {100 * results.margin:g} points "
        "(two one-sided tests at 5 %, Holm over the same family). It comes before better and worse: a difference "
        "inside the margin counts as nothing."
    )


def _figure(drawn: dict[str, str], name: str) -> str:
    return f"![{drawn[name]}]({_FIGURES}/{name}.png)\n" if name in drawn else ""

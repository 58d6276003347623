"""The report: one Markdown file with figures and one HTML file, made only from the published files in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fusion_bench.reporting.figures.figures import Drawn, draw_figures
from fusion_bench.reporting.html.page import write_page
from fusion_bench.reporting.paper.pack import PAPER, write_paper
from fusion_bench.reporting.published.publish import load, save
from fusion_bench.reporting.published.published_study import inside
from fusion_bench.reporting.report import look_sentences, report_tables, setup_tables
from fusion_bench.reporting.report.ablation.effects import effects_note, effects_table
from fusion_bench.reporting.report.ablation.noise import noise_note, noise_table
from fusion_bench.reporting.report.answer import answer_sentences
from fusion_bench.reporting.report.answer_table import answer_note, answer_table
from fusion_bench.reporting.report.limits import answer_limits
from fusion_bench.reporting.report.ranking import agreement_table, ranking_table
from fusion_bench.reporting.report.sentences import verdict_sentences
from fusion_bench.reporting.tables.formatting import join_words, margin_text, plural, unsigned_points
from fusion_bench.reporting.tables.markdown_text import code, code_block, escape
from fusion_bench.reporting.tables.tables import Tables, build_tables
from fusion_bench.results.browsed import no_thumbnails
from fusion_bench.results.results import StudyResults
from fusion_bench.samples.counting import Notify, say_nothing
from fusion_bench.spec.contexts import report_folder
from fusion_bench.storage import write_text

REPORT = "report.md"
_FIGURES = "figures"


@dataclass(frozen=True, eq=False)
class WrittenReport:
    """The path of a ``report.md``, and the numbers in it."""

    path: Path
    tables: Tables


def write_report(results: StudyResults, folder: Path) -> Path:
    """Make the report of ``results`` in ``folder`` and return the path of ``report.md``; see `make_report`."""
    return make_report(results, folder).path


def make_report(
    results: StudyResults, folder: Path, notify: Notify = say_nothing, *, paper: bool = False
) -> WrittenReport:
    """Save ``results`` into ``folder`` and make the report from the saved files.

    Args:
        results: what the report says.
        folder: where to write it.
        notify: is told which part is being made.
        paper: also make the pack for a paper; one that is in the folder is made anew in any case.

    Raises:
        FusionBenchError: the scores of two cells cannot be paired (see `fusion_bench.statistics.scores`).
    """
    notify("saving the results", 0, 0)
    save(results, folder)
    return _made(folder, notify, paper=paper)


def to_publish(results: StudyResults) -> StudyResults:
    """Return what may stand in a published folder: without the pictures of data that were not made here."""
    contexts = {label: to_publish(context) for label, context in results.contexts.items()}
    if results.shares_pictures:
        return replace(results, contexts=contexts)
    browsed = results.browsed.assign(image=-1)
    return replace(results, contexts=contexts, browsed=browsed, thumbnails=no_thumbnails())


def rebuild(folder: Path, notify: Notify = say_nothing, *, paper: bool = False) -> Path:
    """Make ``report.md`` and all figures again from the published files in ``folder``.

    Args:
        folder: a published report.
        notify: is told which part is being made.
        paper: also make the pack for a paper; one that is in the folder is made anew in any case.

    Returns:
        The path of ``report.md``.

    Raises:
        FusionBenchError: a published file is missing or damaged.
    """
    return _made(folder, notify, paper=paper).path


def _made(folder: Path, notify: Notify, *, paper: bool = False) -> WrittenReport:
    results = load(folder)
    inside(folder, _FIGURES)  # figures are written there
    pack = inside(folder, PAPER)
    for label in results.contexts:
        _made(folder / report_folder(label), notify)
    notify(f"computing the statistics of {results.name}", 0, 0)
    tables = build_tables(results)
    notify(f"drawing the figures of {results.name}", 0, 0)
    figures = draw_figures(results, tables, folder / _FIGURES)
    content = {**_words(results, tables), **_numbers(results, tables)}
    write_text(folder / REPORT, _render(content, figures))
    notify(f"writing the page of {results.name}", 0, 0)
    write_page(results, tables, content, folder)
    if paper or pack.is_dir():  # numbers of an earlier report must not stay
        notify(f"writing the pack for a paper of {results.name}", 0, 0)
        write_paper(results, tables, pack)
    return WrittenReport(folder / REPORT, tables)


def _render(content: Mapping[str, Any], figures: Mapping[str, Drawn]) -> str:
    # The output is Markdown, not HTML: text from outside is escaped where it is written (`markdown_text.escape`).
    jinja = Environment(
        loader=PackageLoader("fusion_bench.reporting.report"),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = jinja.get_template("report.md.jinja")
    return template.render(
        **content,
        captions=figures,
        figure=partial(_figure, figures),
    )


def _numbers(results: StudyResults, tables: Tables) -> dict[str, Any]:
    return {
        "ranked": answer_table(results, tables),
        "setup": setup_tables.setup_table(results),
        "arms": setup_tables.arms_table(results.arms),
        "searched": setup_tables.searched_table(results.arms),
        "searched_note": setup_tables.searched_note(results.arms),
        "means": report_tables.means_tables(results, tables),
        "floors": report_tables.floors_table(tables),
        "floors_legend": report_tables.floors_legend(results),
        "others": report_tables.other_means_table(results, tables),
        "comparisons": report_tables.comparisons_table(tables),
        "controls": report_tables.controls_table(tables),
        "differences": report_tables.differences_table(tables),
        "looks": look_sentences.looks_markdown(tables),
        "look_comparisons": look_sentences.look_comparisons_markdown(tables),
        "ranking": ranking_table(results, tables),
        "agreement": agreement_table(tables),
        "effects": effects_table(tables),
        "noise": noise_table(results, tables),
        "learning": report_tables.learning_table(tables),
        "slices": report_tables.slices_tables(tables),
        "repeated": report_tables.repeated_slices(tables),
        "expected": report_tables.expected_table(results, tables),
        "unfinished": setup_tables.unfinished_table(tables),
        "environment": setup_tables.environment_table(results),
        "cell_count": len(results.cells),
    }


def _words(results: StudyResults, tables: Tables) -> dict[str, Any]:
    primary = escape(f"{results.primary_split} {results.primary}")
    cluster = escape(results.cluster)
    seeds = plural(results.cells["seed"].nunique(), "seed")
    if results.stages is not None:
        seeds = f"looks at {look_sentences.planned_text(results)}"
    controls = sum(arm.role == "control" for arm in results.arms)
    counted = [plural(len(results.arms) - controls, "arm"), plural(controls, "control")]
    means = results.on_primary(tables.means)
    size = ""
    if len(means) and "samples" in means:
        row = means.iloc[0]
        size = f", {plural(int(row['samples']), 'sample')} of {plural(int(row['clusters']), cluster)}"
    batch = f" of one batch of {results.latency_batch}" if results.latency_batch else " of one batch"
    latency = f"Latency is the median time of one forward pass{batch}, with nothing else running."
    return {
        "title": escape(results.title or results.name),
        "plain_title": results.title or results.name,
        "subtitle": (
            f"Study {code(results.name)}: {join_words(counted)}, {seeds}; primary metric **{primary}**{size}."
        ),
        "answer": answer_sentences(results, tables),
        "limits": answer_limits(results, tables),
        "answer_note": answer_note(results, tables),
        "conclusions": verdict_sentences(results, tables),
        "cautions": [escape(caution) for caution in results.cautions],
        "reference": code(results.reference),
        "budget": escape(results.budget),
        "primary": primary,
        "cluster": cluster,
        "command": code_block(results.command) if results.command else "",
        "equivalence": _equivalence(results),
        "looks_note": " ".join(look_sentences.looks_note(results)),
        "means_note": (
            "Parameters and multiply-adds (for one sample): those of the fusion modules and their adapters, plus "
            f"those of the rest of the model: backbone if trained, text encoder, head. {latency}"
        ),
        "seed_variances": _seed_variances(tables),
        "effects_note": effects_note(tables),
        "noise_note": noise_note(results, tables),
        "contexts": [(escape(label), f"{report_folder(label)}/{REPORT}") for label in results.contexts],
        "learning_note": (
            "Converged: the selection metric, mean over seeds, rose by no more than 1 point in the last fifth of "
            "the samples seen. Epochs and best epoch are means over seeds."
        ),
    }


def _equivalence(results: StudyResults) -> str:
    if results.margin is None:
        return "The study states no margin, so no arm can be called equivalent."
    level = "5 %" if results.stages is None else "the level of the look"
    return (
        "Equivalent means that the difference is shown to be smaller than the margin of "
        f"{margin_text(results.margin)} (two one-sided tests at {level}, Holm over the same arms). Differences and "
        "equivalences are two families: the chance of a false verdict is below 5 % in each, not in both together. "
        "This verdict has priority over better and worse: a difference inside the margin is treated as negligible."
    )


def _seed_variances(tables: Tables) -> str:
    """Return the sentence on the variances between seeds, with their prior where the arms share one."""
    degrees = tables.comparisons.attrs.get("prior_degrees", 0.0)
    start = "Seed effects are taken as additive and near normal."
    moderated = (
        f"{start} The variance between seeds of an arm is the larger of its own and of the mean of its own and a "
        "prior, weighted by degrees of freedom. The prior is"
    )
    geometric = "the geometric mean of the variances of"
    own = (
        "its prior is 4/3 of the geometric mean of that variance and of the mean variance, and it counts on its own "
        "degrees of freedom."
    )
    if not tables.looks.empty:
        return (
            f"{moderated} {geometric} the reference and the arms that were open at the look; it stands in the table "
            "of looks. With a single open arm there is none, and a p-value far below 5 % is too small with few seeds."
            f" The reference is part of every comparison; {own}"
        )
    if not degrees:
        tested = int(tables.comparisons["p_holm"].notna().sum())
        tail = (
            "is right at 5 %, and with few seeds too small where it is far below 5 %"
            if tested == 1
            else "that is far below 5 % is too small with few seeds, so that corrected verdicts err in more than 5 %"
        )
        return f"{start} The variance between seeds is that of each comparison alone: a p-value {tail}."
    spread = unsigned_points(tables.comparisons.attrs["prior_variance"] ** 0.5)
    arms = f"{geometric} all arms"
    if (tables.comparisons["reference_seeds"] > tables.comparisons["seeds"]).any():
        arms = "between the geometric mean and the mean of the variances of the arms without further seeds"
        own = "with further seeds, which are compared unpaired, it has its own variance alone."
    return (
        f"{moderated} {arms}: a standard deviation of {spread} points, on {degrees:.1f} degrees of freedom. "
        f"The reference arm is part of every comparison; {own}"
    )


def _figure(figures: Mapping[str, Drawn], name: str) -> str:
    if name not in figures:
        return ""
    drawn = figures[name]
    note = f"\n*{escape(drawn.note)}*\n" if drawn.note else ""
    return f"![{drawn.caption}]({_FIGURES}/{name}.png)\n{note}"

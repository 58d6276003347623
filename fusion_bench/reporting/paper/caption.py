"""The captions for a paper: the metric, the test, seeds, images, the correction, and what each mark means."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_bench.reporting.paper.latex_text import latex, latex_number
from fusion_bench.reporting.paper.rows import PaperRow
from fusion_bench.reporting.tables.formatting import DASH, join_words, level_percent, margin_text, plural
from fusion_bench.reporting.tables.tables import Tables
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.comparison import FEWEST_SEEDS


def table_caption(results: StudyResults, tables: Tables, rows: Sequence[PaperRow]) -> str:
    """Return the caption of the table, as LaTeX."""
    sentences = [
        f"{latex(results.title or results.name).rstrip('.')}.",
        f"Numbers: {_metric(results)} in per cent, with 95\\,\\% intervals over new seeds and new "
        f"{latex(results.cluster)}s; means over {_seeds(rows)}, evaluated on {_samples(results, tables)}.",
        *_difference_sentences(results, tables, rows),
        *tie_sentences(results, tables),
        *_mark_sentences(results, rows),
    ]
    return " ".join(sentences)


def forest_caption(results: StudyResults, tables: Tables, rows: Sequence[PaperRow]) -> str:
    """Return the caption of the figure of differences, as LaTeX."""
    band = ""
    if results.margin is not None:
        band = f" Band: differences within the margin of {latex(margin_text(results.margin))}."
    return (
        f"Paired differences in {_metric(results)} from {latex(results.reference)}, in points; {_seeds(rows)}, "
        f"{_samples(results, tables)}.{band} {' '.join(_difference_sentences(results, tables, rows))}"
    )


def tie_sentences(results: StudyResults, tables: Tables) -> list[str]:
    """Return how arms that cannot be told apart are found; none without tie groups."""
    pairs = tables.ties.pairs()
    if not pairs:
        return []
    how = (
        "Holm's correction"
        if results.stages is None
        else "Bonferroni, over the looks that both arms had a part in"
    )
    return [
        "Ties: arms that share a letter cannot be told apart "
        f"(all {plural(pairs, 'pair')} of arms, at 5\\,\\% for all together, {how})."
    ]


def _difference_sentences(results: StudyResults, tables: Tables, rows: Sequence[PaperRow]) -> list[str]:
    if all(row.difference == DASH for row in rows):
        return []
    tested = int(tables.comparisons["p_holm"].notna().sum())
    cluster = latex(results.cluster)
    sentences = [
        f"$\\Delta$: paired difference from {latex(results.reference)}; its test is Student's $t$ for crossed seeds "
        f"and {cluster}s, two-sided, on the same seeds and {cluster}s of both arms."
    ]
    if results.stages is not None:
        levels = join_words([level_percent(look.alpha) for look in results.stages.planned])
        seeds = join_words([str(look.seeds) for look in results.stages.planned])
        sentences.append(
            f"Looks at {seeds} seeds spend {latex(levels)} of the error rate of 5\\,\\%; at each look $p$ is "
            "corrected by Holm's procedure~\\cite{holm1979} over the arms that were open, and the interval has the "
            "level of the look. An arm that stopped before the last look is estimated too far from the reference."
        )
    elif tested:
        sentences.append(
            f"$p$: corrected by Holm's procedure~\\cite{{holm1979}} over {plural(tested, 'comparison')}; intervals "
            "are not corrected."
        )
    return sentences


def _mark_sentences(results: StudyResults, rows: Sequence[PaperRow]) -> list[str]:
    verdicts = {row.verdict for row in rows}
    sentences = []
    if any(row.is_best for row in rows):
        sentences.append("Bold: the first of the ranked arms.")
    if verdicts & {"better", "worse"}:
        level = "5\\,\\%" if results.stages is None else "the level of its look"
        sentences.append(f"\\dag: decided at {level} after the correction.")
    if "equivalent" in verdicts and results.margin is not None:
        sentences.append(
            f"\\ddag: shown to differ by less than the margin of {latex(margin_text(results.margin))} (two one-sided "
            "tests, Holm over the same arms)."
        )
    if "no verdict" in verdicts:
        without = f"fewer than {FEWEST_SEEDS} seeds" if results.stages is None else "no part in a look"
        sentences.append(f"No $p$, no mark: {without}, or a single {latex(results.cluster)}.")
    if any(row.converged == "no" for row in rows):
        sentences.append("n: had not converged, so the number holds at this length of training.")
    if any(row.place == DASH for row in rows if row.role != "control"):
        sentences.append("Arms without a letter are not ranked.")
    if any(row.role == "control" for row in rows):
        sentences.append("Below the line: controls, which have intervals and no verdicts.")
    batch = f" of one batch of {results.latency_batch}" if results.latency_batch else " of one batch"
    sentences.append(
        "Params, MACs (multiply-adds of one sample): fusion modules and adapters"
        + (f"; ms: median forward pass{batch}." if any(row.latency != DASH for row in rows) else ".")
    )
    return sentences


def _metric(results: StudyResults) -> str:
    return latex(f"{results.primary_split} {results.primary}")


def _seeds(rows: Sequence[PaperRow]) -> str:
    """Return the number of seeds; the smallest and the largest one where arms have different ones."""
    numbers = sorted({int(row.seeds) for row in rows})
    if len(numbers) == 1:
        return plural(numbers[0], "seed")
    return f"{numbers[0]} to {numbers[-1]} seeds"


def _samples(results: StudyResults, tables: Tables) -> str:
    row = results.on_primary(tables.means).iloc[0]
    samples, clusters = int(row["samples"]), int(row["clusters"])
    return (
        f"{latex_number(f'{samples:,}'.replace(',', '{,}'))} samples of "
        f"{latex_number(f'{clusters:,}'.replace(',', '{,}'))} {latex(results.cluster)}s"
    )

"""Ranks over data sets in words and tables: what was ranked, what was left out, what is shown, what could be."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.across.comparison import AcrossReports
from fusion_bench.reporting.report.markdown import Column, markdown_table
from fusion_bench.reporting.tables.formatting import DASH, join_words, p_value, percent, plural
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import records
from fusion_bench.statistics.across.rank_power import MOST_BLOCKS
from fusion_bench.statistics.comparison import ALPHA

DIAGRAM = "critical_difference.png"
FEW_BLOCKS = 5
"""The number of data sets below which the page says that they decide next to nothing."""


def across_markdown(found: AcrossReports) -> str:
    """Return the page: sentences, the table of ranks, the diagram, and how it was made."""
    parts = [
        "# Ranks over data sets",
        " ".join(rank_sentences(found)),
        "\n".join(f"- {line}" for line in [*caution_lines(found), *power_lines(found)]),
        ranks_table(found),
        f"![Mean ranks, with bars that join the arms that Nemenyi's test does not tell apart]({DIAGRAM})",
        "## How the numbers are made",
        "Each report gives one rank to each arm, by its mean on the primary metric; equal means share the mean of "
        "their ranks. Controls and arms outside a budget are not ranked. A data set is one observation, however many "
        "seeds and images it has: the tests ask whether an arm tends to be better on data sets like these. The "
        "p-value of Friedman's test is that of random orders within the data sets. Nemenyi's test is corrected for "
        "all pairs; the tests against the reference by Holm (Demšar, Journal of Machine Learning Research 7, 2006; "
        "computed by scikit-posthocs). Both count only where Friedman's test rejects.",
        _blocks_table(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def rank_sentences(found: AcrossReports) -> list[str]:
    """Return the sentences on what is shown."""
    tests, complete = found.tests, found.complete
    order = np.argsort(tests.mean_ranks, kind="stable")
    best = complete.arms[int(order[0])]
    lines = [
        f"{plural(len(complete.arms), 'arm')} on {plural(len(complete.blocks), 'data set')}: {code(best)} has the "
        f"best mean rank, {tests.mean_ranks[order[0]]:.2f} of 1 to {len(complete.arms)}."
    ]
    chi = DASH if np.isnan(tests.chi_square) else f"{tests.chi_square:.2f}"
    numbers = (
        f"chi-square {chi} on {len(complete.arms) - 1} degrees of freedom, p {_p(tests.p)} by permutations "
        f"and {_p(tests.p_chi_square)} by the chi-square distribution"
    )
    if tests.p >= ALPHA:
        return [*lines, f"No order of the arms is shown: Friedman's test does not reject ({numbers})."]
    lines.append(f"Friedman's test rejects that all arms are alike ({numbers}).")
    if found.reference:
        tested = [arm for arm, p in zip(complete.arms, tests.holm, strict=True) if p < ALPHA]
        at = complete.arms.index(found.reference)
        ahead = [arm for arm in tested if tests.mean_ranks[complete.arms.index(arm)] < tests.mean_ranks[at]]
        behind = [arm for arm in tested if arm not in ahead]
        named = [
            f"{join_words([code(arm) for arm in arms])} {word}"
            for arms, word in ((ahead, "better"), (behind, "worse"))
            if arms
        ]
        shown = join_words(named) if named else "no arm is shown to differ"
        lines.append(f"Against the reference {code(found.reference)} (Holm): {shown}.")
    pairs = int((np.triu(tests.nemenyi, 1) + np.tril(np.ones_like(tests.nemenyi)) < ALPHA).sum())
    lines.append(
        f"Of the {len(complete.arms) * (len(complete.arms) - 1) // 2} pairs, Nemenyi's test tells {pairs} apart "
        f"(critical difference {tests.critical_difference:.2f} ranks)."
    )
    return lines


def power_lines(found: AcrossReports) -> list[str]:
    """Return what so many data sets can show at all."""
    tests, blocks = found.tests, len(found.complete.blocks)
    lines = []
    if tests.critical_difference > tests.largest_possible():
        lines.append(
            f"Nemenyi's test can show nothing here, whatever the scores: its critical difference "
            f"({tests.critical_difference:.2f}) is above the largest difference of two mean ranks "
            f"({tests.largest_possible():.0f})."
        )
    for power in found.power:
        spread = "one standard deviation" if power.lead == 1 else f"{power.lead:g} standard deviations"
        needed = (
            f"more than {MOST_BLOCKS} data sets are"
            if power.needed is None
            else f"{power.needed} data sets are"
        )
        lines.append(
            f"Power with {plural(blocks, 'data set')}: if one arm is better than all others by {spread} of an arm's "
            f"scatter over data sets, Friedman's test rejects in {percent(power.friedman)} % of such comparisons, "
            f"and Holm's tests tell that arm from {percent(power.holm)} % of the others; for 80 % by Friedman's "
            f"test, {needed} needed."
        )
    if blocks < FEW_BLOCKS:
        lines.append(
            f"{plural(blocks, 'data set').capitalize()} decide next to nothing about new data sets. Verdicts of the "
            "reports, each on its own data, stand."
        )
    return lines


def caution_lines(found: AcrossReports) -> list[str]:
    """Return what was left out, and what makes the blocks less than independent or less than equal."""
    lines = []
    complete = found.complete
    for arm, blocks in complete.lacking.items():
        lines.append(
            f"{code(arm)} is left out: no ranked result in {join_words([escape(name) for name in blocks])}."
        )
    if found.other_components:
        named = join_words([code(arm) for arm in found.other_components])
        are = "is" if len(found.other_components) == 1 else "are"
        lines.append(f"{named} {are} left out: another module or network in one of the reports.")
    lines += [
        f"The data set {escape(name)} is left out: without it, the others share more arms."
        for name in complete.left_out
    ]
    if found.other_settings:
        named = join_words([code(arm) for arm in found.other_settings])
        lines.append(f"Settings differ between the reports: {named}.")
    if not found.reference:
        lines.append(
            f"No arm is compared with a reference: {code(found.blocks[0].reference)}, that of the first report, is "
            "left out."
        )
    by_data: dict[str, list[str]] = {}
    for block in found.blocks:
        if block.data and block.label in complete.blocks:
            by_data.setdefault(block.data, []).append(block.label)
    for labels in by_data.values():
        if len(labels) > 1:
            lines.append(
                f"{join_words([escape(label) for label in labels])} have the same data, so they are no independent "
                "observations and p-values are too small."
            )
    return lines


def ranks_table(found: AcrossReports) -> str:
    """Return one row per arm, the best first: its mean rank, its test against the reference, and its ranks."""
    table = found.table()
    columns: dict[str, Column] = {
        "arm": lambda row: code(row["arm"]),
        "mean rank": lambda row: f"{row['mean_rank']:.2f}",
        "Holm p against the reference": lambda row: (
            "reference" if row["arm"] == found.reference else p_value(row["p_holm"])
        ),
    }
    for label in found.complete.blocks:
        columns[escape(label)] = lambda row, label=label: (  # type: ignore[misc]
            f"{row[f'rank/{label}']:g} ({percent(row[f'mean/{label}'])} %)"
        )
    if not found.reference:
        del columns["Holm p against the reference"]
    return markdown_table(records(table), columns)


def _blocks_table(found: AcrossReports) -> str:
    rows = [vars(block) for block in found.blocks if block.label in found.complete.blocks]
    columns: dict[str, Column] = {
        "data set": lambda row: escape(row["label"]),
        "metric": lambda row: escape(row["metric"]) + (", lower is better" if row["sign"] < 0 else ""),
        "reference": lambda row: code(row["reference"]),
        "data manifest": lambda row: code(row["data"]) if row["data"] else DASH,
    }
    return markdown_table(rows, columns, len(columns))


def _p(p: float) -> str:
    """Return ``= 0.024`` or ``< 0.001``."""
    written = p_value(p)
    return f"< {written[1:]}" if written.startswith("<") else f"= {written}"

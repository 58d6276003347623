"""The section of a report on the sources of noise: seeds, images, both together, and the search for settings."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.look_sentences import first_look_note
from fusion_bench.reporting.report.markdown import Column, markdown_table
from fusion_bench.reporting.tables.formatting import DASH, join_words, percent, plural, unsigned_points
from fusion_bench.reporting.tables.markdown_text import escape
from fusion_bench.reporting.tables.tables import Row, Tables
from fusion_bench.results.results import StudyResults

_ALIKE = 0.02
"""The largest difference of two shares of narrowing that counts as none."""


def noise_table(results: StudyResults, tables: Tables) -> str:
    """Return one row per source of noise of a difference; empty where fewer than two arms share two seeds."""
    noise = tables.noise
    if noise is None or np.isnan(noise.shares()[0]):
        return ""
    cluster = escape(results.cluster)
    sources = (
        (f"seed ({noise.seeds})", noise.seed),
        (f"{cluster} ({noise.clusters})", noise.cluster),
        (f"seed x {cluster}", noise.residual),
    )
    rows: list[Row] = [
        {"source": source, "sd": unsigned_points(spread), "share": f"{percent(share)} %"}
        for (source, spread), share in zip(sources, noise.shares(), strict=True)
    ]
    if any(arm.searched for arm in results.arms):
        rows.append({"source": "choice of settings by search", "sd": DASH, "share": "not known"})
    columns: dict[str, Column] = {
        "source (how many)": lambda row: row["source"],
        "standard deviation of one, points": lambda row: row["sd"],
        "share of the variance of a difference": lambda row: row["share"],
    }
    return markdown_table(rows, columns)


def noise_note(results: StudyResults, tables: Tables) -> str:
    """Return what to buy next, and what the table leaves open; empty without a table."""
    noise = tables.noise
    if noise is None or np.isnan(noise.shares()[0]):
        return ""
    cluster = escape(results.cluster)
    seeds, images = noise.narrowing(seeds=2), noise.narrowing(clusters=2)
    gains = f"twice the seeds narrow the interval by {percent(seeds)} %, twice the {cluster}s by {percent(images)} %"
    advice = (
        f"either helps about as much, and {cluster}s cost no training"
        if abs(seeds - images) < _ALIKE
        else "more seeds help most"
        if seeds > images
        else f"more {cluster}s help most, and they cost no training"
    )
    sentences = [
        f"For a difference between two of the {plural(noise.arms, 'arm')} that share {plural(noise.seeds, 'seed')} "
        f"(mean over the pairs), {gains}: {advice}."
    ]
    if noise.negative:
        names = join_words([{"seed": "seed", "cluster": cluster}[name] for name in noise.negative])
        sentences.append(f"The estimate for {names} was below zero and counts as zero.")
    sentences += first_look_note(tables)
    if any(arm.searched for arm in results.arms):
        sentences.append(
            "Each arm's settings come from one search, so what another search would choose adds noise that no "
            "interval here holds."
        )
    return " ".join(sentences)

"""The section of a report on the factors of a study: main effects, interactions, and what cannot be estimated."""

from __future__ import annotations

import numpy as np

from fusion_bench.reporting.report.look_sentences import first_look_note
from fusion_bench.reporting.report.markdown import Column, markdown_table
from fusion_bench.reporting.tables.formatting import DASH, join_words, p_value, plural, points, points_range
from fusion_bench.reporting.tables.markdown_text import code, escape
from fusion_bench.reporting.tables.tables import Row, Tables, records
from fusion_bench.statistics.comparison import ALPHA
from fusion_bench.statistics.factorial.effects import INTERACTION, MAIN

_FEWEST_ALONE = 2


def effects_table(tables: Tables) -> str:
    """Return one row per main effect and interaction; empty without a full factorial."""
    columns: dict[str, Column] = {
        "effect": _effect,
        "against": _base,
        "difference, points": lambda row: points(row["estimate"]),
        "95 % interval": lambda row: points_range(row["low"], row["high"]),
        "Holm p": lambda row: p_value(row["p_holm"]),
        "shown": lambda row: DASH if np.isnan(row["p_holm"]) else "yes" if row["p_holm"] < ALPHA else "no",
        "seeds": lambda row: str(row["seeds"]),
    }
    return markdown_table(records(tables.factors.effects), columns, 2)


def effects_note(tables: Tables) -> str:
    """Return what was crossed and what the numbers mean; without a factorial, what cannot be estimated.

    Empty for a study whose arms do not change settings one at a time either.
    """
    design, alone = tables.factors.design, tables.factors.alone
    named = [code(name) for name in alone]
    if design is None:
        if len(alone) < _FEWEST_ALONE:
            return ""
        return (
            f"The arms change {join_words(named)} one at a time, so interactions cannot be estimated: whether the "
            "effects of two changes add up is not known. Every combination of two settings (`grid` under `vary`) "
            "would show it."
        )
    counted = tables.factors.effects["kind"].value_counts()
    mains, interactions = (int(counted.get(kind, 0)) for kind in (MAIN, INTERACTION))
    factors = " x ".join(
        f"{code(name)} ({escape(', '.join(levels))})"
        for name, levels in zip(design.factors, design.levels, strict=True)
    )
    sentences = [
        f"{plural(len(design.arms), 'arm')} are every combination of {factors}. A main effect is the difference of a "
        "level from the first one, averaged over the levels of the other factors. An interaction is what that "
        "difference gains where another factor has another level. Intervals are those of the crossed model, not "
        f"corrected; p-values are corrected by Holm in two families, {plural(mains, 'main effect')} and "
        f"{plural(interactions, 'interaction')}, beside the family of the verdicts."
    ]
    sentences += first_look_note(tables)
    if alone:
        which = "its interactions" if len(alone) == 1 else "their interactions"
        sentences.append(f"{join_words(named)} changed alone: {which} cannot be estimated.")
    return " ".join(sentences)


def _effect(row: Row) -> str:
    own = f"{code(row['factor'])} = {escape(row['level'])}"
    return (
        own
        if not row["other_factor"]
        else f"{own} with {code(row['other_factor'])} = {escape(row['other_level'])}"
    )


def _base(row: Row) -> str:
    own = escape(row["base"])
    return own if not row["other_factor"] else f"{own} and {escape(row['other_base'])}"

"""The looks of a study as ``plan`` shows them: what each spends, what is open, and the cells that may follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusion_bench.reporting.tables.formatting import join_words, level_percent, plural
from fusion_bench.results.looks import StudyCells
from fusion_bench.statistics.sequential import Stages


def looks_lines(cells: StudyCells, most_time: str) -> list[str]:
    """Return one line on the looks, and one on what comes next; nothing for a study without looks.

    Args:
        cells: the cells of the study.
        most_time: the sentence about the time of all cells that it may ask for.
    """
    stages = cells.stages
    if stages is None:
        return []
    looks = join_words([str(look.seeds) for look in stages.planned])
    levels = join_words([level_percent(look.alpha) for look in stages.planned])
    lines = [f"looks at {looks} seeds, which spend {levels} of the error rate of 5 %", _state(cells, stages)]
    if stages.next(cells.question.family) is not None:
        lines.append(f"at most, if every open arm stays open: {most_time}")
    return lines


def _state(cells: StudyCells, stages: Stages) -> str:
    family = cells.question.family
    following, open_arms = stages.next(family), stages.open_arms(family)
    if following is None:
        ended = f"{plural(len(stages.taken), 'look')} taken; no look follows: "
        return ended + (f"{join_words([*open_arms])} still open" if open_arms else "nothing is open")
    missing = sum(item.state == "missing" for item in cells.statuses)
    named = f"{join_words([*open_arms])} open" if open_arms else "no arm open"
    waits = f"it waits for {plural(missing, 'cell')}" if missing else _why_not(cells, following.seeds)
    return f"{plural(len(stages.taken), 'look')} taken; the next is at {following.seeds} seeds, with {named}; {waits}"


def _why_not(cells: StudyCells, seeds: int) -> str:
    """Return why a look whose cells have all ended cannot be taken."""
    reference = cells.question.reference
    ended = [item for item in cells.statuses if item.cell.arm == reference and item.cell.seed < seeds]
    done = sum(item.state == "done" for item in ended)
    return (
        f"it cannot be taken: the reference {reference} has {plural(done, 'finished seed')}, and 3 are needed"
    )


def looks_json(cells: StudyCells, most: dict[str, Any]) -> dict[str, Any]:
    """Return the looks as JSON; empty for a study without looks.

    Args:
        cells: the cells of the study.
        most: the estimate for all cells that it may ask for.
    """
    stages = cells.stages
    if stages is None:
        return {}
    following = stages.next(cells.question.family)
    return {
        "looks": {
            "planned": [vars(look) for look in stages.planned],
            "taken": [_taken_json(look) for look in map(vars, stages.taken)],
            "next": None if following is None else following.seeds,
            "open": list(stages.open_arms(cells.question.family)),
            "most_cells": len(cells.possible),
            "estimate_of_most": most,
        }
    }


def _taken_json(look: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, Sequence) else value for name, value in look.items()}

"""Compares arms over several reports by their ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fusion_bench.reporting.across.reports import ReportBlock, read_blocks
from fusion_bench.statistics.across.blocks import CompleteBlocks, complete_blocks
from fusion_bench.statistics.across.rank_power import RankPower, rank_power
from fusion_bench.statistics.across.rank_tests import RankTests, rank_tests

_LEADS = (1.0, 2.0)


@dataclass(frozen=True, eq=False)
class AcrossReports:
    """The comparison of arms over several reports.

    Attributes:
        blocks: all reports, those that are left out too.
        complete: the scores that are ranked, with what is left out.
        reference: the arm with which others are compared; empty if it has left.
        tests: the tests.
        power: what they can show.
        other_components: the arms that are another module or network in some report, which have left.
        other_settings: the arms that have other settings in some report, and stay.
    """

    blocks: tuple[ReportBlock, ...]
    complete: CompleteBlocks
    reference: str
    tests: RankTests
    power: tuple[RankPower, ...]
    other_components: tuple[str, ...]
    other_settings: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """Return one row per arm, the best first.

        Columns: ``arm``, ``mean_rank``, ``p_holm`` (against the reference), and for each data set ``rank/LABEL`` and
        ``mean/LABEL``, the mean as its report has it.
        """
        signs = {block.label: block.sign for block in self.blocks}
        columns: dict[str, Sequence[object] | np.ndarray] = {
            "arm": self.complete.arms,
            "mean_rank": self.tests.mean_ranks,
            "p_holm": self.tests.holm,
        }
        for number, label in enumerate(self.complete.blocks):
            columns[f"rank/{label}"] = self.tests.ranks[number]
            columns[f"mean/{label}"] = signs[label] * self.complete.scores[number]
        return pd.DataFrame(columns).sort_values("mean_rank", kind="stable", ignore_index=True)


def compare_across(folders: Sequence[Path]) -> AcrossReports:
    """Return what reports say together about the arms that all of them hold.

    Raises:
        FusionBenchError: a folder holds no report, or the reports share too little (see
            `fusion_bench.statistics.across.rank_tests.rank_tests`).
    """
    blocks = read_blocks(folders)
    others = _that_differ([block.components for block in blocks])
    scores = {
        block.label: {arm: block.sign * mean for arm, mean in block.means.items() if arm not in others}
        for block in blocks
    }
    complete = complete_blocks(scores)
    reference = blocks[0].reference if blocks[0].reference in complete.arms else ""
    tests = rank_tests(complete, reference)
    size = len(complete.arms), len(complete.blocks)
    kept = [block for block in blocks if block.label in complete.blocks]
    changed = _that_differ([block.settings for block in kept])
    return AcrossReports(
        tuple(blocks),
        complete,
        reference,
        tests,
        tuple(rank_power(*size, lead) for lead in _LEADS),
        tuple(others),
        tuple(arm for arm in changed if arm in complete.arms),
    )


def _that_differ(by_block: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the arms that have different values in two of the mappings that hold them."""
    arms = dict.fromkeys(arm for own in by_block for arm in own)
    values = {arm: [own[arm] for own in by_block if arm in own] for arm in arms}
    return [arm for arm, found in values.items() if any(value != found[0] for value in found)]

"""Complete blocks: data sets and arms without a missing score, as rank tests over data sets need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_bench.statistics.estimate import FloatArray

FEWEST_ARMS, FEWEST_BLOCKS = 3, 2


@dataclass(frozen=True, eq=False)
class CompleteBlocks:
    """Scores without a gap.

    Attributes:
        blocks: the labels of the data sets.
        arms: the labels of the arms, in their order in the first data set.
        scores: ``[B, A]``; a higher one is better.
        lacking: the arms that are left out, each with the data sets that lack it.
        left_out: the data sets that are left out, because the others share more arms without them.
    """

    blocks: tuple[str, ...]
    arms: tuple[str, ...]
    scores: FloatArray
    lacking: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]


def complete_blocks(scores: Mapping[str, Mapping[str, float]]) -> CompleteBlocks:
    """Return the data sets and arms that have all scores of each other.

    All data sets stay where they share three arms, and an arm that one of them lacks leaves. Where they share fewer,
    the data set without which most arms are shared leaves (of several the last one), until three arms are shared or
    two data sets are left.

    Args:
        scores: the score of each arm, by data set.
    """
    blocks, left_out = [*scores], []
    while len(_shared(scores, blocks)) < FEWEST_ARMS and len(blocks) > FEWEST_BLOCKS:
        without = {
            block: len(_shared(scores, [other for other in blocks if other != block]))
            for block in reversed(blocks)
        }
        leaves = max(without, key=lambda block: without[block])
        blocks.remove(leaves)
        left_out.append(leaves)
    arms = _shared(scores, blocks)
    known = dict.fromkeys(arm for block in blocks for arm in scores[block])
    lacking = {
        arm: tuple(block for block in blocks if arm not in scores[block]) for arm in known if arm not in arms
    }
    table = np.array([[scores[block][arm] for arm in arms] for block in blocks], dtype=np.float64)
    return CompleteBlocks(tuple(blocks), tuple(arms), table, lacking, tuple(left_out))


def _shared(scores: Mapping[str, Mapping[str, float]], blocks: Sequence[str]) -> list[str]:
    """Return the arms that all of ``blocks`` have."""
    return [arm for arm in scores[blocks[0]] if all(arm in scores[block] for block in blocks)]

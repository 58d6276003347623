"""Tie groups: the arms that cannot be told apart, as letters.

Every pair of ranked arms is tested, and Holm's correction runs over all ``A (A - 1) / 2`` pairs: a family of its own
beside those of the verdicts. Two arms share a letter exactly where their difference is not significant (a compact
letter display: Piepho, *Journal of Computational and Graphical Statistics* 13, 2004). A letter is a set of arms of
which no two differ, so a display covers the pairs that do not differ by cliques. The cliques are grown one after the
other, each as large as it can be (Gramm, Guo, Hüffner, Niedermeier, Piepho and Schmid, *Computational Statistics and
Data Analysis* 52, 2007). Piepho's own procedure may need a time that is exponential in the number of arms.

A pair has the larger of the two p-values with either arm as the reference, which is never below that of the verdict.
The family of the verdicts is smaller as well, so an arm without the letter of the reference always differs from it
there, and an arm that differs there may share the letter.

**In a study with looks** a pair is tested at every look that both arms had a part in, at ``alpha_k`` over the number
of all pairs (Bonferroni). Holm's correction would need the same pairs at every look: which arms go on depends on
results. The tests of all pairs at all looks spend 5 % together, and each is stricter than the verdict's at its look.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fusion_bench.statistics.comparison import ALPHA, FEWEST_SEEDS, Question, holm
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.estimate import stacked
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.sequential import Stages, cells_of_look


@dataclass(frozen=True)
class TieGroups:
    """The tie groups of a study.

    Attributes:
        arms: the arms with a letter, in the order in which they were given.
        letters: the letters of each of them.
        tied: the number of other arms that each cannot be told apart from.
        ahead: the number of other arms that each is shown to be better than.
    """

    arms: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()
    tied: tuple[int, ...] = ()
    ahead: tuple[int, ...] = ()

    def pairs(self) -> int:
        """Return the number of pairs that Holm's correction runs over."""
        return len(self.arms) * (len(self.arms) - 1) // 2

    def of(self, arm: str) -> str:
        """Return the letters of an arm; empty for an arm without one."""
        return self.letters[self.arms.index(arm)] if arm in self.arms else ""

    def tied_with(self, arm: str) -> int | None:
        """Return the number of arms that an arm cannot be told apart from; None for an arm without a letter."""
        return self.tied[self.arms.index(arm)] if arm in self.arms else None

    def ahead_of(self, arm: str) -> int | None:
        """Return the number of arms that an arm is shown to be better than; None for an arm without a letter."""
        return self.ahead[self.arms.index(arm)] if arm in self.arms else None


def tie_groups(
    influences: Influences, question: Question, order: Sequence[str], stages: Stages | None = None
) -> TieGroups:
    """Return the tie groups of the reference and the family.

    Args:
        influences: the influences on the metric of the verdicts.
        question: the comparisons; arms outside the budget tell how arms scatter and get no letter.
        order: the arms, the best first: ``a`` is the letter of the first.
        stages: the looks of the study; None without looks.

    Returns:
        The groups of the arms with at least three finished seeds of which at least one pair can be tested. A pair
        with fewer common seeds counts as one that cannot be told apart.
    """
    ranked = {question.reference, *question.family}
    enough = [
        arm
        for arm in dict.fromkeys(order)
        if arm in ranked and influences.seeds_of(arm).sum() >= FEWEST_SEEDS
    ]
    if stages is None:
        tested = _tests(question.differences(influences), itertools.combinations(enough, 2))
    else:
        tested = _tests_at_looks(influences, question, enough, stages)
    arms = [arm for arm in enough if any(arm in pair for pair in tested)]
    pairs = list(itertools.combinations(range(len(arms)), 2))
    tests = [tested.get((arms[one], arms[other]), _PairTest(1.0, 0.0)) for one, other in pairs]
    p_values = np.array([test.p for test in tests])
    corrected = holm(p_values) if stages is None else p_values * len(pairs)
    different = np.zeros((len(arms), len(arms)), dtype=bool)
    ahead = [0] * len(arms)
    for (one, other), test, p in zip(pairs, tests, corrected, strict=True):
        different[one, other] = different[other, one] = p < ALPHA
        if p < ALPHA:
            ahead[one if (test.difference > 0) == question.higher_is_better else other] += 1
    alike = len(arms) - 1 - different.sum(1)
    counts = tuple(int(number) for number in alike)
    return TieGroups(tuple(arms), letter_display(different), counts, tuple(ahead))


@dataclass(frozen=True)
class _PairTest:
    """The p-value of a pair of arms and the difference of the first from the second."""

    p: float
    difference: float


def _tests(differences: Differences, pairs: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], _PairTest]:
    """Return the larger of the p-values with either arm as the reference, of the pairs that can be tested.

    Neither arm of a pair is the reference of the family of all pairs, and the larger p-value is not below the one of
    the verdict, so that an arm without the reference's letter has a verdict.
    """
    found = {
        (pair, sides): difference
        for pair in pairs
        for sides in (pair, pair[::-1])
        if (difference := differences.of(*sides)) is not None
        and min(difference.seeds, difference.other_seeds) >= FEWEST_SEEDS
    }
    p_values = stacked([item.estimate for item in found.values()]).p_value().tolist()
    tests: dict[tuple[str, str], _PairTest] = {}
    for ((pair, _), difference), p in zip(found.items(), p_values, strict=True):
        first = tests.setdefault(pair, _PairTest(p, float(difference.estimate.mean)))
        tests[pair] = replace(first, p=max(first.p, p))
    return {pair: test for pair, test in tests.items() if not np.isnan(test.p)}


def _tests_at_looks(
    influences: Influences, question: Question, enough: Sequence[str], stages: Stages
) -> Mapping[tuple[str, str], _PairTest]:
    """Return the tests of the pairs at the looks that both arms had a part in, with their p-values at ``ALPHA``.

    The p-value is the smallest of ``p .05 / alpha_k`` over the looks, so that it is below ``t`` with a chance of at
    most ``t``, whichever looks a pair had a part in.
    """
    tested: dict[tuple[str, str], _PairTest] = {}
    for look in stages.taken:
        arms = [arm for arm in enough if arm in (question.reference, *look.arms)]
        asked = replace(question, family=look.arms, unranked=(), controls=())
        differences = asked.differences(cells_of_look(influences, question.reference, look))
        for pair, test in _tests(differences, itertools.combinations(arms, 2)).items():
            scaled = replace(test, p=min(1.0, test.p * ALPHA / look.alpha))
            if pair not in tested or scaled.p < tested[pair].p:
                tested[pair] = scaled
    return tested


def letter_display(different: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the letters of each item: two items share one exactly where they do not differ.

    Args:
        different: ``[A, A]``, symmetric; True where two items differ.

    Returns:
        One text per item. Letters follow the order of the items; no letter could be left out, and each stands for as
        many items as possible.
    """
    count = len(different)
    alike = ~different & ~np.eye(count, dtype=bool)
    groups: list[list[int]] = []
    covered = np.zeros_like(alike)
    for one in range(count):
        # An item that differs from all others is a group too.
        for other in (*np.flatnonzero(alike[one]), one):
            if covered[one, other]:
                continue
            group = _grown([one, int(other)], alike, covered)
            covered[np.ix_(group, group)] = True
            groups.append(group)
    kept = _without_redundant(groups)
    shared = [[place for place, group in enumerate(sorted(kept)) if item in group] for item in range(count)]
    return tuple("".join(map(_letter, places)) for places in shared)


def _grown(start: list[int], alike: npt.NDArray[np.bool_], covered: npt.NDArray[np.bool_]) -> list[int]:
    """Return ``start`` and further items, as many as are all alike; those that cover most new pairs come first."""
    group = sorted(set(start))
    while True:
        possible = np.flatnonzero(alike[group].all(0))
        if not len(possible):
            return sorted(group)
        new_pairs = (~covered[possible][:, group]).sum(1)
        group.append(int(possible[np.argmax(new_pairs)]))


def _without_redundant(groups: list[list[int]]) -> list[list[int]]:
    """Return the groups without those of which every pair is in another one, the smallest left out first."""
    kept = sorted(groups, key=lambda group: (-len(group), group))
    for group in reversed(list(kept)):
        others = [other for other in kept if other is not group]
        pairs = itertools.combinations_with_replacement(group, 2)
        if all(any(one in other and two in other for other in others) for one, two in pairs):
            kept = others
    return kept


def _letter(place: int) -> str:
    """Return ``a`` to ``z``, ``A`` to ``Z``, then numbers in brackets."""
    letters = string.ascii_letters
    return letters[place] if place < len(letters) else f"({place + 1})"

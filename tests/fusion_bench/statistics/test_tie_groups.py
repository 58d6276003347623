"""Letters of arms that cannot be told apart: exact, few, and in the order of the means."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from fusion_bench.statistics.comparison import ALPHA, Question, compare, holm
from fusion_bench.statistics.differences import Differences
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences
from fusion_bench.statistics.simulation import Scatter, StudyShape, simulate_study
from fusion_bench.statistics.tie_groups import TieGroups, letter_display, tie_groups

Different = npt.NDArray[np.bool_]


def display(count: int, different: list[tuple[int, int]]) -> tuple[str, ...]:
    table = np.zeros((count, count), dtype=bool)
    for one, other in different:
        table[one, other] = table[other, one] = True
    return letter_display(table)


def smallest_number_of_letters(different: Different) -> int:
    """By trying all covers of the pairs that do not differ by cliques."""
    count = len(different)
    cliques = [
        set(items)
        for size in range(1, count + 1)
        for items in itertools.combinations(range(count), size)
        if not different[np.ix_(items, items)].any()
    ]
    largest = [items for items in cliques if not any(items < other for other in cliques)]
    pairs = [
        {one, other}
        for one, other in itertools.combinations_with_replacement(range(count), 2)
        if not different[one, other]
    ]
    for number in range(1, len(largest) + 1):
        for chosen in itertools.combinations(largest, number):
            if all(any(pair <= items for items in chosen) for pair in pairs):
                return number
    return 0


@pytest.mark.parametrize(
    ("count", "different", "letters"),
    [
        (0, [], ()),
        (1, [], ("a",)),
        (3, [], ("a", "a", "a")),
        (3, [(0, 1), (0, 2), (1, 2)], ("a", "b", "c")),
        (3, [(0, 2)], ("a", "ab", "b")),
        (4, [(0, 2), (0, 3), (1, 3)], ("a", "ab", "bc", "c")),
        (3, [(1, 2)], ("ab", "a", "b")),  # the best has a wide interval, so it is tied with two that differ
        # figure 2 of Gramm et al., 2007
        (5, [(0, 4), (1, 2), (1, 4), (2, 4)], ("ab", "a", "b", "abc", "c")),
    ],
)
def test_known_displays(count: int, different: list[tuple[int, int]], letters: tuple[str, ...]) -> None:
    assert display(count, different) == letters


def test_two_items_share_a_letter_exactly_where_they_do_not_differ_and_no_letter_is_left_over() -> None:
    generator = np.random.default_rng(0)
    for case in range(250):
        count = int(generator.integers(2, 8))
        if case % 2:  # distances of means against one limit
            means = np.sort(generator.random(count))[::-1]
            different = np.abs(means[:, None] - means) > 0.7 * generator.random()
        else:
            upper = np.triu(generator.random((count, count)) < generator.random(), 1)
            different = upper | upper.T
        letters = letter_display(different)
        for one, other in itertools.combinations(range(count), 2):
            assert bool(set(letters[one]) & set(letters[other])) != different[one, other]
        used = "".join(letters)
        assert len(set(used)) == smallest_number_of_letters(different)
        assert list(dict.fromkeys(used)) == sorted(set(used)), "letters follow the order of the items"


def test_many_arms_in_disjoint_pairs_need_few_letters() -> None:
    """Each arm differs from one other: there are 2^17 largest groups, but few are needed."""
    letters = display(34, [(2 * number, 2 * number + 1) for number in range(17)])
    assert len(set("".join(letters))) < 20


def laid_out(means: list[float], seeds: int = 4, clusters: int = 60) -> Influences:
    generator = np.random.default_rng(3)
    shape = (len(means), seeds, clusters)
    values = np.array(means)[:, None, None] + generator.normal(0, 0.008, shape[:2])[:, :, None]
    values = values + generator.normal(0, 0.05, (1, 1, clusters)) + generator.normal(0, 0.1, shape)
    names = tuple(f"arm {number}" for number in range(len(means)))
    return Influences(names, tuple(range(seeds)), values, np.arange(clusters).astype(object))


def test_all_pairs_of_ranked_arms_are_one_family() -> None:
    scores = laid_out([0.50, 0.54, 0.56, 0.70, 0.52])
    question = Question("arm 0", ("arm 1", "arm 2", "arm 3"), unranked=("arm 4",))
    order = ("arm 3", "arm 2", "arm 1", "arm 0")
    found = tie_groups(scores, question, ("arm 3", "arm 2", "arm 1", "arm 4", "arm 0"))
    assert (found.arms, found.pairs(), found.of("arm 4"), found.tied_with("arm 4")) == (order, 6, "", None)
    differences = Differences(scores, question.arms(), "arm 0")
    pairs = list(itertools.combinations(order, 2))
    estimates = [differences.of(*pair) for pair in pairs]
    p_values = [float(item.estimate.p_value()) for item in estimates if item is not None]
    for (one, other), p in zip(pairs, holm(p_values), strict=True):
        assert bool(set(found.of(one)) & set(found.of(other))) == (p >= ALPHA)
    assert found.of("arm 3") == "a" and found.tied_with("arm 3") == 0
    compared = compare(scores, question).set_index("arm")
    for (one, other), p in zip(pairs, p_values, strict=True):
        if other == "arm 0":
            assert compared.loc[one, "p"] == pytest.approx(p)


def test_what_differs_over_all_pairs_differs_from_the_reference_too() -> None:
    generator = np.random.default_rng(4)
    for _ in range(20):
        scores = laid_out([0.5, *generator.uniform(0.45, 0.55, 5)])
        question = Question("arm 0", scores.arms[1:])
        found = tie_groups(scores, question, scores.arms)
        verdicts = compare(scores, question).set_index("arm")["verdict"]
        for arm in question.family:
            if not set(found.of(arm)) & set(found.of("arm 0")):
                assert verdicts[arm] in {"better", "worse"}


def straddling(number: int) -> Influences:
    """Four arms of which the first two are near each other and scatter differently."""
    generator = np.random.default_rng(number)
    means = 0.5 + 0.3 * np.arange(4)
    means[1] = 0.5 + 0.025 * generator.uniform(0.5, 3)
    by_seed = generator.normal(0, 0.01, (4, 3)) * np.array([0.2, 1.5, 1, 1])[:, None] + means[:, None]
    table = by_seed[:, :, None] + generator.normal(0, 0.001, (4, 3, 10))
    return Influences(("a", "b", "c", "d"), (0, 1, 2), table, np.arange(10).astype(object))


def p_by_hand(table: FloatArray, arm: int, reference: int) -> float:
    """The p-value of a pair from sums written out, the second arm the reference of the family."""
    arms, seeds, clusters = table.shape
    x, f = table.mean(2), seeds - 1
    own = np.zeros(arms)
    for a, s in itertools.product(range(arms), range(seeds)):
        own[a] += arms / (arms - 1) * (x[a, s] - x[a].mean() - x[:, s].mean() + x.mean()) ** 2 / f
    logs = [math.log(u) - float(digamma(f / 2)) + math.log(f / 2) for u in own]
    second, fourth = float(polygamma(1, f / 2)), float(polygamma(3, f / 2))
    error = math.sqrt((fourth + 3 * second**2 - second**2 * (arms - 3) / (arms - 1)) / arms)
    excess = statistics.variance(logs) - second + error
    prior = (arms - 2.0) * f
    if excess > 0:
        prior = min(prior, 2 * brentq(lambda half: float(polygamma(1, half)) - excess, 1e-3, 1e4))
    centre, u, v = math.exp(statistics.fmean(logs)), own[arm], own[reference]
    weighted = (prior * centre + f * u) / (prior + f)
    mean = statistics.fmean(own)
    kept, kept_v = (max(one, (one * (arms - 1) - mean) / (arms - 2)) for one in (u, v))
    g, u = f + prior * min(1.0, weighted / kept) ** 2, max(kept, weighted)
    few = min(prior, f)
    v = max(kept_v, (few * 4 / 3 * math.sqrt(centre * mean) + f * v) / (few + f))
    nu = (u + v) ** 2 / (u**2 / g + v**2 / f + 2 * u * v / ((arms - 1) ** 2 * math.sqrt(g * f)))
    nu = min(nu, (arms - 1) * f)
    d = table[arm] - table[reference]
    ms_seed, ms_cluster = clusters * (u + v), seeds * d.mean(0).var(ddof=1)
    rest = d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
    ms_rest = (rest**2).sum() / (f * (clusters - 1))
    variance = max(ms_seed + ms_cluster - ms_rest, ms_seed, ms_cluster) / (seeds * clusters)
    raised = ms_seed * (nu + 2) / nu
    degrees = max(raised + ms_cluster - ms_rest, raised, ms_cluster) ** 2 / (
        raised**2 / nu + ms_cluster**2 / (clusters - 1) + ms_rest**2 / (f * (clusters - 1))
    )
    degrees = max(degrees, min(nu, clusters - 1))
    return float(2 * stats.t.sf(abs(d.mean()) / math.sqrt(variance), degrees))


@pytest.mark.parametrize(("number", "significant"), [(22, "a"), (39, "a"), (184, "b")])
def test_a_pair_whose_two_p_values_are_on_both_sides_of_the_level_is_not_told_apart(
    number: int, significant: str
) -> None:
    """With one arm as the reference p is below 5 %, with the other above; the other pairs are far apart."""
    scores = straddling(number)
    p = {
        "b": p_by_hand(scores.table, 0, 1),
        "a": p_by_hand(scores.table, 1, 0),
    }  # by the arm that is the reference
    assert p[significant] < ALPHA < p["a" if significant == "b" else "b"]
    others = [
        p_by_hand(scores.table, *pair) for pair in itertools.permutations(range(4), 2) if {*pair} != {0, 1}
    ]
    assert max(others) * 6 < ALPHA, "the pair is the last step of Holm's procedure, at 5 % itself"
    for reference, other in (("a", "b"), ("b", "a")):
        question = Question(reference, tuple(arm for arm in scores.arms if arm != reference))
        found = tie_groups(scores, question, scores.arms)
        assert found.letters == ("a", "a", "b", "c") and found.tied == (1, 1, 0, 0)
        compared = compare(scores, question).set_index("arm").loc[other]
        expected = p_by_hand(scores.table, scores.arms.index(other), scores.arms.index(reference))
        assert compared["p"] == pytest.approx(expected, rel=1e-6)
        assert (compared["verdict"] == "underpowered") == (reference != significant)


def test_arms_without_three_seeds_or_without_a_spread_have_no_letter() -> None:
    scores = laid_out([0.5, 0.6, 0.7])
    table = scores.table.copy()
    table[1, 2:] = np.nan
    question = Question("arm 0", ("arm 1", "arm 2"))
    found = tie_groups(dataclasses.replace(scores, table=table), question, scores.arms)
    assert found.arms == ("arm 0", "arm 2")
    table[0, 2:] = np.nan
    assert tie_groups(dataclasses.replace(scores, table=table), question, scores.arms) == TieGroups()
    assert tie_groups(laid_out([0.5, 0.6, 0.7], clusters=1), question, scores.arms) == TieGroups()
    two = laid_out([0.5, 0.6, 0.7], seeds=2)
    assert tie_groups(two, question, scores.arms) == TieGroups()


def test_a_pair_with_too_few_common_seeds_counts_as_one_that_is_not_told_apart() -> None:
    scores = laid_out([0.5, 0.6, 0.9, 0.1], seeds=6)
    table = scores.table.copy()
    table[2, 3:] = np.nan
    table[3, :3] = np.nan
    question = Question("arm 0", ("arm 1", "arm 2", "arm 3"))
    found = tie_groups(
        dataclasses.replace(scores, table=table), question, ("arm 2", "arm 1", "arm 0", "arm 3")
    )
    assert len(found.arms) == 4
    assert set(found.of("arm 2")) & set(found.of("arm 3")), "they share no seed"
    for arm in ("arm 2", "arm 3"):
        assert not set(found.of(arm)) & set(found.of("arm 0"))


@pytest.mark.parametrize("scatter", ["equal", "log-normal"])
def test_arms_without_a_difference_are_seldom_told_apart(scatter: Scatter) -> None:
    shape = StudyShape(arms=5, seeds=3, clusters=20, seed_sd=1.2, scatter=scatter)
    generator = np.random.default_rng(5)
    errors = 0
    for _ in range(200):
        study = simulate_study(shape, np.zeros(4), generator)
        found = tie_groups(study, Question(study.arms[0], study.arms[1:]), study.arms)
        errors += min(found.tied) < 4
    assert errors / 200 <= 0.05 + 0.03

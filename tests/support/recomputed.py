"""The numbers of a report once more: from the files of its folder, in sums written out, without the project's code.

It holds for studies of questions scored by equality, whose arms lack at most their last seed: the arms with every
seed are compared seed by seed with each other's variances, and one that lacks a seed on the seeds of each pair alone.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from scipy.special import polygamma


@dataclass(frozen=True)
class Shown:
    """An estimate with its 95 % interval; ``p`` is two-sided, ``above`` the one-sided p-value of "not above zero"."""

    mean: float
    low: float = np.nan
    high: float = np.nan
    error: float = np.nan
    degrees: float = np.nan

    @property
    def p(self) -> float:
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.degrees))

    @property
    def above(self) -> float:
        return float(stats.t.sf(self.mean / self.error, self.degrees))

    def outside(self, margin: float) -> float:
        return float(stats.t.sf((margin - abs(self.mean)) / self.error, self.degrees))

    def limited(self) -> Shown:
        """As a difference of two shares."""
        return Shown(self.mean, max(-1.0, self.low), min(1.0, self.high), self.error, self.degrees)

    def negative(self) -> Shown:
        return Shown(-self.mean, -self.high, -self.low, self.error, self.degrees)


@dataclass(frozen=True)
class Moderated:
    """Variances over seeds of arms that inform each other, and those of each as a reference."""

    centre: float
    variance: np.ndarray
    degrees: np.ndarray
    reference: np.ndarray
    prior: float


def moderated_by_hand(means: np.ndarray) -> Moderated:
    """From the per-seed ``means`` [A, S] of at least three arms."""
    arms, seeds = means.shape
    f = seeds - 1
    rest = means - means.mean(1)[:, None] - (means.mean(0) - means.mean())[None, :]
    own = arms / (arms - 1) * np.sum(rest**2, axis=1) / f
    logs = np.log(own) - polygamma(0, f / 2) + np.log(f / 2)
    known = polygamma(1, f / 2)
    error = (polygamma(3, f / 2) + 3 * known**2 - known**2 * (arms - 3) / (arms - 1)) / arms
    excess = np.var(logs, ddof=1) - known + np.sqrt(error)
    prior = float((arms - 2) * f)
    if excess > 0:
        prior = min(prior, 2 * brentq(lambda half: polygamma(1, half) - excess, 1e-6, 1e6))
    centre = float(np.prod(np.exp(logs)) ** (1 / arms))
    weighted = (prior * centre + f * own) / (prior + f)
    squares = np.sum(rest**2, axis=1) / f
    unbiased = arms / (arms - 2) * squares - squares.sum() / ((arms - 1) * (arms - 2))
    kept = np.maximum(own, unbiased)
    few, between = min(prior, f), np.sqrt(centre * own.mean())
    reference = np.maximum(kept, (few * between * 4 / 3 + f * own) / (few + f))
    degrees = f + prior * np.minimum(1, weighted / kept) ** 2
    return Moderated(centre, np.maximum(kept, weighted), degrees, reference, prior)


def influences_by_hand(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The linearised table [S, N] of ``values`` [S, N] totals in clusters of ``sizes`` [N]."""
    table = np.empty_like(values)
    for seed in range(len(values)):
        mean = values[seed].sum() / sizes.sum()
        for cluster in range(len(sizes)):
            table[seed, cluster] = mean + (values[seed, cluster] - sizes[cluster] * mean) / sizes.mean()
    return table


def crossed_by_hand(
    table: np.ndarray, seed_variance: float | None = None, nu: float | None = None, level: float = 0.05
) -> Shown:
    """The mean of a linearised ``table`` [S, N] and its interval.

    ``seed_variance`` of the difference, on ``nu`` degrees, is that of moderated arms; without it, that of the table.
    The interval misses with the probability ``level``.
    """
    seeds, clusters = table.shape
    if seeds == 1:
        return Shown(float(table.mean()))
    if np.ptp(table) == 0:
        return Shown(*[float(table.mean())] * 3, 0.0)
    ms_seed = clusters * np.var(table.mean(1), ddof=1)
    nu = seeds - 1 if nu is None else nu
    ms_cluster = seeds * np.var(table.mean(0), ddof=1)
    rest = ((table - table.mean()) ** 2).sum() - (seeds - 1) * ms_seed - (clusters - 1) * ms_cluster
    ms_rest = rest / ((seeds - 1) * (clusters - 1))
    if seed_variance is not None:
        ms_seed = clusters * seed_variance
    total = max(ms_seed + ms_cluster - ms_rest, ms_seed, ms_cluster)
    raised = ms_seed * (nu + 2) / nu
    careful = max(raised + ms_cluster - ms_rest, raised, ms_cluster)
    degrees = careful**2 / (
        raised**2 / nu + ms_cluster**2 / (clusters - 1) + ms_rest**2 / ((seeds - 1) * (clusters - 1))
    )
    degrees = max(degrees, min(nu, clusters - 1))
    error = float(np.sqrt(total / (seeds * clusters)))
    reach, mean = float(stats.t.ppf(1 - level / 2, degrees) * error), float(table.mean())
    return Shown(mean, mean - reach, mean + reach, error, degrees)


def holm_by_hand(p_values: Mapping[Any, float]) -> dict[Any, float]:
    """Holm's adjusted p-values, by key."""
    adjusted, highest = {}, 0.0
    for step, key in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[key]))
        adjusted[key] = highest
    return adjusted


class Recomputed:
    """The numbers of the report in a folder, by arm, split and metric (``accuracy`` or ``consistency``)."""

    def __init__(self, folder: Path) -> None:
        self.study: dict[str, Any] = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        self.values = pd.read_parquet(folder / "results.parquet")
        self.samples = pd.read_parquet(folder / "samples.parquet")
        for name in self.samples.columns:
            self.samples[name] = self.samples[name].astype("str")
        self.curves = pd.read_parquet(folder / "curves.parquet")
        self.arms: dict[str, dict[str, Any]] = {arm["label"]: arm for arm in self.study["arms"]}
        self.reference: str = self.study["reference"]
        done = self.values[self.values["state"] == "done"].drop_duplicates(["arm", "seed"])
        self.seeds = {str(arm): sorted(map(int, rows)) for arm, rows in done.groupby("arm")["seed"]}
        self.most = max(len(seeds) for seeds in self.seeds.values())
        self.pool = [arm for arm in self.family(with_reference=True) if len(self.seeds[arm]) == self.most]
        self.level = 0.05

    def at_look(self, seeds: int, arms: Iterable[str], level: float) -> Recomputed:
        """The same report with the first ``seeds`` seeds of these arms and the reference, tested at ``level``."""
        look = copy.copy(self)
        look.arms = {arm: own for arm, own in self.arms.items() if arm in {self.reference, *arms}}
        look.seeds = {arm: [seed for seed in self.seeds[arm] if seed < seeds] for arm in look.arms}
        look.most, look.pool, look.level, look._moderated = seeds, [*look.arms], level, {}
        return look

    def family(self, with_reference: bool = False) -> list[str]:
        """The arms that are no controls."""
        return [
            arm
            for arm, own in self.arms.items()
            if own["role"] == "arm" or (with_reference and own["role"] == "reference")
        ]

    def controls(self) -> list[str]:
        return [arm for arm, own in self.arms.items() if own["role"] == "control"]

    def table(
        self,
        arm: str,
        seeds: Iterable[int],
        split: str = "test",
        metric: str = "accuracy",
        chosen: pd.Series | None = None,
        less: Sequence[float] | None = None,
    ) -> np.ndarray:
        """The linearised table of an arm on a split or a part of it; ``less`` is taken from each sample's score."""
        rows = self.samples[self.samples["split"] == split]
        right = np.array(
            [(rows[f"prediction/{arm}/{seed}"] == rows["truth"]).to_numpy(float) for seed in seeds]
        )
        right = right if less is None else right - np.asarray(less)
        if chosen is not None:
            mask = chosen[rows.index].to_numpy(bool)
            rows, right = rows[mask], right[:, mask]
        names = list(dict.fromkeys(rows["cluster"]))
        members = [np.flatnonzero((rows["cluster"] == name).to_numpy()) for name in names]
        if metric == "consistency":
            return np.array([[float(own[places].min()) for places in members] for own in right])
        totals = np.array([[own[places].sum() for places in members] for own in right])
        return influences_by_hand(totals, np.array([len(places) for places in members], float))

    def shared(self, *arms: str) -> list[int]:
        return sorted(set.intersection(*(set(self.seeds[arm]) for arm in arms)))

    def mean(self, arm: str, split: str = "test", metric: str = "accuracy", **part: Any) -> Shown:
        """Over the seeds that the arm shares with the reference."""
        found = crossed_by_hand(self.table(arm, self.shared(arm, self.reference), split, metric, **part))
        lowest = -float(np.max(part.get("less", 0.0)))  # of a share, less a constant
        return Shown(
            found.mean, max(lowest, found.low), min(lowest + 1, found.high), found.error, found.degrees
        )

    @cached_property
    def _moderated(self) -> dict[tuple[str, str], Moderated]:
        return {}

    def moderated(self, split: str, metric: str) -> Moderated:
        key = split, metric
        if key not in self._moderated:
            means = [self.table(arm, self.seeds[arm], split, metric).mean(1) for arm in self.pool]
            self._moderated[key] = moderated_by_hand(np.array(means))
        return self._moderated[key]

    def difference(self, arm: str, other: str, split: str = "test", metric: str = "accuracy") -> Shown:
        """``arm - other`` where ``other`` is the reference of the comparison."""
        seeds = self.shared(arm, other)
        paired = self.table(arm, seeds, split, metric) - self.table(other, seeds, split, metric)
        if not {arm, other} <= {*self.pool}:
            return crossed_by_hand(paired, level=self.level).limited()
        found, f = self.moderated(split, metric), self.most - 1
        one, two = self.pool.index(arm), self.pool.index(other)
        u, v, g = found.variance[one], found.reference[two], found.degrees[one]
        size = len(self.pool) - 1
        nu = (u + v) ** 2 / (u**2 / g + v**2 / f + 2 * u * v / (size**2 * np.sqrt(f * g)))
        return crossed_by_hand(paired, u + v, min(nu, size * f), self.level).limited()

    def lead(self, arm: str, control: str, split: str = "test", metric: str = "accuracy") -> Shown:
        """``arm - control``."""
        seeds = self.shared(arm, control)
        paired = self.table(arm, seeds, split, metric) - self.table(control, seeds, split, metric)
        if arm not in self.pool or len(self.seeds[control]) < self.most:
            return crossed_by_hand(paired).limited()
        found, f = self.moderated(split, metric), self.most - 1
        centre = np.mean([self.table(name, seeds, split, metric).mean(1) for name in self.pool], axis=0)
        v = np.var(self.table(control, seeds, split, metric).mean(1) - centre, ddof=1)
        u, g = found.variance[self.pool.index(arm)], found.degrees[self.pool.index(arm)]
        return crossed_by_hand(paired, u + v, (u + v) ** 2 / (u**2 / g + v**2 / f)).limited()

    def compared(self, split: str = "test", metric: str = "accuracy") -> dict[str, Shown]:
        """The differences of arms and controls from the reference."""
        found = {arm: self.difference(arm, self.reference, split, metric) for arm in self.family()}
        return found | {
            name: self.lead(self.reference, name, split, metric).negative() for name in self.controls()
        }

    def verdicts(self) -> dict[str, tuple[str, float, float]]:
        """Verdict, Holm's p-value of a difference and that of a difference outside the margin, of each arm."""
        compared, margin = self.compared(), self.study["margin"]
        tested = [arm for arm in self.family() if len(self.shared(arm, self.reference)) >= 3]
        p = holm_by_hand({arm: compared[arm].p for arm in tested})
        p_margin = holm_by_hand({arm: compared[arm].outside(margin) for arm in tested})
        found = dict.fromkeys(self.family(), ("no verdict", np.nan, np.nan))
        for arm in tested:
            better = "better" if compared[arm].mean > 0 else "worse"
            verdict = better if p[arm] < self.level else "underpowered"
            found[arm] = "equivalent" if p_margin[arm] < self.level else verdict, p[arm], p_margin[arm]
        return found

    def beats(self) -> dict[str, bool]:
        """Whether the largest one-sided p-value of an arm over the controls is at most 2.5 % after Holm."""
        tested = {}
        for arm in self.family(with_reference=True):
            if all(len(self.shared(arm, control)) >= 3 for control in self.controls()):
                tested[arm] = max(self.lead(arm, control).above for control in self.controls())
        p = holm_by_hand(tested)
        return {arm: p.get(arm, 1.0) <= 0.025 for arm in self.family(with_reference=True)}

    def different(self) -> dict[tuple[str, str], bool]:
        """Which two arms with three seeds differ, by the larger p-value with either as the reference."""
        arms = [arm for arm in self.family(with_reference=True) if len(self.seeds[arm]) >= 3]
        p = {
            (one, two): max(self.difference(one, two).p, self.difference(two, one).p)
            for one, two in itertools.combinations(arms, 2)
        }
        return {pair: value < 0.05 for pair, value in holm_by_hand(p).items()}

    def order(self) -> list[str]:
        """The arms, the best first, by their differences from the reference."""
        place = {arm: shown.mean for arm, shown in self.compared().items()} | {self.reference: 0.0}
        return sorted(self.family(with_reference=True), key=lambda arm: -place[arm])

    def rises(self) -> dict[str, float]:
        """The rise of the selection metric in the last fifth of the samples seen, mean over seeds."""
        chosen = self.curves[self.curves["quantity"] == "select/accuracy"]
        found: dict[str, list[float]] = {}
        for (arm, _), curve in chosen.groupby(["arm", "seed"]):
            own = curve.sort_values("samples_seen")
            seen, value = own["samples_seen"].to_numpy(float), own["value"].to_numpy(float)
            found.setdefault(str(arm), []).append(value[-1] - np.interp(0.8 * seen[-1], seen, value))
        return {arm: float(np.mean(values)) for arm, values in found.items()}

    def noise(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations of seed, cluster and rest of a difference, and their shares, over all pairs."""
        squares = []
        for one, two in itertools.combinations(self.pool, 2):
            z = self.table(one, self.seeds[one]) - self.table(two, self.seeds[two])
            seed, cluster = z.mean(1, keepdims=True) - z.mean(), z.mean(0, keepdims=True) - z.mean()
            rest = z - z.mean() - seed - cluster
            (s, n), parts = z.shape, [(part**2).sum() for part in (seed, cluster, rest)]
            squares.append([n * parts[0] / (s - 1), s * parts[1] / (n - 1), parts[2] / ((s - 1) * (n - 1))])
        ms_seed, ms_cluster, ms_rest = np.mean(squares, axis=0)
        components = np.maximum([(ms_seed - ms_rest) / n, (ms_cluster - ms_rest) / s, ms_rest], 0)
        parts_of = components / [s, n, s * n]
        return np.sqrt(components), parts_of / parts_of.sum()

    def contrast(self, weights: Mapping[str, float]) -> Shown:
        """A contrast of arms that have every seed."""
        z = sum(weight * self.table(arm, self.seeds[arm]) for arm, weight in weights.items())
        found = self.moderated("test", "accuracy")
        squared = np.array([weights.get(arm, 0.0) ** 2 for arm in self.pool])
        parts, size = squared * found.variance, len(self.pool) - 1
        spread = (parts**2 / found.degrees).sum()
        for one, two in itertools.permutations(range(len(self.pool)), 2):
            spread += parts[one] * parts[two] / (size**2 * np.sqrt(found.degrees[one] * found.degrees[two]))
        nu = min(parts.sum() ** 2 / spread, size * (self.most - 1))
        return crossed_by_hand(np.asarray(z), float(parts.sum()), float(nu))

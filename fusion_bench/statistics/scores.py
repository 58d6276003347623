"""Scores laid out as arm x seed x sample, so that pairing is an index and not a join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.crossed import Estimate, FloatArray, crossed

Unit: TypeAlias = Literal["samples", "clusters"]
"""A metric is a mean over samples (accuracy), or the share of clusters wholly right (consistency)."""

SCORE_RANGE = (0.0, 1.0)
"""A sample's score: 0 is wholly wrong, 1 wholly right."""


@dataclass(frozen=True, eq=False)
class Scores:
    """One split's scores.

    Attributes:
        arms: labels; seeds: in rising order.
        values: ``[A, S, n]`` float64; a cell that is absent is NaN throughout, every other is complete.
        cluster: ``[n]`` cluster number of each sample, ``0 .. N-1``.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    values: FloatArray
    cluster: npt.NDArray[np.intp]

    @classmethod
    def of(cls, table: pd.DataFrame, arms: Sequence[str]) -> Scores:
        """Lay out the rows of one split (columns ``arm, seed, sample, cluster, score``).

        Raises:
            FusionBenchError: a cell scores a sample twice or lacks one that another cell has, a sample
                stands in two clusters, or a score does not lie in [0, 1]. Pairing would be wrong in each case.
        """
        known = table[table["arm"].isin(arms)]
        sample, names = pd.factorize(known["sample"])
        seed, seeds = pd.factorize(known["seed"], sort=True)
        arm = pd.Index(arms).get_indexer(pd.Index(known["arm"]))
        cluster = pd.factorize(known["cluster"])[0]
        shape = (len(arms), len(seeds), len(names))
        score = known["score"].to_numpy(dtype=np.float64)
        place = np.ravel_multi_index((arm, seed, sample), shape) if len(known) else arm
        times = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
        of_sample = np.zeros(len(names), dtype=np.intp)
        of_sample[sample] = cluster
        low, high = SCORE_RANGE
        if not ((score >= low) & (score <= high)).all():  # NaN is neither
            raise FusionBenchError("a score is not a number in [0, 1]; the cell that holds it must run again")
        if not np.array_equal(of_sample[sample], cluster):
            raise FusionBenchError("a sample stands in two clusters; its data adapter must give it one")
        _check_pairing(times, arms, seeds, names)
        values = np.full(shape, np.nan)
        values.reshape(-1)[place] = score
        return cls(tuple(arms), tuple(int(number) for number in seeds), values, of_sample)

    def where(self, chosen: npt.NDArray[np.bool_]) -> Scores:
        """Only the samples marked in ``chosen`` ``[n]``; clusters are numbered anew."""
        cluster = np.unique(self.cluster[chosen], return_inverse=True)[1]
        return Scores(self.arms, self.seeds, self.values[:, :, chosen], cluster)

    def seeds_of(self, *arms: str) -> npt.NDArray[np.bool_]:
        """``[S]``: the seeds that every one of ``arms`` has finished."""
        rows = [self.arms.index(arm) for arm in arms]
        return np.asarray(~np.isnan(self.values[rows]).any((0, 2)))

    def mean(self, arm: str, unit: Unit = "samples") -> Estimate:
        """The arm's expected metric over new seeds and clusters."""
        low, high = SCORE_RANGE
        return replace(crossed(*self._clustered(arm, self.seeds_of(arm), unit)), possible=(low, high))

    def difference(self, arm: str, other: str, unit: Unit = "samples") -> Estimate:
        """The expected paired difference ``arm - other`` over the seeds that both have finished."""
        seeds = self.seeds_of(arm, other)
        ours, sizes = self._clustered(arm, seeds, unit)
        theirs, _ = self._clustered(other, seeds, unit)
        low, high = SCORE_RANGE
        return replace(crossed(ours - theirs, sizes), possible=(low - high, high - low))

    def per_seed(self, arm: str, unit: Unit = "samples") -> FloatArray:
        """``[S]``: the metric of each of the arm's finished seeds."""
        totals, sizes = self._clustered(arm, self.seeds_of(arm), unit)
        per_seed: FloatArray = totals.sum(1) / sizes.sum()
        return per_seed

    def crossed_table(
        self, arms: Sequence[str], unit: Unit = "samples"
    ) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Totals ``[A, S, N]`` of the seeds that all of ``arms`` have finished, and sizes ``[N]``."""
        seeds = self.seeds_of(*arms)
        parts = [self._clustered(arm, seeds, unit) for arm in arms]
        return np.stack([totals for totals, _ in parts]), parts[0][1]

    def clusters(self) -> int:
        """How many clusters there are."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    def _clustered(
        self, arm: str, seeds: npt.NDArray[np.bool_], unit: Unit
    ) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Totals ``[S, N]`` and sizes ``[N]`` of the arm's chosen seeds."""
        values = self.values[self.arms.index(arm)][seeds]
        count, clusters = len(values), self.clusters()
        if unit == "clusters":
            values = (values >= 1).astype(np.float64)
        place = (np.arange(count)[:, None] * clusters + self.cluster).reshape(-1)
        totals = np.bincount(place, values.reshape(-1), count * clusters).reshape(count, clusters)
        sizes = np.bincount(self.cluster, minlength=clusters).astype(np.intp)
        if unit == "clusters":
            return (totals == sizes).astype(np.float64), np.ones_like(sizes)
        return totals.astype(np.float64), sizes


def _check_pairing(
    times: npt.NDArray[np.intp], arms: Sequence[str], seeds: pd.Index, names: pd.Index
) -> None:
    """``times`` ``[A, S, n]``: how often each cell scores each sample; once for all of them, or never."""
    wrong = (times > 1) | ((times == 0) & times.any(-1, keepdims=True))
    if wrong.any():
        arm, seed, sample = (int(found[0]) for found in np.nonzero(wrong))
        how = "twice" if times[arm, seed, sample] > 1 else "not at all, though other cells do"
        raise FusionBenchError(
            f"arm {arms[arm]}, seed {seeds[seed]} scores sample {names[sample]} {how}; "
            "its differences cannot be paired, run the cell again"
        )

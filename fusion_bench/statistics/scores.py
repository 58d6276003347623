"""Scores as an array of arm x seed x sample; two arms are paired by equal indices, without a join."""

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
"""The unit of a metric: a mean over samples (accuracy), or the share of entirely right clusters (consistency)."""

SCORE_RANGE = (0.0, 1.0)
"""The range of the score of a sample: 0 is entirely wrong, 1 entirely right."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one split.

    Attributes:
        arms: the labels of the arms.
        seeds: the seeds, in rising order.
        values: ``[A, S, n]`` float64; all NaN for a cell without a result, complete for every other cell.
        cluster: ``[n]``, the cluster number of each sample, ``0 .. N-1``.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    values: FloatArray
    cluster: npt.NDArray[np.intp]

    @classmethod
    def of(cls, table: pd.DataFrame, arms: Sequence[str]) -> Scores:
        """Return the scores in a table of one split.

        Args:
            table: columns ``arm, seed, sample, cluster, score``.
            arms: the labels to keep, in their order.

        Raises:
            FusionBenchError: a cell has two scores for a sample or no score for a sample of another cell, a sample
                has two clusters, or a score is not in [0, 1]. Each of these would make the pairing wrong.
        """
        rows = table[table["arm"].isin(arms)]
        sample, names = pd.factorize(rows["sample"])
        seed, seeds = pd.factorize(rows["seed"], sort=True)
        arm = pd.Index(arms).get_indexer(pd.Index(rows["arm"]))
        cluster = pd.factorize(rows["cluster"])[0]
        shape = (len(arms), len(seeds), len(names))
        score = rows["score"].to_numpy(dtype=np.float64)
        position = np.ravel_multi_index((arm, seed, sample), shape) if len(rows) else arm
        times = np.bincount(position, minlength=int(np.prod(shape))).reshape(shape)
        cluster_of_sample = np.zeros(len(names), dtype=np.intp)
        cluster_of_sample[sample] = cluster
        low, high = SCORE_RANGE
        if not ((score >= low) & (score <= high)).all():  # false for NaN too
            raise FusionBenchError("a score is not a number in [0, 1]; run the cell that holds it again")
        if not np.array_equal(cluster_of_sample[sample], cluster):
            raise FusionBenchError("a sample belongs to two clusters; its dataset adapter must give it one")
        _check_pairing(times, arms, seeds, names)
        values = np.full(shape, np.nan)
        values.reshape(-1)[position] = score
        return cls(tuple(arms), tuple(int(number) for number in seeds), values, cluster_of_sample)

    def where(self, chosen: npt.NDArray[np.bool_]) -> Scores:
        """Return the scores of the samples marked in ``chosen`` ``[n]``; clusters get new numbers."""
        cluster = np.unique(self.cluster[chosen], return_inverse=True)[1]
        return Scores(self.arms, self.seeds, self.values[:, :, chosen], cluster)

    def seeds_of(self, *arms: str) -> npt.NDArray[np.bool_]:
        """Return a mask ``[S]`` of the seeds that all of ``arms`` have finished."""
        rows = [self.arms.index(arm) for arm in arms]
        return np.asarray(~np.isnan(self.values[rows]).any((0, 2)))

    def mean(self, arm: str, unit: Unit = "samples") -> Estimate:
        """Return the expected metric of the arm over new seeds and new clusters."""
        low, high = SCORE_RANGE
        return replace(crossed(*self._clustered(arm, self.seeds_of(arm), unit)), possible=(low, high))

    def difference(self, arm: str, other: str, unit: Unit = "samples") -> Estimate:
        """Return the expected paired difference ``arm - other`` from the seeds that both have finished."""
        seeds = self.seeds_of(arm, other)
        totals, sizes = self._clustered(arm, seeds, unit)
        other_totals, _ = self._clustered(other, seeds, unit)
        low, high = SCORE_RANGE
        return replace(crossed(totals - other_totals, sizes), possible=(low - high, high - low))

    def per_seed(self, arm: str, unit: Unit = "samples") -> FloatArray:
        """Return ``[S]``, the metric of each finished seed of the arm."""
        totals, sizes = self._clustered(arm, self.seeds_of(arm), unit)
        per_seed: FloatArray = totals.sum(1) / sizes.sum()
        return per_seed

    def crossed_table(
        self, arms: Sequence[str], unit: Unit = "samples"
    ) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Return totals ``[A, S, N]`` of the seeds that all of ``arms`` have finished, and cluster sizes ``[N]``."""
        seeds = self.seeds_of(*arms)
        parts = [self._clustered(arm, seeds, unit) for arm in arms]
        return np.stack([totals for totals, _ in parts]), parts[0][1]

    def clusters(self) -> int:
        """Return the number of clusters."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    def _clustered(
        self, arm: str, seeds: npt.NDArray[np.bool_], unit: Unit
    ) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Return totals ``[S, N]`` of the chosen ``seeds`` (a mask) of the arm, and cluster sizes ``[N]``."""
        values = self.values[self.arms.index(arm)][seeds]
        count, clusters = len(values), self.clusters()
        if unit == "clusters":
            values = (values >= 1).astype(np.float64)
        position = (np.arange(count)[:, None] * clusters + self.cluster).reshape(-1)
        totals = np.bincount(position, values.reshape(-1), count * clusters).reshape(count, clusters)
        sizes = np.bincount(self.cluster, minlength=clusters).astype(np.intp)
        if unit == "clusters":
            return (totals == sizes).astype(np.float64), np.ones_like(sizes)
        return totals.astype(np.float64), sizes


def _check_pairing(
    times: npt.NDArray[np.intp], arms: Sequence[str], seeds: pd.Index, names: pd.Index
) -> None:
    """Raise unless each cell has exactly one score for every sample, or none at all.

    ``times`` ``[A, S, n]`` counts the scores of each cell for each sample.
    """
    wrong = (times > 1) | ((times == 0) & times.any(-1, keepdims=True))
    if wrong.any():
        arm, seed, sample = (int(found[0]) for found in np.nonzero(wrong))
        how = "twice" if times[arm, seed, sample] > 1 else "not at all, though other cells do"
        raise FusionBenchError(
            f"arm {arms[arm]}, seed {seeds[seed]} scores sample {names[sample]} {how}; "
            "its differences cannot be paired: run the cell again"
        )

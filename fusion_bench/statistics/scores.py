"""Scores as an array of arm x seed x sample; two arms are paired by equal indices, without a join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_bench.errors import FusionBenchError
from fusion_bench.statistics.estimate import FloatArray
from fusion_bench.statistics.influence import Influences, influence_table

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
        sample_ids: ``[n]``, the name of each sample.
        sizes: ``[A, S, n]``, the denominators of a ratio of sums (unions, where ``values`` are intersections); None
            for a mean, in which every sample counts once.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    values: FloatArray
    cluster: npt.NDArray[np.intp]
    sample_ids: npt.NDArray[np.object_]
    sizes: FloatArray | None = None

    @classmethod
    def of(
        cls, table: pd.DataFrame, arms: Sequence[str], *, score: str = "score", size: str | None = None
    ) -> Scores:
        """Return the scores in a table of one split.

        Args:
            table: columns ``arm, seed, sample, cluster`` and those that are named below. A data set may own columns
                of any other name, which are not read.
            arms: the labels to keep, in their order.
            score: the column of the scores.
            size: the column of the denominators of a ratio of sums; None for a mean.

        Raises:
            FusionBenchError: a cell has two scores for a sample or no score for a sample of another cell, a sample
                has two clusters, or a score is not in [0, 1] (in a ratio: not between 0 and its size, which is
                above 0). Each of these would make the pairing wrong.
        """
        rows = table[table["arm"].isin(arms)]
        sample, names = pd.factorize(rows["sample"])
        seed, seeds = pd.factorize(rows["seed"], sort=True)
        arm = pd.Index(arms).get_indexer(pd.Index(rows["arm"]))
        cluster = pd.factorize(rows["cluster"])[0]
        shape = (len(arms), len(seeds), len(names))
        values = rows[score].to_numpy(dtype=np.float64)
        position = np.ravel_multi_index((arm, seed, sample), shape) if len(rows) else arm
        times = np.bincount(position, minlength=int(np.prod(shape))).reshape(shape)
        cluster_of_sample = np.zeros(len(names), dtype=np.intp)
        cluster_of_sample[sample] = cluster
        sizes = None if size is None else rows[size].to_numpy(dtype=np.float64)
        share = values if sizes is None else values / np.where(sizes > 0, sizes, np.nan)
        low, high = SCORE_RANGE
        if not ((share >= low) & (share <= high)).all():  # false for NaN too
            raise FusionBenchError("a score is not a number in [0, 1]; run the cell that holds it again")
        if not np.array_equal(cluster_of_sample[sample], cluster):
            raise FusionBenchError("a sample belongs to two clusters; its dataset adapter must give it one")
        _check_pairing(times, arms, seeds, names)

        def laid_out(column: FloatArray) -> FloatArray:
            table_of_cells = np.full(shape, np.nan)
            table_of_cells.reshape(-1)[position] = column
            return table_of_cells

        return cls(
            tuple(arms),
            tuple(int(number) for number in seeds),
            laid_out(values),
            cluster_of_sample,
            np.asarray(names, dtype=object),
            None if sizes is None else laid_out(sizes),
        )

    def where(self, chosen: npt.NDArray[np.bool_]) -> Scores:
        """Return the scores of the samples marked in ``chosen`` ``[n]``; clusters get new numbers."""
        cluster = np.unique(self.cluster[chosen], return_inverse=True)[1]
        sizes = None if self.sizes is None else self.sizes[:, :, chosen]
        return Scores(
            self.arms, self.seeds, self.values[:, :, chosen], cluster, self.sample_ids[chosen], sizes
        )

    def influences(self, unit: Unit = "samples") -> Influences:
        """Return the influences on the mean over samples or the ratio of sums, or on the share of right clusters."""
        if unit == "clusters":
            totals = self._totals((self.values >= 1).astype(np.float64))
            totals = (totals == np.bincount(self.cluster, minlength=self.clusters())).astype(np.float64)
            totals[np.isnan(self.values).any(2)] = np.nan
            sizes: FloatArray = np.ones(self.clusters())
        else:
            totals = self._totals(self.values)
            counted = np.ones_like(self.values) if self.sizes is None else self.sizes
            sizes = self._totals(counted)
        table = influence_table(totals, sizes) if totals.size else totals
        values = totals.sum(2) / sizes.sum(-1) if totals.size else None
        return Influences(self.arms, self.seeds, table, self.sample_ids, SCORE_RANGE, values)

    def clusters(self) -> int:
        """Return the number of clusters."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    def _totals(self, values: FloatArray) -> FloatArray:
        """Return ``[A, S, N]``, the sums of ``values`` ``[A, S, n]`` over each cluster; NaN where one is NaN."""
        arms, seeds, samples = values.shape
        cells, clusters = values.reshape(arms * seeds, samples), self.clusters()
        position = (np.arange(len(cells))[:, None] * clusters + self.cluster).reshape(-1)
        totals = np.bincount(position, cells.reshape(-1), len(cells) * clusters)
        return totals.reshape(arms, seeds, clusters).astype(np.float64)


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

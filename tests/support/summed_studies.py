"""The sums of whole tables, for comparison with studies that are drawn as sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_bench.calibration.sums import Pairs, Sums
from fusion_bench.statistics.influence import Influences


def sums_of(studies: Sequence[Influences], pairs: Pairs) -> Sums:
    """Return the sums of whole tables, each pair by its own mean squares."""
    first = studies[0]
    squares = [
        [
            study.paired_squares(study.arms[one], study.arms[other], study.seeds_of(*study.arms))
            for one, other in zip(pairs.first, pairs.second, strict=True)
        ]
        for study in studies
    ]
    cluster, residual = (
        np.array([[float(getattr(item, name)) for item in row] for row in squares])
        for name in ("cluster", "residual")
    )
    return Sums(np.stack([study.table.mean(2) for study in studies]), cluster, residual, first.clusters())

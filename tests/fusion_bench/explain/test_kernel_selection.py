"""The selection of the positions and the group of kernels to show."""

from __future__ import annotations

import numpy as np

from fusion_bench.explain.kernel_selection import MapPosition, kernel_norms, select_positions, strongest_group


def kernels_of(taps: dict[tuple[int, int], list[float]], height: int = 6, width: int = 6) -> np.ndarray:
    """Kernels of two groups with one tap each; zero at positions that are not given."""
    found = np.zeros((2, 1, height, width), dtype=np.float32)
    for place, values in taps.items():
        found[:, 0, place[0], place[1]] = values
    return found


def test_the_first_has_the_largest_norm_and_each_further_one_is_the_farthest_from_those_before() -> None:
    kernels = kernels_of({(0, 0): [5, 0], (0, 5): [4.9, 0], (5, 0): [0, 3], (5, 5): [-2, -2]})
    # From (5, 0): the farthest are (-2, -2) at 7.3, then (0, 3) at 5 from the nearer; then nothing but zero.
    expected = [MapPosition(0, 0), MapPosition(5, 5), MapPosition(5, 0), MapPosition(0, 1)]
    assert select_positions(kernels, 4) == expected


def test_equal_kernels_are_shown_once() -> None:
    assert select_positions(np.ones((2, 9, 4, 7), dtype=np.float32), 4) == [MapPosition(0, 0)]
    assert select_positions(np.zeros((2, 9, 4, 7), dtype=np.float32), 4) == [MapPosition(0, 0)]


def test_shown_positions_do_not_lie_beside_one_another() -> None:
    kernels = np.random.default_rng(0).normal(size=(2, 9, 40, 60)).astype(np.float32)
    chosen = select_positions(kernels, 4)
    assert len(chosen) == 4
    for one in chosen:
        for other in chosen:
            if one != other:
                assert max(abs(one.row - other.row), abs(one.column - other.column)) >= 6


def test_norms_are_over_all_taps_and_groups_and_the_strongest_group_has_the_largest() -> None:
    kernels = kernels_of({(0, 0): [3, 4], (2, 2): [0, 1]})
    norms = kernel_norms(kernels)
    assert norms[0, 0] == 5 and norms[2, 2] == 1 and norms.sum() == 6
    assert strongest_group(kernels) == 1

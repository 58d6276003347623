from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fusion_bench.bench.growth import point, quantities
from fusion_bench.bench.growth.point import measured_curve, peak_mebibytes
from fusion_bench.bench.growth.quantities import QUANTITIES, Quantity
from fusion_bench.errors import FusionBenchError


def test_the_peak_holds_what_was_allocated() -> None:
    before = peak_mebibytes()
    held = np.ones((int(before) + 64) << 20, np.uint8)  # more than all that the process has had so far
    assert peak_mebibytes() > held.nbytes / (1 << 20) > before


def test_every_size_grows() -> None:
    for quantity in QUANTITIES.values():
        assert list(quantity.sizes) == sorted(set(quantity.sizes))
        assert len(quantity.sizes) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["film-words", "questions", "statistics-arms", "plan"])
def test_a_point_is_measured_in_a_process_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    smallest = replace(QUANTITIES[name], sizes=QUANTITIES[name].sizes[:1])
    monkeypatch.setattr(point, "QUANTITIES", {name: smallest})
    (measured,) = measured_curve(name).points
    assert measured.size == QUANTITIES[name].sizes[0]
    assert 0 < measured.seconds < 600
    assert measured.mebibytes > 0


def test_a_process_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown: Mapping[str, Quantity] = {"nothing": Quantity("nothing", "sizes", (1,), float)}
    monkeypatch.setattr(point, "QUANTITIES", unknown)
    with pytest.raises(FusionBenchError, match=r"the benchmark nothing at 1 failed: .*invalid choice"):
        measured_curve("nothing")


@pytest.mark.slow
def test_reports_of_toy_cells_are_timed() -> None:
    assert quantities.report_cells(2) > 0

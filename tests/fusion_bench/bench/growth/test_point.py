from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from few_processes import share_workers
from fusion_bench.bench.growth import point, quantities, studies
from fusion_bench.bench.growth.point import measured_curve, peak_mebibytes
from fusion_bench.bench.growth.quantities import QUANTITIES, Quantity
from fusion_bench.cli.main import main
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
def test_a_point_is_measured_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "film-words"
    smallest = replace(QUANTITIES[name], sizes=QUANTITIES[name].sizes[:1])
    monkeypatch.setattr(point, "QUANTITIES", {name: smallest})
    (measured,) = measured_curve(name).points
    assert measured.size == QUANTITIES[name].sizes[0]
    assert 0 < measured.seconds < 600
    assert measured.mebibytes > 0


@pytest.mark.parametrize("name", ["questions", "statistics-arms"])
def test_the_smallest_size_is_measured(name: str) -> None:
    assert 0 < QUANTITIES[name].seconds(QUANTITIES[name].sizes[0]) < 600


def test_a_process_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown: Mapping[str, Quantity] = {"nothing": Quantity("nothing", "sizes", (1,), float)}
    monkeypatch.setattr(point, "QUANTITIES", unknown)
    with pytest.raises(FusionBenchError, match=r"the benchmark nothing at 1 failed: .*invalid choice"):
        measured_curve("nothing")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands run in this process, with few workers; their names, as they come."""
    share_workers(monkeypatch)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # no processes that make data
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)  # it would outlive the test
    names: list[str] = []

    def seconds(arguments: Sequence[str]) -> float:
        assert list(arguments[:2]) == ["-m", "fusion_bench"]
        names.append(arguments[2])
        with pytest.raises(SystemExit) as ended:
            main(list(arguments[2:]))
        assert not ended.value.code
        return float(len(names))

    monkeypatch.setattr(studies, "child_cpu_seconds", seconds)
    return names


def test_a_plan_of_matched_arms_is_timed(commands: list[str]) -> None:
    assert quantities.plan_arms(2) == 1
    assert commands == ["plan"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
def test_reports_of_toy_cells_are_timed_and_their_training_is_not(commands: list[str]) -> None:
    assert quantities.report_cells(2) == 2
    assert commands == ["run", "report"]

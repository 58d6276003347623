from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_bench.bench.growth.curve import Curve, GrowthPoint
from fusion_bench.cli.bench import growth
from fusion_bench.errors import FusionBenchError


def test_table_points_and_picture_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    curve = Curve(
        "a step", "words", (GrowthPoint(2, 1.0, 0.0), GrowthPoint(8, 8.0, 0.0), GrowthPoint(32, 64.0, 1.0))
    )
    monkeypatch.setattr(growth, "measured_curve", lambda name: curve)
    growth.measure_growth(("plan",), tmp_path)
    shown = capsys.readouterr().out
    assert "1.50 (1.50)" in shown
    assert "2 to 32" in shown
    assert "1.50 (1.50)" in (tmp_path / "growth.md").read_text()
    assert json.loads((tmp_path / "growth.json").read_text())[0]["points"][1]["seconds"] == 8.0
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_an_unknown_quantity_is_told() -> None:
    with pytest.raises(FusionBenchError, match=r"there is no quantity 'plann' \(did you mean 'plan'\?\)"):
        growth.measure_growth(("plann",), None)

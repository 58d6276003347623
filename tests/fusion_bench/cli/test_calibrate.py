"""The command ``calibrate``: the standard cases, published studies, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from command_line import CommandLine
from fusion_bench.calibration.cases import Case
from fusion_bench.statistics.rates import Rates
from fusion_bench.statistics.simulation import StudyShape
from published_toys import published_toy

FEW = (Case(StudyShape(3, 3, 20, 1.6)), Case(StudyShape(3, 3, 20, 1.6), effect=8.0))


def test_the_standard_cases_are_written_with_failing_ones_first(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bold(case: Case, studies: int) -> Rates:
        return Rates(studies, 0.95, 0.01, 0.95, 0.01, 0.2, 0.01, 1.0, 0.1, 0.5, 0.02, 3.0)

    monkeypatch.setattr("fusion_bench.cli.calibrate.standard_cases", lambda: FEW)
    monkeypatch.setattr(Case, "run", bold)
    said = cli("calibrate", "--runs", tmp_path, "--workers", 1, "--studies", 200)
    written = tmp_path / "calibration" / "standard" / "calibration.md"
    assert said.code == 0 and f"Calibration: {written}" in said.out
    assert "1 cases with bounds: 0 hold, 0 hold within two Monte-Carlo errors, 1 fail." in said.out
    text = written.read_text()
    failing = text.index("## Cases that fail")
    assert failing < text.index("20.0 ± 1.0 %") < text.index("## Worst values") < text.index("## Power")
    table = pd.read_csv(written.with_name("calibration.csv"))
    assert table["held"].fillna("").tolist() == ["fails", ""]
    assert table["fails"].fillna("").tolist() == ["family_error", ""]
    assert table[["arms", "seeds", "clusters", "studies"]].to_numpy().tolist() == [[3, 3, 20, 200]] * 2


def test_a_published_study_is_compared_with_itself_and_simulated(cli: CommandLine, tmp_path: Path) -> None:
    folder = published_toy(tmp_path / "toy", seeds=6)
    out = tmp_path / "out"
    options = ("--runs", tmp_path / "runs", "--workers", 1, "--studies", 100, "--out", out)
    shown = json.loads(cli("calibrate", folder, *options, "--json").out)
    own = shown["own_cells"]
    assert (own["arms"], own["seeds"], own["cells"], shown["left_out"]) == (3, 6, 18, [])
    assert 0 <= own["family_error"] <= 1 and 0.5 < own["coverage"] <= 1
    assert {case["clusters"] for case in shown["cases"]} == {40}
    assert {case["arms"] for case in shown["cases"]} == {3} and {
        case["seeds"] for case in shown["cases"]
    } == {6}
    effects = [case["effect"] for case in shown["cases"] if case["effect"]]
    assert effects[1:] == [2.0, 4.0, 8.0] and effects[0] > 0
    text = (out / "calibration.md").read_text()
    assert "All splits use the same 18 cells." in text and "Standard deviations estimated" in text
    assert shown["written"] == str(out / "calibration.md")


def test_arms_and_seeds_of_a_calibrated_study_are_those_that_its_report_compares(
    cli: CommandLine, tmp_path: Path
) -> None:
    """One arm lacks seeds, and the reference has more than the others."""
    arms = ("concat", "film", "mutan", "san", "laconv")
    seeds = {"concat": 6, "film": 2, "mutan": 6, "san": 6, "laconv": 12}
    folder = published_toy(tmp_path / "toy", seeds, arms)
    out = tmp_path / "out"
    options = ("--runs", tmp_path / "runs", "--workers", 1, "--studies", 100, "--out", out)
    shown = json.loads(cli("calibrate", folder, *options, "--json").out)
    own = shown["own_cells"]
    assert (own["arms"], own["seeds"], own["reference_seeds"], own["cells"]) == (4, 6, 12, 30)
    assert {(case["arms"], case["seeds"], case["reference_seeds"]) for case in shown["cases"]} == {(4, 6, 12)}
    assert shown["left_out"] == ["film"]
    text = (out / "calibration.md").read_text()
    assert "**Left out**, because they lack seeds of the others: `film`." in text
    assert "The 6 seeds (12 of the reference) of 4 arms were split" in text


def test_too_few_seeds_are_told_and_the_simulations_are_made(cli: CommandLine, tmp_path: Path) -> None:
    folder = published_toy(tmp_path / "toy", seeds=3)
    said = cli("calibrate", folder, "--runs", tmp_path / "runs", "--workers", 1, "--studies", 100)
    assert said.code == 0
    assert "3 of its arms are compared on 3 seeds, and a split needs" in said.out
    text = (tmp_path / "runs" / "calibration" / "toy" / "calibration.md").read_text()
    assert "Not done: the seeds of this study cannot be split" in text
    refused = cli(
        "calibrate", published_toy(tmp_path / "two", seeds=2), "--runs", tmp_path / "runs"
    ).refusal()
    assert "no study of this shape can be simulated" in refused and "compared on 2 seeds" in refused


def test_what_is_no_study_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    assert "is no published report" in cli("calibrate", tmp_path).refusal()
    assert "absent.yaml" in cli("calibrate", tmp_path / "absent.yaml").refusal()
    assert "100" in cli("calibrate", "--studies", 3).refusal()


def test_a_stopped_calibration_says_how_to_go_on(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(case: Case, studies: int) -> Rates:
        raise KeyboardInterrupt

    monkeypatch.setattr(Case, "run", stopped)
    said = cli("calibrate", "--runs", tmp_path, "--workers", 1)
    assert said.code == 130 and "finished cases are kept" in said.err
    assert not (tmp_path / "calibration").exists()

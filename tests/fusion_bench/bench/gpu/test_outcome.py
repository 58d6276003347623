"""What a part of the GPU check leaves: whole files after every row, and an exit code for missed goals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusion_bench.bench.gpu.outcome import PartOutcome
from fusion_bench.bench.targets import Line


@dataclass(frozen=True)
class Value:
    name: str
    seconds: float


def test_every_row_is_in_the_files_at_once(tmp_path: Path) -> None:
    outcome = PartOutcome(tmp_path, "part", "a machine", ("name", "seconds"))
    for number in (1, 2):
        outcome.add((f"row {number}", f"{number}.0"), Value(f"row {number}", number))
        written = json.loads((tmp_path / "part.json").read_text(encoding="utf-8"))
        assert [row["seconds"] for row in written["rows"]] == list(range(1, number + 1))
        assert f"| row {number} | {number}.0 |\n" in (tmp_path / "part.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.json", "part.md"]


@pytest.mark.parametrize(
    ("measured", "code", "said"), [(0.95, 0, "reached"), (0.8, 1, "MISSED"), (float("nan"), 1, "MISSED")]
)
def test_a_missed_goal_is_told_and_gives_exit_code_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], measured: float, code: int, said: str
) -> None:
    outcome = PartOutcome(tmp_path, "part", "a machine", ("name",))
    outcome.add(("row",), Value("row", 1.0))
    outcome.judge([Line("training", "busy", 0.9, "higher", measured, "of 1")])
    assert outcome.end() == code
    sentence = f"- training: busy {measured:.3g} of 1, at least 0.9 of 1: {said}\n"
    assert capsys.readouterr().out.endswith(sentence)
    assert json.loads((tmp_path / "part.json").read_text())["goals"][0]["reached"] == (code == 0)

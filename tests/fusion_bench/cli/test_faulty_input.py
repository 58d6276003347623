"""Each faulty study file and call gets exit code 2 and one sentence that says what is wrong and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import CommandLine
from faulty_calls import FAULTS
from faulty_input import GOOD, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_gets_one_sentence(fault: Fault, tmp_path: Path, cli: CommandLine) -> None:
    study = fault.write(tmp_path)
    answer = cli(*fault.command(study)).refusal()
    *before, sentence = answer.splitlines()
    assert bool(before) == fault.prints, before
    assert len(sentence) <= 400, sentence
    position = 0
    for words in (part.format(folder=tmp_path, study=study) for part in fault.words):
        assert words in sentence[position:], f"{words!r} is not in: {sentence}"
        position = sentence.index(words, position) + len(words)
    assert not list(tmp_path.glob("runs/cells/*/DONE")), "nothing is trained before the fault is shown"
    assert not list(tmp_path.glob("runs/cells/*/failed.json"))


def test_the_good_study_is_good(tmp_path: Path, cli: CommandLine) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    assert cli("plan", tmp_path / "good.yaml", "--runs", tmp_path / "runs").code == 0


def test_one_hundred_faults_of_different_names() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 100

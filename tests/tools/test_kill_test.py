"""The kill test in its short form, and that it sees what it is there to see."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

import toys
from kill_test import KillTest, problems_of, run_kill_test, train_undisturbed, write_study


@pytest.fixture(autouse=True)
def toys_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.pathsep.join([str(Path(toys.__file__).parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)


@pytest.mark.slow
def test_a_few_kills_cost_nothing(tmp_path: Path) -> None:
    """On Ray, where it is installed: ``test_kills.py`` holds the same of the workers of one host."""
    executor = "ray" if find_spec("ray") else "local"
    asked = KillTest(tmp_path / "kills", executor, kills=2, coordinators=1, cells=4, pause=2, epochs=2)
    count = run_kill_test(asked)
    assert count.wrong == []
    assert count.kills.total() == 2


def test_it_sees_what_is_lost_failed_doubled_or_changed(tmp_path: Path) -> None:
    study = write_study(KillTest(tmp_path / "kills", "local", kills=0, cells=4, epochs=1))
    undisturbed, runs = tmp_path / "undisturbed", tmp_path / "runs"
    train_undisturbed(study, undisturbed)
    shutil.copytree(undisturbed, runs)
    assert list(problems_of(study, runs, undisturbed)) == []
    lost, failed, doubled, changed = sorted((runs / "cells").iterdir())
    (lost / "DONE").unlink()
    (failed / "failed.json").write_text("no luck")
    (doubled / "replaced").mkdir()
    (changed / "result.json").write_text("{}")
    (runs / "studies" / "killed" / "journal.log").unlink()
    shutil.copytree(lost, runs / "cells" / "another")
    found = list(problems_of(study, runs, undisturbed))
    for problem in (
        "it has no outcome",
        "it failed: no luck",
        "it has two outcomes",
        "result.json has other bytes",
        "there are 5 folders of cells, not 4",
        "the journal has 0 trials of 0 cells, not one for each of 4",
    ):
        assert sum(problem in line for line in found) == 1

"""What ``cells clean`` and ``merge`` say, and their exit codes."""

from __future__ import annotations

import re
from pathlib import Path

from command_line import CommandLine, finished, train
from fusion_bench.storage import read_json, write_json
from toys import study_file


def test_cells_are_counted_removed_and_merged_back(cli: CommandLine, tmp_path: Path) -> None:
    file, runs, other = study_file(tmp_path), tmp_path / "runs", tmp_path / "other"
    train(file, runs)
    assert "name a study, --stale" in cli("cells", "clean", "--runs", runs).refusal()

    merged = cli("merge", runs, other)
    assert merged.code == 0
    assert merged.out == (
        "4 cells copied, 0 already there, 0 with another result there, 0 not copied, 0 not finished\n"
    )
    assert finished(other) == finished(runs)

    said = cli("cells", "clean", "--stale", "--runs", runs)
    assert said.out == "would remove 0 cells\n"
    said = cli("cells", "clean", file, "--runs", runs)
    assert re.fullmatch(r"would remove 4 cells, 0\.\d MB: 4 done; add --yes to remove them\n", said.out)
    assert len(finished(runs)) == 4
    said = cli("cells", "clean", file, "--runs", runs, "--yes")
    assert re.fullmatch(r"removed 4 cells, 0\.\d MB: 4 done\n", said.out)
    assert not finished(runs)

    assert cli("merge", other, runs).code == 0
    changed = next((other / "cells").iterdir())
    write_json(changed / "provenance.json", {**read_json(changed / "provenance.json"), "torch": "1.0"})
    said = cli("merge", other, runs)
    assert said.code == 1
    assert said.out.startswith("0 cells copied, 3 already there, 1 with another result there")
    assert (
        f"cell {changed.name}: another result is in {runs}, which is kept: its version of torch" in said.err
    )
    assert "has no folder 'cells'" in cli("merge", tmp_path / "nothing", runs).refusal()

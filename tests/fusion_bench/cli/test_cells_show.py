"""``cells show`` prints what a cell was asked and the module text that it carries, and runs nothing of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from command_line import CommandLine
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cli.cells.show import visible
from fusion_bench.registry import Target
from fusion_bench.training.config import CellConfig, Component
from toys import toy_config

TEXT = "from pathlib import Path\nPath('ran').touch()\nraise SystemExit('the module ran')\nclass Gate: ...\n"


def cell_with(folder: Path, **changes: Component | CellConfig) -> CellFolder:
    config = replace(toy_config(), **changes)
    written = cell_folder(folder, config.id)
    written.write_config(config)
    return written


def carried(text: str) -> Component:
    return Component(Target("file:Gate", text), {"gain": 2.0})


def test_the_text_of_every_carried_module_is_shown_and_does_not_run(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = TEXT.replace("Gate", "Encoder")
    first = replace(toy_config(), arm=carried(TEXT.replace("Gate", "First")))
    cell = cell_with(
        tmp_path / "bundle", arm=carried(TEXT), text=Component(Target("file:Encoder", encoder)), start=first
    )
    said = cli("cells", "show", cell.path)
    assert said.code == 0, said.err
    for name, place in (("Gate", "arm.target"), ("Encoder", "text.target"), ("First", "start.arm.target")):
        assert (
            f"({place}), which runs when this cell is trained ---\n{TEXT.replace('Gate', name)}" in said.out
        )
    assert '"gain": 2.0' in said.out
    assert not (tmp_path / "ran").exists()


def test_a_cell_is_found_by_its_id(tmp_path: Path, cli: CommandLine) -> None:
    cell = cell_with(tmp_path)
    said = cli("cells", "show", cell.id, "--runs", tmp_path)
    assert '"reference": "toys:Product"' in said.out
    assert "carries no module text" in said.out


def test_text_cannot_steer_the_terminal(tmp_path: Path, cli: CommandLine) -> None:
    sly = "x = 1  # \x1b[2K\x1b]0;owned\x07 \N{RIGHT-TO-LEFT OVERRIDE}\n\tclass Gate: ...\n"
    cell = cell_with(tmp_path, arm=carried(sly))
    out = cli("cells", "show", cell.path).out
    assert not {"\x1b", "\x07", "\N{RIGHT-TO-LEFT OVERRIDE}"} & set(out)
    assert "x = 1  # \\x1b[2K\\x1b]0;owned\\x07 \\u202e\n\tclass Gate: ..." in out
    assert visible("Größe 実験 \N{GRINNING FACE}\n") == "Größe 実験 \N{GRINNING FACE}\n"
    assert visible("\udc80\r") == "\\udc80\\r"


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", "{" * 50_000])
def test_a_damaged_cell_is_one_sentence(text: str, tmp_path: Path, cli: CommandLine) -> None:
    cell = cell_with(tmp_path)
    (cell.path / "config.json").write_text(text)
    assert len(cli("cells", "show", cell.path).refusal().splitlines()) == 1


def test_a_folder_that_is_no_cell_is_not_to_be_deleted(tmp_path: Path, cli: CommandLine) -> None:
    refusal = cli("cells", "show", tmp_path).refusal()
    assert refusal == f"{tmp_path} is no folder of a cell: it has no config.json"


def test_a_cell_that_is_not_there_is_one_sentence(tmp_path: Path, cli: CommandLine) -> None:
    assert "there is no cell nowhere in" in cli("cells", "show", "nowhere", "--runs", tmp_path).refusal()

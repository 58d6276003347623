"""Packages add commands through an entry point; a package is imported only when its command is used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from fusion_bench.cli import main as command_line
from fusion_bench.cli import plugin_commands

Offer = Callable[..., None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Pretend that a package on the path declares these entry points."""
    (tmp_path / "their_commands.py").write_text(
        "def weigh(stones: int, heavy: bool = False) -> None:\n"
        '    """Weigh stones."""\n'
        "    print('weighed', stones, heavy)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def declare(**names: str) -> None:
        points = [
            EntryPoint(name.replace("_", " "), value, plugin_commands.GROUP) for name, value in names.items()
        ]
        monkeypatch.setattr(
            plugin_commands, "entry_points", lambda group: EntryPoints(points).select(group=group)
        )
        plugin_commands.package_commands.cache_clear()

    yield declare
    plugin_commands.package_commands.cache_clear()
    for name in ("their_commands", "their_faults"):
        sys.modules.pop(name, None)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    return int(ended.value.code or 0)


def test_an_offered_command_runs_under_the_words_of_its_name(
    offer: Offer, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(**dict.fromkeys(("bench_weigh", "ponder", "data_weigh", "cells_weigh"), "their_commands:weigh"))
    assert run("bench", "weigh", "3", "--heavy") == 0
    assert run("ponder", "4") == 0
    assert run("data", "weigh", "5") == run("cells", "weigh", "6") == 0
    assert capsys.readouterr().out.splitlines() == [
        "weighed 3 True",
        "weighed 4 False",
        "weighed 5 False",
        "weighed 6 False",
    ]


def test_help_lists_it_and_a_group_of_commands_imports_nothing(
    offer: Offer, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(bench_weigh="their_commands:weigh")
    assert run("--help") == 0
    assert "their_commands" not in sys.modules
    capsys.readouterr()
    assert run("bench", "--help") == 0
    assert "Weigh stones." in capsys.readouterr().out


FAULTS = {
    "nothing_here": ("", "module 'their_faults' has no attribute 'weigh'"),
    "imports": ("import no_such_package\n", "their_faults.py, line 1: there is no module 'no_such_package'"),
    "exits": (
        "import sys\nsys.exit('bye')\n",
        "their_faults.py, line 2: it ends the program (sys.exit('bye'))",
    ),
    "no_python": ("\ndef weigh(:\n", "their_faults.py, line 2: invalid syntax"),
    "annotation": ("def weigh(stones: int | str) -> None: ...\n", "support Union types"),
}


@pytest.mark.parametrize(("text", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_command_that_cannot_be_imported_is_one_sentence(
    offer: Offer, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    (tmp_path / "their_faults.py").write_text(text)
    offer(bench_weigh="their_faults:weigh", bench_ponder="their_commands:weigh", broken="their_faults:weigh")
    assert run("bench", "weigh", "3", "--heavy") == 2
    message = capsys.readouterr().err
    assert "the command 'bench weigh' of their_faults:weigh cannot be imported" in message
    assert reason in message
    assert len(message.splitlines()) == 1
    # The other commands, and the lists of commands, are as before.
    assert run("bench", "ponder", "3") == 0
    capsys.readouterr()
    for arguments in (("--help",), ("bench", "--help"), ("bench", "weigh", "--help")):
        assert run(*arguments) == 0
        assert "Cannot be used" in capsys.readouterr().out


def test_two_packages_with_one_command_lose_that_command_alone(
    offer: Offer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer()
    twice = [EntryPoint("bench weigh", f"{name}:weigh", plugin_commands.GROUP) for name in ("ours", "theirs")]
    third = EntryPoint("bench ponder", "their_commands:weigh", plugin_commands.GROUP)
    points = EntryPoints([*twice, third])
    monkeypatch.setattr(plugin_commands, "entry_points", lambda group: points.select(group=group))
    assert run("bench", "weigh", "3") == 2
    message = capsys.readouterr().err
    assert message.startswith("two packages have the command 'bench weigh': ours:weigh")
    assert "and theirs:weigh" in message
    assert run("bench", "ponder", "3") == 0

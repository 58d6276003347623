"""A fault in a module file is one sentence with file and line, whichever command meets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from command_line import CommandLine
from toys import STUDY, study_file

GATE = """\
import sys
from typing import ClassVar
from torch import nn
from fusion_bench.contract import Choice, Citation, FusionModule

class Gate(FusionModule):
    citation: ClassVar = Citation("Gate", "Nobody", "tests", 2026, "")
    width: ClassVar = None
    listens: ClassVar = "sentence"
    position_code: ClassVar = "none"

    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {"hidden": Choice((4, 8))}

    def __init__(self, visual_dim: int, language_dim: int, *, hidden: int = 8) -> None:
        super().__init__()
        self.out_dim = visual_dim
        self.gate = nn.Sequential(nn.Linear(language_dim, hidden), nn.ReLU(), nn.Linear(hidden, visual_dim))

    def forward(self, visual, language):
        return visual * self.gate(language.sentence)[:, :, None, None]
"""
"""A module in one file; every fault below is one change to it."""

PARSES = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--size', type=int{})\n"
AT_IMPORT = {
    "an argument that must be given": (
        PARSES.format(", required=True") + "parser.parse_args()\n" + GATE,
        "line 4: it ends the program (sys.exit(2)); a module that is imported may not",
    ),
    "exit": (GATE + "\nsys.exit()\n", "line 24: it ends the program (sys.exit(None))"),
    "a missing package": ("import no_such_package\n" + GATE, "line 1: there is no module 'no_such_package'"),
    "a missing name": ("from torch import Tensr\n" + GATE, "line 1: ImportError: cannot import name 'Tensr'"),
    "no citation": (
        GATE.replace("    citation", "    quotation"),
        "line 6: TypeError: Gate does not declare citation",
    ),
    "a width that is no width": (
        GATE.replace("width: ClassVar = None", "width: ClassVar = 8"),
        "line 6: TypeError: Gate declares width = 8; see fusion_bench.contract.FusionModule",
    ),
    "a word nobody listens to": (
        GATE.replace('listens: ClassVar = "sentence"', 'listens: ClassVar = "all"'),
        "line 6: TypeError: Gate declares listens = 'all'; see fusion_bench.contract.FusionModule",
    ),
    "no Python": (GATE.replace("super()", "super("), "line 17: invalid syntax"),
    "an error": (GATE + "\n1 / 0\n", "line 24: ZeroDivisionError: division by zero"),
}


def with_module(folder: Path, text: str | bytes, more: str = "") -> tuple[Path, Path]:
    """A toy study with the module in ``gate.py``, and that file."""
    file = folder / "gate.py"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    arm = STUDY.replace('weaker: {module: "toys:Product", gain: 0.5}', "gate: {module: gate.py}")
    return study_file(folder, arm + more), file


@pytest.mark.parametrize(("text", "sentence"), AT_IMPORT.values(), ids=AT_IMPORT)
def test_every_command_tells_the_line(tmp_path: Path, cli: CommandLine, text: str, sentence: str) -> None:
    study, file = with_module(tmp_path, text)
    runs = ("--runs", tmp_path / "runs")
    for arguments in (
        ("plan", study, "--json", *runs),
        ("run", study, "--device", "cpu", *runs),
        ("run", study, "--smoke", *runs),
        ("report", study, *runs),
        ("cells", "ls", study, *runs),
        ("check", file, "--json"),
        ("list", "modules", file),
        ("new", "study", tmp_path / "new.yaml", "--module", file),
    ):
        result = cli(*arguments)
        refusal = result.refusal().splitlines()[-1]  # argparse prints its own lines before
        assert f"{file}, {sentence}" in refusal, arguments
        assert result.out == ""
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "new.yaml").exists()


def test_latin_1_is_refused_by_its_line_and_read_with_its_name(tmp_path: Path, cli: CommandLine) -> None:
    text = GATE.replace('"Nobody"', '"Andr\u00e9"')
    study, file = with_module(tmp_path, text.encode("latin-1"))
    assert f"{file}, line 7: this is not UTF-8 text; save the file as UTF-8" in cli("plan", study).refusal()
    assert f"{file}, line 7: this is not UTF-8 text" in cli("check", file).refusal()
    study, file = with_module(tmp_path, b"# coding: latin-1\n" + text.encode("latin-1"))
    assert cli("plan", study).code == 0


LATER = {
    "a constructor that ends the program": (
        GATE.replace("self.out_dim = visual_dim", "sys.exit(4)"),
        "",
        "arms.gate: Gate refuses these settings: it ends the program (sys.exit(4))",
    ),
    "a constructor that fails without a word": (
        GATE.replace("self.out_dim = visual_dim", "raise NotImplementedError"),
        "",
        "arms.gate: Gate refuses these settings: NotImplementedError",
    ),
    "a search space that fails": (
        GATE.replace('return {"hidden"', 'return {"hidden": 1 / 0, "other"'),
        "search: {trials: 2}\n",
        "arms.gate: the search space that Gate declares cannot be used: ZeroDivisionError: division by zero",
    ),
    "a search space that ends the program": (
        GATE.replace('return {"hidden": Choice((4, 8))}', "sys.exit(1)"),
        "search: {trials: 2}\n",
        "arms.gate: the search space that Gate declares cannot be used: it ends the program (sys.exit(1))",
    ),
    "a search space of plain values": (
        GATE.replace("Choice((4, 8))", "[4, 8]"),
        "search: {trials: 2}\n",
        "hidden is [4, 8], which is none of the spaces of fusion_bench.contract (Float, Int or Choice)",
    ),
    "a type hint that is no type": (
        GATE.replace("hidden: int = 8", 'hidden: "torch.Tensr" = 8'),
        "",
        "the type hints of Gate.__init__ cannot be read: NameError: name 'torch' is not defined",
    ),
    "a type hint that fails": (
        GATE.replace("hidden: int = 8", 'hidden: "nn.Nothing" = 8'),
        "",
        "the type hints of Gate.__init__ cannot be read: AttributeError: module 'torch.nn' has no attribute",
    ),
    "no out_dim": (
        GATE.replace("self.out_dim = visual_dim", "pass"),
        "",
        "arms.gate: the constructor of Gate does not set out_dim",
    ),
    "a default of another type": (
        GATE.replace("hidden: int = 8", "hidden: int = nn"),
        "",
        "Gate: the default of 'hidden', <module 'torch.nn'",
    ),
    "no module": ("class Gate: ...\n", "", "Gate is not a FusionModule"),
    "no method": (GATE.replace("def forward", "def backward"), "", "Gate does not define forward"),
}


@pytest.mark.parametrize(("text", "more", "sentence"), LATER.values(), ids=LATER)
def test_what_shows_only_when_the_class_is_used(
    tmp_path: Path, cli: CommandLine, text: str, more: str, sentence: str
) -> None:
    study, _ = with_module(tmp_path, text, more)
    refusal = cli("plan", study).refusal()
    assert sentence in refusal
    assert f"{study}, line 14: arms.gate" in refusal
    assert len(refusal.splitlines()) == 1


DATA = """\
from fusion_bench.samples.dataset import DataSet

class Mine(DataSet):
    homepage = "https://example.org"

    def __init__(self, root):
        pass

    def prepare(self, workers=1): ...
    def split(self, name): ...
"""


def test_a_data_set_without_its_declarations(tmp_path: Path, cli: CommandLine) -> None:
    (tmp_path / "mine.py").write_text(DATA)
    study = study_file(tmp_path, STUDY.replace('"toys:Squares"', "mine.py"))
    lacking = "does not define cluster, manifest, name, tasks, version"
    assert f"{study}, line 5: data.name: Mine {lacking}" in cli("plan", study).refusal()
    for command in ("show", "verify"):
        assert lacking in cli("data", command, tmp_path / "mine.py", "--root", tmp_path).refusal()


def test_a_module_that_parses_and_prints_disturbs_no_command(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PARSES.format(", default=8") + "print('hello', parser.parse_args().size)\n" + GATE
    text = text.replace(
        "self.out_dim = visual_dim", "print('built', parser.parse_args()); self.out_dim = visual_dim"
    )
    text = text.replace(
        "        return visual *", "        print('called', parser.parse_args())\n        return visual *"
    )
    study, file = with_module(tmp_path, text, "budget: {match: flops}\n")
    monkeypatch.setattr(sys, "argv", ["fusion-bench", "plan", "study.yaml", "--json"])
    planned = cli("plan", study, "--json")
    assert json.loads(planned.out)["study"] == "toy"
    assert "hello 8" in planned.err and "built" in planned.err and "called" in planned.err
    checked = cli("check", file, "--json")
    assert json.loads(checked.out)["module"] == str(file)
    assert "called" in checked.err

"""``fusion-bench check`` prints a line per check and ends with exit code 1 if a check fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from fusion_bench.checking import kit
from fusion_bench.checking.kit import CHECKS
from fusion_bench.cli.check import check_module
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import UnknownNameError

MODULE = '''
from torch import nn
from fusion_bench.contract import Citation, FusionModule


class Gate(FusionModule):
    """A sigmoid gate per channel, made from the sentence."""

    citation = Citation("My gate", "Me", "in preparation", 2026, "https://example.org")
    width = None
    listens = "sentence"
    position_code = "none"

    @classmethod
    def search_space(cls, visual_dim, language_dim):
        return {}

    def __init__(self, visual_dim, language_dim):
        super().__init__()
        self.out_dim = visual_dim
        self.gate = nn.Linear(language_dim, visual_dim)

    def forward(self, visual, language):
        return visual * self.gate(language.sentence)[:, :, None, None]
'''


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"declarations", "shape", "registered", "reacts"}
    monkeypatch.setattr(kit, "CHECKS", tuple(check for check in CHECKS if check.name in chosen))


def write(folder: Path, text: str = MODULE) -> str:
    file = folder / "gate.py"
    file.write_text(text)
    return str(file)


def test_a_file_given_by_path_is_checked_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_module(file := write(tmp_path), as_json=False)
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == [check.name for check in CHECKS]
    assert {line.split()[0] for line in lines} == {"pass", "skip"}
    assert last == f"{file}: {len(CHECKS) - 1} passed, 0 failed, 1 skipped"


@pytest.mark.usefixtures("few_checks")
def test_a_failure_ends_with_1_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, MODULE.replace("self.gate(language.sentence)", "self.gate(0 * language.sentence)"))
    with pytest.raises(typer.Exit) as ended:
        check_module(file, as_json=False)
    assert ended.value.exit_code == 1
    out = capsys.readouterr().out
    assert "fail  reacts: other sentence, same output; use the sentence, or do not declare to" in out


@pytest.mark.usefixtures("few_checks")
def test_a_module_that_ends_the_program_ends_its_check_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, MODULE.replace("return visual *", "raise SystemExit(5)\n        return visual *"))
    with pytest.raises(typer.Exit) as ended:
        check_module(file, as_json=False)
    assert ended.value.exit_code == 1
    out = capsys.readouterr().out
    assert "fail  shape: it ends the program (sys.exit(5)); make the forward run on these inputs" in out
    assert out.splitlines()[-1] == f"{file}: 1 passed, 1 failed, 2 skipped"


@pytest.mark.usefixtures("few_checks")
def test_json_holds_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_module(file := write(tmp_path), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["module"], printed["passed"]) == (file, True)
    assert printed["checks"][-1] == {
        "check": "reacts",
        "status": "pass",
        "detail": "to image, sentence",
        "remedy": "",
        "blocked": False,
    }


def test_what_is_not_a_module_is_refused() -> None:
    with pytest.raises(FusionBenchError, match="is not a fusion module"):
        check_module("torch.nn:Linear", as_json=False)
    with pytest.raises(UnknownNameError, match="did you mean 'film'"):
        check_module("filn", as_json=False)

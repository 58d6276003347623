"""``fusion-bench new``: what it writes passes ``check`` and ``plan`` as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from command_line import CommandLine
from fusion_bench import load_study


def test_a_new_module_passes_the_contract_kit(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "my_gate.py"
    said = cli("new", "module", file)
    assert said.code == 0, said.err
    assert said.out == (
        f"Written: {file}\nNext, check that it keeps the contract: fusion-bench check {file}\n"
    )
    assert "class MyGate(FusionModule):" in file.read_text()
    checked = cli("check", file)
    assert checked.code == 0, checked.out
    assert "0 failed" in checked.out


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("gate.py", "Gate"), ("my-gate.v2.py", "MyGateV2"), ("3d.py", "MyModule"), ("class.py", "Class")],
)
def test_the_class_is_named_after_the_file(
    cli: CommandLine, tmp_path: Path, name: str, class_name: str
) -> None:
    assert cli("new", "module", tmp_path / name).code == 0
    text = (tmp_path / name).read_text()
    assert f"class {class_name}(FusionModule):" in text
    compile(text, name, "exec")


def test_a_new_study_can_be_planned(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "studies" / "my study.yaml"
    said = cli("new", "study", file)
    schema = file.parent / "schema.json"
    assert said.out == (
        f"Written: {file}\nWritten: {schema} (editors check and complete the study with it)\n"
        f"Next, see what it trains: fusion-bench plan '{file}'\n"
    )
    assert file.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
    assert Draft202012Validator(json.loads(schema.read_text())).is_valid(YAML(typ="safe").load(file))
    plan = json.loads(cli("plan", file, "--json", "--runs", tmp_path / "runs").out)
    assert (plan["study"], plan["reference"]) == ("my_study", "film")
    assert {cell["arm"] for cell in plan["cells"] if cell["role"] != "control"} == {"laconv", "film"}
    assert {cell["seed"] for cell in plan["cells"]} == {0, 1, 2, 3, 4}


def test_a_schema_that_is_there_is_left_as_it_is(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text("{}")
    assert "schema.json" not in cli("new", "study", tmp_path / "own.yaml").out
    assert (tmp_path / "schema.json").read_text() == "{}"


def test_every_line_of_a_new_study_says_what_to_change(cli: CommandLine, tmp_path: Path) -> None:
    cli("new", "study", tmp_path / "own.yaml")
    lines = (tmp_path / "own.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        key = line and not line.startswith(("#", " "))
        if key and "#" not in line:  # a section: the comment stands above or at its keys
            inside = lines[number + 1]
            assert lines[number - 1].startswith("#") or "#" in inside, line


def test_the_lines_that_a_new_study_offers_are_right(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    cli("new", "study", file)
    text = file.read_text()
    assert text.count("\n# budget:") == text.count("\n# report:") == 1
    file.write_text(text.replace("\n# budget:", "\nbudget:").replace("\n# report:", "\nreport:"))
    study = load_study(file)
    assert study.margin == 0.01
    assert study.budget is not None
    assert study.budget.match == "params"


def test_a_new_study_compares_the_module_that_is_named(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli("new", "module", "my_gate.py")
    assert cli("new", "study", "studies/own.yaml", "--module", "my_gate.py").code == 0
    plan = json.loads(cli("plan", "studies/own.yaml", "--json").out)
    assert "my_gate" in {cell["arm"] for cell in plan["cells"]}  # found from the study's own folder
    cli("new", "study", "registered.yaml", "--module", "concat")
    assert "concat" in {arm.label for arm in load_study("registered.yaml").arms}
    cli("new", "study", "chosen.yaml", "--module", "my_gate.py:MyGate")
    assert "my_gate" in {arm.label for arm in load_study("chosen.yaml").arms}


def test_what_cannot_be_written_is_refused_in_one_sentence(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, name in (("module", "own.py"), ("study", "own.yaml")):
        Path(name).write_text("mine")
        assert cli("new", kind, name).refusal() == (
            f"{name} exists already and is left as it is; write another name, or remove the file"
        )
        assert Path(name).read_text() == "mine"
    assert cli("new", "module", "gate.txt").refusal() == "gate.txt must end in .py; write another name"
    assert "must end in .yaml or .yml" in cli("new", "study", "study.py").refusal()
    assert "did you mean 'film'" in cli("new", "study", "a.yaml", "--module", "flim").refusal()
    assert (
        "cannot read the module file gone.py"
        in cli("new", "study", "a.yaml", "--module", "gone.py").refusal()
    )
    assert "compares laconv anyway" in cli("new", "study", "a.yaml", "--module", "laconv").refusal()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.py", "own.yaml"]

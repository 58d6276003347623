"""Every code block of the README and of ``docs/`` is held: study files load, commands parse, Python runs."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import textwrap
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from ruamel.yaml import YAML

from command_line import CommandLine, command_line, train
from fusion_bench.checking import plugin
from fusion_bench.cli.main import app
from fusion_bench.contract import FusionModule, TextEncoder, VisionLanguageNetwork
from fusion_bench.errors import StudyFileError
from fusion_bench.registries import DATASETS, MODULES, NETWORKS, TASKS, TEXT_ENCODERS
from fusion_bench.registry import Entry, Target
from fusion_bench.samples.dataset import DataSet
from fusion_bench.spec.load import read_study
from fusion_bench.tasks.task import Task
from ray_commands import check_ray

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FENCE = re.compile(r"^( *)```(\S*)$")
MARK = re.compile(r"^ *<!-- (.*) -->$")
GROUPS = {
    *(f"fusion_bench.{kind}" for kind in ("modules", "networks", "text_encoders", "datasets", "tasks")),
    "fusion_bench.commands",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page and line, its language, its text, and the comment before it.

    The comment says what is special: ``file: NAME`` (other blocks name this file), ``fragment of: FILE`` (keys of a
    study that extends FILE), ``compile`` (it cannot run here), ``smoke`` (the test of smoke runs runs
    its commands).
    """

    page: str
    line: int
    language: str
    text: str
    mark: str


def _blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        end = next(n for n in range(number + 1, len(lines)) if lines[n].strip() == "```")
        above = MARK.match(lines[number - 1]) if number else None
        text = textwrap.dedent("\n".join(lines[number + 1 : end])) + "\n"
        name = page.relative_to(ROOT).as_posix()
        found.append(Block(name, number + 1, opening[2], text, above[1] if above else ""))
        number = end + 1
    return found


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in _blocks(page)]
FILES = {block.mark.removeprefix("file: "): block.text for block in BLOCKS if block.mark.startswith("file: ")}


def _of(language: str) -> Any:
    chosen = [block for block in BLOCKS if block.language == language]
    return pytest.mark.parametrize("block", chosen, ids=[f"{b.page}:{b.line}" for b in chosen])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with every file that the pages write, and the quickstart's study."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    quickstart = (ROOT / "studies" / "quickstart.yaml").read_text(encoding="utf-8")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "quickstart.yaml").write_text(quickstart, encoding="utf-8")
    without = re.sub(r"^text:\n(?:  .*\n)+", "", quickstart, flags=re.MULTILINE)
    (tmp_path / "without_text.yaml").write_text(without, encoding="utf-8")
    _write_questions(tmp_path / "my_files")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)  # it would outlive the test
    return command_line(capsys)


def _write_questions(root: Path) -> None:
    """Twelve images a split, in the layout that the page about data sets describes."""
    (root / "images").mkdir(parents=True)
    for shade, split in enumerate(("train", "val", "test")):
        rows = []
        for number in range(12):
            name = f"{split}_{number}.png"
            picture = np.full((32, 32, 3), 40 + shade, dtype=np.uint8)
            picture[4 : 12 + number, 4:20, number % 3] = 230
            Image.fromarray(picture).save(root / "images" / name)
            rows.append((f"{split}-{number}", name, "how many squares?", str(number % 3), "count"))
        table = pd.DataFrame(rows, columns=["id", "image", "question", "answer", "kind"])
        table.to_csv(root / f"{split}.csv", index=False)


def test_every_block_has_a_language_that_is_held_here() -> None:
    known = {"yaml", "console", "python", "toml", "text"}
    unknown = [
        block for block in BLOCKS if block.language not in known and not block.language.startswith("{")
    ]
    assert not unknown
    marks = {block.mark.partition(":")[0] for block in BLOCKS}
    assert marks <= {"", "file", "fragment of", "compile", "smoke"}


@_of("text")
def test_commands_stand_in_console_blocks_where_they_are_checked(block: Block) -> None:
    assert "$ " not in block.text


@_of("yaml")
def test_study_files_load(block: Block, folder: Path) -> None:
    base = block.mark.removeprefix("fragment of: ") if block.mark.startswith("fragment of") else ""
    head = f"version: 1\nextends: {base}\nname: fragment\n" if base else ""
    (folder / "study.yaml").write_text(head + block.text, encoding="utf-8")
    study = read_study(folder / "study.yaml")
    assert study.arms


def test_the_mistake_that_is_shown_is_told_in_these_words(folder: Path) -> None:
    page = ROOT / "docs" / "how-to" / "write_a_study.md"
    study = next(block for block in _blocks(page) if block.language == "yaml")
    (folder / "my_study.yaml").write_text(
        study.text.replace("kernel_size: 5", "kernel_sise: 5"), encoding="utf-8"
    )
    with pytest.raises(StudyFileError) as error:
        read_study(Path("my_study.yaml"))
    assert any(block.text.strip() == str(error.value) for block in _blocks(page)), str(error.value)


@_of("toml")
def test_entry_points_name_groups_that_are_read(block: Block) -> None:
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    assert set(groups) <= GROUPS


@_of("python")
def test_python_runs_or_imports_what_is_there(
    block: Block, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    plugin.pytest_configure(request.config)  # as `-p fusion_bench.checking.plugin` does: the mark is known
    code = compile(block.text, f"{block.page}:{block.line}", "exec")
    if block.mark == "compile":
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)
        return
    monkeypatch.chdir(ROOT)
    exec(code, {"__name__": "documented"})  # noqa: S102 - the pages' own code


@_of("console")
def test_commands_are_known_with_these_options(block: Block) -> None:
    typed = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    assert typed, "a console block shows what is typed after '$ '"
    for line in typed:
        for command in line.split(" && "):
            _check(shlex.split(command))


def _check(words: Sequence[str]) -> None:
    program, *arguments = words
    checks: dict[str, Callable[[list[str]], None]] = {
        "fusion-bench": _check_own,
        "python": _check_python,
        "pip": _check_pip,
        "bash": lambda given: _exists(given[0]),
        "sphinx-build": lambda given: _exists(given[-2]),
        "export": lambda given: _holds(all("=" in word for word in given), given),
        "pytest": lambda given: _holds(not given, given),
        "pre-commit": lambda given: _holds(given == ["install"], given),
        "ray": _check_ray,
        "docker": _check_docker,
    }
    assert program in checks, f"no check for {program}"
    checks[program](arguments)


def _holds(right: bool, what: object) -> None:
    assert right, what


def _exists(path: str) -> None:
    assert (ROOT / path).exists(), path


def _check_own(arguments: list[str]) -> None:
    """Parse with the command line's own parser; an unknown command, option or a missing argument raises."""
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="fusion-bench")
    while hasattr(command, "get_command"):
        name = arguments.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {context.command_path} {name}"
        command, context = found, found.context_class(found, info_name=name, parent=context)
    command.make_context(context.info_name, arguments, parent=context.parent)


def _check_python(arguments: list[str]) -> None:
    if arguments[0] != "-m":
        _exists(arguments[0])
        return
    spec = importlib.util.find_spec(arguments[1])
    assert spec is not None
    declared = {
        "fusion_bench.study.cell": ROOT / "fusion_bench" / "cells" / "run_cell.py",
        "fusion_modules.laconv.bench.search_launches": Path(str(spec.origin)),
    }
    assert arguments[1] in declared, "say here where its options are declared"
    source = declared[arguments[1]].read_text(encoding="utf-8")
    assert all(f'"{option}"' in source for option in arguments if option.startswith("--"))


def _check_ray(arguments: list[str]) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs ray")
    check_ray(arguments[0], arguments[1:])


def _check_docker(arguments: list[str]) -> None:
    services = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())["services"]
    assert arguments[0] == "compose" and arguments[1] in {"up", "run", "down"}
    assert {word for word in arguments[2:] if not word.startswith("-")} <= set(services)


def _check_pip(arguments: list[str]) -> None:
    assert arguments[:2] == ["install", "-e"]
    extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", arguments[2])
    assert extras is not None
    assert set(filter(None, (extras[1] or "").split(","))) <= set(PROJECT["optional-dependencies"])


def test_the_classes_of_the_pages_are_what_the_registries_take(folder: Path) -> None:
    assert issubclass(MODULES.load("gate.py", folder), FusionModule)
    assert issubclass(NETWORKS.load("tiny_network.py", folder), VisionLanguageNetwork)
    assert issubclass(TEXT_ENCODERS.load("mean_text.py", folder), TextEncoder)
    assert issubclass(DATASETS.load("table_questions.py", folder), DataSet)
    assert issubclass(TASKS.load("counting.py", folder), Task)


def test_the_module_of_the_page_keeps_the_contract(cli: CommandLine, folder: Path) -> None:
    said = cli("check", "gate.py")
    assert said.code == 0, said
    assert "0 failed" in said.out


def test_the_data_set_of_the_page_is_whole_and_can_be_seen(cli: CommandLine, folder: Path) -> None:
    said = cli("data", "verify", "table_questions.py", "--root", "my_files")
    assert said.code == 0, said
    assert "train: 12 samples on 12 images" in said.out
    assert cli("data", "show", "table_questions.py", "--root", "my_files", "--out", "sheet.png").code == 0
    assert (folder / "sheet.png").exists()


def test_all_classes_of_the_pages_train_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module, the network, the text encoder, the data set and the task of the how-to pages in one study."""
    monkeypatch.syspath_prepend(folder)
    counting = Entry("counting", Target("counting:Counting", name="counting"), "the documents")
    monkeypatch.setitem(TASKS.entries(), "counting", counting)
    questions = folder / "table_questions.py"
    offered = '{"counting": ("accuracy", "within_one")}'
    questions.write_text(
        questions.read_text("utf-8").replace('{"answering": ("accuracy",)}', offered), "utf-8"
    )
    (folder / "all.yaml").write_text(ALL, encoding="utf-8")
    ran = train(folder / "all.yaml", folder / "runs")
    done = [cell for cell in ran.cells if (folder / "runs" / "cells" / cell.id / "DONE").exists()]
    assert {cell.arm for cell in done} == {"gate", "network"}
    result = (folder / "runs" / "cells" / done[0].id / "result.json").read_text(encoding="utf-8")
    assert '"test/within_one"' in result


ALL = """
version: 1
name: all
title: Everything that the pages write
data: {name: table_questions.py, root: my_files, image_size: [32, 32]}
backbone: {name: test_vit, weights: random, frozen: true}
text: {encoder: mean_text.py, dim: 8}
fusion: {width: 8, depth: 1}
head: {width: 8, hidden: 8}
train: {epochs: 1, batch_size: 4}
arms:
  gate: {module: gate.py, hidden: 8}
  network: {network: tiny_network.py, channels: 8}
controls: false
seeds: 1
"""


def test_what_is_marked_as_smoke_is_what_the_test_of_smoke_runs_calls() -> None:
    marked = [block for block in BLOCKS if block.mark == "smoke"]
    lines = [line for block in marked for line in block.text.splitlines()]
    # tests/fusion_bench/cli/test_smoke.py runs this study as it is written.
    assert set(lines) == {"$ fusion-bench run studies/quickstart.yaml --smoke"}

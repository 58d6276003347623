"""The output of each command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from command_line import CommandLine, environment, finished, train
from fusion_bench.cli.main import app
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import confirm_cells
from toys import STUDY, study_file

STUDIES = Path(__file__).parents[3] / "studies"

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(scope="module")
def trained(fresh_runs: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study file and a runs folder in which all of its cells are done."""
    file, runs = study_file(tmp_path_factory.mktemp("study")), fresh_runs()
    train(file, runs)
    return file, runs


@pytest.fixture
def study(trained: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The same, in a folder that a test may change."""
    file, runs = trained
    return file, shutil.copytree(runs, tmp_path / "runs", symlinks=True)


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return ran.stdout


@pytest.mark.parametrize("command", [["--help"], ["cells"], ["run", "--help"], ["plan", "--help"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    result = python(
        "import sys\n"
        "from fusion_bench.cli.main import main\n"
        f"try:\n    main({command})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'pandas', 'numpy', 'timm', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert "Usage: fusion-bench" in result
    assert result.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("kind", "heavy"), [("studies", "torch"), ("modules", "pandas")])
def test_a_list_imports_only_what_its_rows_come_from(kind: str, heavy: str) -> None:
    result = python(
        "import sys\n"
        "from fusion_bench.cli.main import main\n"
        f"try:\n    main(['list', '{kind}', '--json'])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print({heavy!r} in sys.modules)"
    )
    assert result.splitlines()[-1] == "False"


@pytest.mark.parametrize("group", [[], ["cells"], ["bench"], ["convert"]])
def test_a_group_alone_prints_its_help_with_whole_sentences(cli: CommandLine, group: list[str]) -> None:
    alone, asked = cli(*group), cli(*group, "--help")
    assert (alone.code, asked.code) == (2, 0)
    assert alone.out == asked.out and not alone.err
    described = asked.out.partition("Commands:")[2]
    assert described.rstrip().endswith(".") and "..." not in described


EARLY = (
    ("run", "gone.yaml"),
    ("plan", "gone.yaml", "--json"),
    ("report", "gone.yaml"),
    ("cells", "ls", "gone.yaml"),
    ("cells", "export", "gone.yaml", "--submission", "there"),
    ("explain", "gone.yaml", "--arm", "x", "--sample", "y"),
    ("data", "verify", "gone.yaml"),
    ("run", "."),
    ("run", "list.yaml"),
    ("run", "open.yaml"),
    ("plan", "binary.yaml"),
    ("plan", "unknown.yaml"),
    ("run", "extends.yaml"),
    ("run", "good.yaml", "--set", "trian.epochs=3"),
    ("plan", "good.yaml", "--set", "train.epochs=[1"),
    ("--version",),
    ("--show-completion",),
    ("nothing",),
)


def test_what_needs_no_component_is_told_without_torch(tmp_path: Path) -> None:
    for name, content in {
        "list.yaml": b"- 1\n",
        "open.yaml": b"a: [\n",
        "binary.yaml": b"\xff\xfe\x00",
        "unknown.yaml": STUDY.replace("title:", "titel:").encode(),
        "extends.yaml": b"version: 1\nextends: gone.yaml\n",
        "good.yaml": STUDY.encode(),
    }.items():
        (tmp_path / name).write_bytes(content)
    code = (
        f"import io, os, sys\nfrom contextlib import redirect_stderr, redirect_stdout\nos.chdir({str(tmp_path)!r})\n"
        "from fusion_bench.cli.main import main\n"
        f"for arguments in {EARLY!r}:\n"
        "    err = io.StringIO()\n"
        "    try:\n"
        "        with redirect_stderr(err), redirect_stdout(io.StringIO()):\n"
        "            main(list(arguments))\n"
        "    except SystemExit as ended:\n"
        "        print(ended.code or 0, len(err.getvalue().splitlines()), 'torch' in sys.modules, arguments)\n"
    )
    lines = [line.split(maxsplit=3) for line in python(code).splitlines()]
    assert len(lines) == len(EARLY)
    for status, count, torch_is_here, arguments in lines:
        assert torch_is_here == "False", arguments
        if ".yaml" in arguments or "'.'" in arguments:
            assert (status, count) == ("2", "1"), arguments


def test_the_version_is_that_of_the_distribution(cli: CommandLine) -> None:
    result = cli("--version")
    assert (result.code, result.out) == (0, f"fusion-bench {version('laconv-fusion-bench')}\n")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("list en", {"encoders"}),
        ("list networks laconvnet_t", {"laconvnet_tiny"}),
        ("list heads po", set()),
        ("check late_", {"late_concat"}),
        ("new study my.yaml --module fil", {"film"}),
        ("data show miniclevr_c", {"miniclevr_cogent", "miniclevr_cogent_b"}),
        ("pla", {"plan"}),
        ("cells l", {"ls"}),
    ],
)
def test_a_shell_completes_commands_and_names(
    words: str, offered: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_FUSION_BENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"fusion-bench {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    with pytest.raises(SystemExit) as ended:
        app(prog_name="fusion-bench")
    assert not ended.value.code
    assert set(capsys.readouterr().out.split()) == offered


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "fusion_bench", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    for name in ("run", "plan", "report", "list", "ui", "schema", "cells"):
        assert f" {name} " in ran.stdout
    assert ran.stderr == ""


def test_a_plan_names_every_cell_and_trains_nothing(cli: CommandLine, tmp_path: Path) -> None:
    file, runs = study_file(tmp_path), tmp_path / "runs"
    plan = json.loads(cli("plan", file, "--json", "--runs", runs, "--set", "seeds=[0, 7]").out)
    assert (plan["study"], plan["reference"]) == ("toy", "product")
    assert [(cell["arm"], cell["seed"], cell["state"]) for cell in plan["cells"]] == [
        ("product", 0, "missing"),
        ("weaker", 0, "missing"),
        ("product", 7, "missing"),
        ("weaker", 7, "missing"),
    ]
    assert not runs.exists()
    shown = cli("plan", file, "--runs", runs).out
    assert "2 missing" in shown
    assert "gain=0.5" in shown


def test_a_title_is_shown_as_it_is_written(cli: CommandLine, tmp_path: Path) -> None:
    text = STUDY.replace("title: A toy study", 'title: "a [red] and [/b] closing tag"')
    said = cli("plan", study_file(tmp_path, text), "--runs", tmp_path / "runs")
    assert said.code == 0 and "toy: a [red] and [/b] closing tag" in said.out


def test_where_each_cell_stands(cli: CommandLine, study: tuple[Path, Path]) -> None:
    file, runs = study
    (first, second, *_) = confirm_cells(read_study(file).arms, (0, 1))
    (runs / "cells" / first.id / "DONE").unlink()
    (runs / "cells" / first.id / "failed.json").write_text('{"reason": "the power went"}')
    provenance = runs / "cells" / second.id / "provenance.json"
    provenance.write_text(provenance.read_text().replace('"module": "', '"module": "not'))
    plan = json.loads(cli("plan", file, "--json", "--runs", runs).out)
    states = [(cell["state"], cell["reason"]) for cell in plan["cells"]]
    assert states[0] == ("failed", "the power went")
    assert states[1] == ("stale", "the module's source changed since it was trained")
    assert states[2:] == [("done", "")] * 2
    listed = cli("cells", "ls", file, "--runs", runs).out
    for cell in plan["cells"]:
        assert cell["cell"] in listed
    assert "the module's source changed since it was trained" in listed


def test_cells_travel_through_a_folder(cli: CommandLine, trained: tuple[Path, Path], tmp_path: Path) -> None:
    file, elsewhere = trained
    here, exported = tmp_path / "runs", tmp_path / "exported"
    result = cli("plan", file, "--json", "--runs", here, "--export", exported)
    json.loads(result.out)  # messages go to stderr
    assert "4 cells written" in result.err
    assert "fusion_bench.study.cell" in (exported / "HOW_TO_RUN.txt").read_text()
    assert (
        "0 cells imported, 0 already present, 4 not finished"
        in cli("cells", "import", exported, "--runs", here).out
    )
    for cell in finished(elsewhere):  # somebody trains them
        shutil.rmtree(exported / "cells" / cell)
        shutil.copytree(elsewhere / "cells" / cell, exported / "cells" / cell)
    assert (
        "4 cells imported, 0 already present, 0 not finished"
        in cli("cells", "import", exported, "--runs", here).out
    )
    assert finished(here) == finished(elsewhere)
    assert "0 cells written" in cli("plan", file, "--runs", here, "--export", tmp_path / "nothing").out


def test_stale_cells_stay_at_home(cli: CommandLine, study: tuple[Path, Path], tmp_path: Path) -> None:
    file, runs = study
    cell = confirm_cells(read_study(file).arms, (0,))[0]
    provenance = runs / "cells" / cell.id / "provenance.json"
    provenance.write_text(provenance.read_text().replace('"numerics": "', '"numerics": "not'))
    result = cli("plan", file, "--runs", runs, "--export", tmp_path / "exported")
    assert "0 cells written" in result.out
    assert "1 stale cells left out" in result.out


def test_the_winners_of_a_search_are_exported_once_it_is_over(cli: CommandLine, tmp_path: Path) -> None:
    text = STUDY + "search: {trials: 2, space: {gain: [1.0, 2.0]}}\n"
    result = cli("plan", study_file(tmp_path, text), "--runs", tmp_path, "--export", tmp_path / "exported")
    assert result.refusal() == "the search of 'product' is not finished; run the study first"
    assert "before these, 4 search cells" in result.out


@pytest.mark.slow
def test_one_more_seed_trains_that_seed_alone(cli: CommandLine, study: tuple[Path, Path]) -> None:
    file, runs = study
    before = finished(runs)
    options = ("--runs", runs, "--workers", 1, "--device", "cpu")
    result = cli("run", file, "--set", "seeds=[0, 1, 2]", *options)
    assert result.code == 0, result.err
    assert "\n6 cells: 4 done, 2 waiting\n" in result.out
    assert result.out.count(" started") == 2
    assert result.out.count("seed 2 started") == 2
    assert before < finished(runs)
    assert f"Report: {runs / 'studies' / 'toy' / 'report' / 'report.md'}" in result.out
    assert f"MLflow: fusion-bench ui --runs {runs}\n" in result.out
    assert "http" not in result.out
    # `report --mlflow` shows the same as a run, for the seeds of the command.
    again = cli("report", file, "--runs", runs, "--mlflow")
    assert again.code == 0, again.err
    assert f"MLflow: fusion-bench ui --runs {runs}\n" in again.out


def test_a_published_report_is_rebuilt_from_its_own_files(
    cli: CommandLine, study: tuple[Path, Path], tmp_path: Path
) -> None:
    file, runs = study
    result = cli("report", file, "--runs", runs, "--publish", tmp_path / "reports")
    published = tmp_path / "reports" / "toy"
    assert f"Report: {published / 'report.md'}" in result.out
    assert "MLflow" not in result.out

    def content() -> dict[str, bytes]:
        files = (path for path in published.rglob("*") if path.is_file())
        return {str(path.relative_to(published)): path.read_bytes() for path in files}

    before = content()
    assert {"report.md", "results.csv", "results.parquet", "samples.parquet", "study.json"} < before.keys()
    shutil.rmtree(runs)
    shutil.rmtree(published / "figures")
    (published / "report.md").unlink()
    again = cli("report", published, "--paper").out
    assert f"Report: {published / 'report.md'}" in again
    assert f"For a paper: {published / 'paper'}" in again
    rebuilt = content()
    assert {"paper/table.tex", "paper/table.csv", "paper/references.bib"} < rebuilt.keys()
    assert {name: text for name, text in rebuilt.items() if not name.startswith("paper/")} == before


def test_a_report_of_some_cells_says_what_is_missing(cli: CommandLine, study: tuple[Path, Path]) -> None:
    file, runs = study
    result = cli("report", file, "--runs", runs, "--set", "seeds=3")
    assert "2 cells have no result yet" in result.out
    assert "2 of 6 cells gave no result" in (runs / "studies/toy/report/report.md").read_text()


def test_the_schema_knows_every_key_of_a_study(cli: CommandLine) -> None:
    schema = json.loads(cli("schema").out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    for file in sorted(STUDIES.glob("*.yaml")):
        written = YAML(typ="safe", pure=True).load(file.read_text())
        assert written.keys() <= schema["properties"].keys()
        # What a file that extends another leaves out, the other one has.
        assert "extends" in written or set(schema["else"]["required"]) <= written.keys()


def test_what_can_be_named_is_listed(cli: CommandLine) -> None:
    rows = {row["name"]: row for row in json.loads(cli("list", "modules", "--json").out)}
    assert rows["laconv"]["kind"] == "module"
    assert rows["question_only"]["kind"] == "control"
    assert "laconv" in cli("list").out
    assert {row["name"] for row in json.loads(cli("list", "datasets", "--json").out)} >= {
        "clevr",
        "miniclevr",
        "nlvr",
    }
    assert "did you mean 'datasets'" in cli("list", "dataset").refusal()


def test_an_unknown_command_or_option_is_refused(cli: CommandLine) -> None:
    assert "No such command 'trian'" in cli("trian").refusal()
    assert "--worker" in cli("run", "study.yaml", "--worker", "2").refusal()
    assert "workers" in cli("run", "study.yaml", "--workers", "0").refusal()

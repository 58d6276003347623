"""Everything in ``examples/`` runs as its texts say."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from command_line import CommandLine, command_line, environment
from few_processes import share_workers
from fusion_bench import load_report, load_study

# MLflow calls what SQLAlchemy gives up.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def call(*command: object, cwd: Path = ROOT, path: Path | None = None) -> str:
    """Standard output of a command that succeeds; ``path`` is put before the import path."""
    set_here = environment() | {"MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}
    set_here.pop("MLFLOW_TRACKING_URI", None)
    if path is not None:
        set_here["PYTHONPATH"] = f"{path}:{set_here['PYTHONPATH']}"
    words = [str(word) for word in command]
    ran = subprocess.run(words, check=False, capture_output=True, text=True, cwd=cwd, env=set_here)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def python(*arguments: object, cwd: Path = ROOT, path: Path | None = None) -> str:
    return call(sys.executable, *arguments, cwd=cwd, path=path)


def bench(*arguments: object, cwd: Path = ROOT, path: Path | None = None) -> str:
    return python("-m", "fusion_bench", *arguments, cwd=cwd, path=path)


def imported(name: str) -> Any:
    """Return a script of the examples as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Run a command in this process, with few workers."""
    share_workers(monkeypatch)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("fusion_bench.cli.main.set_environment", lambda: None)  # it would outlive the test
    return command_line(capsys)


@pytest.mark.slow
def test_the_module_in_one_file_keeps_the_contract(cli: CommandLine) -> None:
    assert "0 failed" in cli("check", EXAMPLES / "gate.py").out


def test_its_study_can_be_planned(cli: CommandLine, tmp_path: Path) -> None:
    plan = json.loads(cli("plan", EXAMPLES / "gate_study.yaml", "--json", "--runs", tmp_path).out)
    assert {"gate", "film", "question_only", "image_only"} == {cell["arm"] for cell in plan["cells"]}
    (gate,) = (arm for arm in load_study(EXAMPLES / "gate_study.yaml").arms if arm.label == "gate")
    assert gate.config.arm.target.source == (EXAMPLES / "gate.py").read_text()


@pytest.mark.slow
def test_its_study_works_from_end_to_end(cli: CommandLine, tmp_path: Path) -> None:
    said = cli("run", EXAMPLES / "gate_study.yaml", "--smoke", "--runs", tmp_path)
    assert said.code == 0, said
    assert "gate seed 0 done" in said.out
    assert load_report(tmp_path / "studies" / "gate-smoke").reference == "film"


@pytest.mark.slow
@pytest.mark.usefixtures("cli")
def test_a_study_is_run_from_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: ``tests/fusion_bench/test_api.py`` runs a script in one of its own."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # one worker
    script = imported("run_study")
    monkeypatch.setattr(
        script, "SMALLER", [*script.SMALLER, "data.images={train: 12, select: 6, evaluate: 6}"]
    )
    script.main(tmp_path / "runs")
    said = capsys.readouterr().out
    assert said.count(" started") == 8  # 2 arms, 2 controls, 2 seeds
    report = load_report(tmp_path / "runs" / "studies" / "gate_small")
    assert f"The whole report: {report.folder / 'report.md'}" in said
    printed = [line.split() for line in said.splitlines()]
    for row in report.comparisons.itertuples():
        (shown,) = (words for words in printed if words[:2] == [row.arm, row.role])
        assert float(shown[2]) == pytest.approx(row.estimate, abs=1e-5)
    script.main(tmp_path / "runs")
    again = capsys.readouterr().out
    assert "8 cells: 8 done\n" in again
    assert " started" not in again


def test_a_published_report_is_read_in_pandas(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["read_report.py", *arguments])
        runpy.run_path(str(EXAMPLES / "read_report.py"), run_name="__main__")
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    said = read()  # the report is found from anywhere
    report = load_report(ROOT / "reports" / "quickstart")
    assert said.startswith(report.title)
    arms = said.split("\n\n")[1].splitlines()[1:]
    assert len(arms) == len(report.arms)
    best = report.means[report.means["split"] == "test"].sort_values("estimate").iloc[-1]
    assert arms[0].split()[:3] == [best["arm"], best["role"], f"{best['estimate']:.6f}"]
    judged = report.samples[(report.samples["split"] == "test") & (report.samples["arm"] == "laconv")]
    by_hops = [f"{score:.6f}" for score in judged.groupby("hops")["score"].mean()]
    assert ["laconv", *by_hops] in [line.split() for line in said.split("number of hops")[1].splitlines()]
    monkeypatch.chdir(ROOT)
    other = read("reports/nlvr")  # a data set without hops
    assert "number of hops" not in other


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The third-party package as an installer would leave it, in a folder of its own.

    Written by hand: a build needs the build backend, which the tests' environment may not have.
    """
    folder = tmp_path_factory.mktemp("site-packages")
    package = tomllib.loads((EXAMPLES / "my_fusion_package" / "pyproject.toml").read_text())
    project = package["project"]
    (name,) = package["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    shutil.copytree(EXAMPLES / "my_fusion_package" / name, folder / name)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    return folder


def test_an_installed_package_registers_its_module(installed: Path, tmp_path: Path, cli: CommandLine) -> None:
    rows = {row["name"]: row for row in json.loads(bench("list", "modules", "--json", path=installed))}
    assert "film" in rows
    assert rows["spatial_gate"]["kind"] == "module"
    assert "spatial_gate" not in cli("list", "modules").out  # nothing is left in this environment
    bench("new", "study", tmp_path / "own.yaml", "--module", "spatial_gate", path=installed)
    plan = json.loads(bench("plan", "own.yaml", "--json", cwd=tmp_path, path=installed))
    assert "spatial_gate" in {cell["arm"] for cell in plan["cells"]}


def test_the_catalogue_of_the_package_imports_nothing_heavy(installed: Path) -> None:
    said = python("-c", "import sys, my_fusion; print('torch' in sys.modules)", path=installed)
    assert said == "False\n"


@pytest.mark.slow
def test_the_package_tests_its_module_with_the_plugin(installed: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(EXAMPLES / "my_fusion_package", tmp_path / "package")
    said = python("-m", "pytest", "-v", "-p", "no:cacheprovider", cwd=copy, path=installed)
    assert "test_contract[spatial_gate-padding] PASSED" in said
    assert "test_contract[spatial_gate-learns] PASSED" in said
    assert "1 skipped" in said  # it declares no formula of a paper
    assert "failed" not in said


@pytest.mark.slow
def test_the_registered_module_keeps_the_contract(installed: Path) -> None:
    assert "spatial_gate: 23 passed, 0 failed" in bench("check", "spatial_gate", path=installed)


def test_the_overview_names_every_example() -> None:
    page = (EXAMPLES / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)]+)\)", page))
    there = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "_"))}
    assert there - {"README.md"} == {link for link in linked if "/" not in link}
    for link in linked:
        assert (EXAMPLES / link).exists()

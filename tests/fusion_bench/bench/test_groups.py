"""The groups of benchmarks, and the process in which each runs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fusion_bench.bench import apart, groups
from fusion_bench.bench.step import StepTime
from fusion_bench.bench.targets import Line
from fusion_bench.cli.bench import everything
from fusion_bench.cli.main import app
from fusion_bench.errors import FusionBenchError

MET = Line("a thing", "time", 2.0, "lower", 1.0, "s")
MISSED = Line("another thing", "speed", 5.0, "higher", 2.0, "times")


def offered(quick: bool) -> list[Line]:
    """Return one line of a package."""
    return [MET] if quick else [MET, MISSED]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer the group ``ours`` of a package, and another one that cannot be imported."""
    points = EntryPoints(
        (
            EntryPoint("ours", f"{__name__}:offered", groups.ENTRY_POINTS),
            EntryPoint("broken", "no_such_package:lines", groups.ENTRY_POINTS),
        )
    )
    monkeypatch.setattr(groups, "entry_points", points.select)


@pytest.mark.usefixtures("package")
def test_packages_offer_groups_after_the_harness_own() -> None:
    assert groups.group_names() == ["commands", "step", "peers", "data", "run", "broken", "ours"]
    assert groups.load_group("ours")(True) == [MET]


@pytest.mark.usefixtures("package")
def test_a_group_that_cannot_be_had_is_one_sentence() -> None:
    with pytest.raises(FusionBenchError, match="no benchmarks 'stp'; choose among commands, step"):
        groups.load_group("stp")
    with pytest.raises(FusionBenchError, match="broken"):
        groups.load_group("broken")


def test_a_process_that_fails_is_one_sentence() -> None:
    with pytest.raises(
        FusionBenchError, match="the benchmarks nothing failed: there are no benchmarks 'nothing'"
    ):
        apart.measured_apart("nothing", quick=True)


def test_the_short_form_does_not_depend_on_the_rate_of_a_matrix_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lines(floor: float, *, quick: bool) -> dict[tuple[str, str], Line]:
        """Return the lines of steps of 30 and 66 ms whose multiply-adds alone take ``floor`` ms."""
        times = [
            StepTime(arm, milliseconds, 10**9, floor, milliseconds / floor)
            for arm, milliseconds in (("film", 30.0), ("laconv", 66.0))
        ]
        monkeypatch.setattr(groups, "measure_steps", lambda *_, **__: times)
        found = groups.load_group("step")(quick)
        return {(line.item.split(",")[0], line.quantity): line for line in found}

    alone, beside = "CPU time over its multiply-adds alone", "CPU time over that of film"
    film, laconv = "training step of film", "training step of laconv"
    for floor in (22.0, 13.5):
        short = lines(floor, quick=True)
        assert short.keys() == {(film, alone), (laconv, beside)}
        assert short[laconv, beside].measured == pytest.approx(2.2)
    whole = lines(22.0, quick=False)
    assert whole.keys() == {(film, alone), (laconv, alone), (laconv, beside)}
    assert whole[laconv, alone].measured == pytest.approx(3.0)


def bench_all(
    monkeypatch: pytest.MonkeyPatch, measured: Callable[[], list[Line]], *options: str
) -> tuple[int, str]:
    """Run ``bench all`` with these lines as the only group; return exit code and output."""
    monkeypatch.setattr(everything, "group_names", lambda: ["ours"])
    monkeypatch.setattr(everything, "measured_apart", lambda _name, *, quick: measured())
    ran = CliRunner().invoke(app, ["bench", "all", *options])
    return ran.exit_code, ran.stdout


def run_all(monkeypatch: pytest.MonkeyPatch, lines: list[Line], *options: str) -> tuple[int, str]:
    """Run ``bench all`` with these lines in each measurement; return exit code and output."""
    return bench_all(monkeypatch, lambda: lines, *options)


def test_a_missed_target_is_shown_and_ends_with_exit_code_one(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = run_all(monkeypatch, [MET, MISSED])
    assert code == 1
    rows = {row.split("|")[1].strip(): row for row in shown.splitlines() if row.startswith("|")}
    assert "at most 2 s" in rows["a thing"]
    assert rows["a thing"].rstrip(" |").endswith("yes")
    assert "at least 5 times" in rows["another thing"]
    assert "**no**" in rows["another thing"]
    assert run_all(monkeypatch, [MET])[0] == 0


def test_the_quick_form_has_targets_twice_as_loose(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Line("another thing", "speed", 5.0, "higher", 2.6, "times")
    assert run_all(monkeypatch, [close])[0] == 1
    code, shown = run_all(monkeypatch, [close], "--quick")
    assert code == 0
    assert "at least 2.5 times" in shown


def measured_in_turn(
    monkeypatch: pytest.MonkeyPatch, values: list[float], *options: str
) -> tuple[int, int, str]:
    """Run ``bench all`` whose measurements give these times in turn; return exit code, measurements and table."""
    left = list(values)
    code, shown = bench_all(
        monkeypatch, lambda: [MET, Line("a third thing", "time", 2.0, "lower", left.pop(0), "s")], *options
    )
    return code, len(values) - len(left), shown


def test_the_quick_form_measures_a_group_that_misses_a_target_again(monkeypatch: pytest.MonkeyPatch) -> None:
    code, measured, shown = measured_in_turn(monkeypatch, [9.0, 3.0, 1.0], "--quick")
    assert (code, measured) == (0, 2)
    assert "3 s" in shown
    assert "9 s" not in shown
    assert measured_in_turn(monkeypatch, [9.0, 8.0, 7.0, 1.0], "--quick")[:2] == (1, 3)
    assert measured_in_turn(monkeypatch, [3.0, 1.0], "--quick")[:2] == (0, 1)
    assert measured_in_turn(monkeypatch, [9.0, 1.0])[:2] == (1, 1)


def test_the_table_is_written_where_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_all(monkeypatch, [MET], "--out", str(tmp_path / "benchmarks"))
    assert "a thing" in (tmp_path / "benchmarks" / "benchmarks.md").read_text(encoding="utf-8")
    assert '"target": 2.0' in (tmp_path / "benchmarks" / "benchmarks.json").read_text(encoding="utf-8")

"""The two tables of looks, and the differences at the last look of each arm, once more from the published files.

The looks are taken here by hand: the study is published with every cell, then with what the looks left of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusion_bench.reporting.report.report import write_report
from fusion_bench.results.results import StudyResults
from fusion_bench.statistics.sequential import Look, Stages, TakenLook
from recomputed import Recomputed
from recomputed_tables import DASH, Table, holds, is_p, tables_of

PLANNED = (Look(3, 0.05 * 3 / 6), Look(6, 0.05 * 3 / 6))
Tables = dict[str, Table]


@pytest.fixture(scope="module")
def looked(
    make_results: Callable[..., StudyResults], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tables, list[Recomputed]]:
    """The tables of differences and of looks by the start of their headings, and each look as recomputed by hand."""
    folder: Path = tmp_path_factory.mktemp("looked")
    results = make_results(seeds=6, clusters=120, bad_ends=False)
    results = dataclasses.replace(results, pictures=results.pictures.head(0))
    write_report(results, folder / "whole")
    whole = Recomputed(folder / "whole")
    undecided, last, looks, taken = tuple(whole.family()), {}, [], []
    for look in PLANNED:
        looks.append(whole.at_look(look.seeds, undecided, look.alpha))
        verdicts = looks[-1].verdicts()
        following = tuple(arm for arm in undecided if verdicts[arm][0] == "underpowered")
        taken.append(TakenLook(look.seeds, look.alpha, undecided, following))
        last |= dict.fromkeys((whole.reference, *undecided), look.seeds)
        undecided = following

    def left(name: str) -> object:
        rows = getattr(results, name)
        return rows[rows["seed"] < rows["arm"].map(last).fillna(PLANNED[0].seeds).astype(int)]

    names = ("cells", "values", "samples", "curves")
    staged = dataclasses.replace(
        results, stages=Stages(PLANNED, tuple(taken)), **{name: left(name) for name in names}
    )
    report = write_report(staged, folder / "looked")
    found = {
        " ".join(table.heading[:2]): table
        for table in tables_of(report.read_text(encoding="utf-8"))
        if table.section in {"Differences from `laconv`", "Looks"}
    }
    assert {*found} == {"arm difference, points", "look seeds", "look arm"}
    return found, looks


def test_the_looks_of_the_invented_study_differ(looked: tuple[Tables, list[Recomputed]]) -> None:
    _, (first, second) = looked
    assert "film" in first.arms and "film" not in second.arms and len(second.arms) > 2


def test_the_table_of_looks_is_recomputed(looked: tuple[Tables, list[Recomputed]]) -> None:
    tables, looks = looked
    table = tables["look seeds"]
    assert [*table.rows] == ["1", "2"]
    for planned, look, row in zip(PLANNED, looks, table.rows.values(), strict=True):
        seeds, level, state, before, tally, after, left_out, prior, _ = row
        verdicts = [word for word, *_ in look.verdicts().values()]
        assert (int(seeds), state, left_out) == (planned.seeds, "taken", DASH)
        assert holds(level, planned.alpha)
        counts = [verdicts.count(word) for word in ("better", "worse", "equivalent")]
        assert [int(number) for number in tally.split(" / ")] == counts
        assert {name.strip("` ") for name in before.split(",")} == {*look.family()}
        open_after = {arm for arm, (word, *_) in look.verdicts().items() if word == "underpowered"}
        assert {name.strip("` ") for name in after.split(",")} - {DASH} == open_after
        assert holds(prior, float(np.sqrt(look.moderated("test", "accuracy").centre)))


def test_every_comparison_of_every_look_is_recomputed(looked: tuple[Tables, list[Recomputed]]) -> None:
    tables, looks = looked
    table = tables["look arm"]
    rows = [tuple(row) for row in table.cells]
    expected = [(str(number), arm) for number, look in enumerate(looks, 1) for arm in look.family()]
    assert sorted((number, arm.strip("`")) for number, arm, *_ in rows) == sorted(expected)
    for number, arm, difference, interval, p, outside, verdict in rows:
        look = looks[int(number) - 1]
        shown = look.difference(arm.strip("`"), look.reference)
        word, p_holm, p_margin = look.verdicts()[arm.strip("`")]
        assert holds(difference, shown.mean) and holds(interval, shown.low, shown.high)
        assert is_p(p, p_holm) and is_p(outside, p_margin)
        assert verdict.strip("*") == {"underpowered": "open"}.get(word, word)


def test_an_arm_stands_with_its_last_look(looked: tuple[Tables, list[Recomputed]]) -> None:
    tables, looks = looked
    table = tables["arm difference, points"]
    for arm in looks[0].family():
        look = next(look for look in reversed(looks) if arm in look.arms)
        row = dict(zip(table.heading[1:], table.rows[arm], strict=True))
        shown = look.difference(arm, look.reference)
        assert holds(row["difference, points"], shown.mean)
        assert row["verdict"].strip("*").split()[0] == look.verdicts()[arm][0].split()[0]

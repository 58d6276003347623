"""Checks of every table of ``report.md`` and of the texts of numbers, against `recomputed`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from recomputed import Recomputed, Shown, holm_by_hand

Rows = dict[str, list[str]]
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Table:
    """A table of ``report.md``: the last two headings above it, its own heading, rows by first cell, all cells."""

    section: str
    title: str
    heading: tuple[str, ...]
    rows: Rows
    cells: list[list[str]]

    def column(self, name: str) -> dict[str, str]:
        place = self.heading.index(name) - 1
        return {arm: row[place] for arm, row in self.rows.items()}


def tables_of(text: str) -> list[Table]:
    found, section, title = [], "", ""
    lines = [*text.splitlines(), ""]
    for number, line in enumerate(lines):
        if line.startswith("#"):
            section, title = line.strip("# "), ""
        if re.fullmatch(r"\*\*[^*]+\*\*", line):
            title = line.strip("*")
        if line.startswith("|:"):
            cells = [[cell.strip() for cell in row.strip("|").split(" |")] for row in lines[number - 1 :]]
            ends = next(place for place, row in enumerate(lines[number:]) if not row.startswith("|"))
            rows = {row[0].strip("`"): [cell.strip("` ") for cell in row[1:]] for row in cells[2 : ends + 1]}
            found.append(Table(section, title, tuple(cells[0]), rows, cells[2 : ends + 1]))
    return found


def holds(text: str, *values: float, unit: float = 100.0, by: float = 0.0501) -> bool:
    """Whether the numbers of a text are these values, as shares in per cent, up to their last digit."""
    numbers = [float(number) for number in NUMBER.findall(text.replace(MINUS, "-").replace("95 %", ""))]
    wanted = [unit * value for value in values if not np.isnan(value)]
    return len(numbers) == len(wanted) and np.allclose(numbers, wanted, rtol=0, atol=by)


def same(text: str, shown: Shown) -> bool:
    return holds(text, shown.mean, shown.low, shown.high)


def is_p(text: str, p: float) -> bool:
    if np.isnan(p):
        return text == DASH
    return p < 0.0006 if text == "<0.001" else holds(text, p, unit=1, by=0.00051)


# One check for each kind of table. Each asserts on all of its cells that hold a number.


def answer(table: Table, found: Recomputed) -> None:
    order, compared, verdicts = found.order(), found.compared(), found.verdicts()
    by_arm = {row[0].strip("`"): [place, *row[1:]] for place, row in table.rows.items()}
    assert {*by_arm} == {*order}
    beats, rises, different = found.beats(), found.rises(), found.different()
    lettered = [arm for arm in order if len(found.seeds[arm]) >= 3]
    for arm, (place, mean, difference, p, verdict, ties, seeds, converged, beat) in by_arm.items():
        assert place == (str(lettered.index(arm) + 1) if arm in lettered else DASH) or arm not in lettered
        assert same(mean, found.mean(arm))
        assert converged.strip("*") == ("yes" if round(rises[arm], 9) <= 0.01 else "no")
        assert beat == ("yes" if beats[arm] else "not shown")
        assert int(seeds.split(" of ")[0]) == len(found.shared(arm, found.reference))
        if arm != found.reference:
            assert same(difference, compared[arm]) and is_p(p, verdicts[arm][1])
            assert verdict.strip("*") == verdicts[arm][0]
        for other in lettered:
            if arm in lettered and other != arm:
                apart = different.get((arm, other), different.get((other, arm)))
                assert bool({*ties} & {*by_arm[other][5]}) != apart


def means(table: Table, found: Recomputed) -> None:
    for arm, (mean, interval, seeds, parameters, adds, latency) in table.rows.items():
        shown, own = found.mean(arm), found.arms[arm]
        assert holds(mean, shown.mean) and holds(interval, shown.low, shown.high)
        assert holds(seeds, len(found.shared(arm, found.reference)), found.most, unit=1)
        for text, kind in ((parameters, "parameters"), (adds, "multiply_adds")):
            for part, place in zip(text.split(" + "), ("fusion", "around"), strict=True):
                size = {"k": 1e3, "M": 1e6, "G": 1e9}.get(part[-1], 1.0)
                assert float(part.split()[0]) * size == pytest.approx(own[f"{place}_{kind}"], rel=0.006)
        assert float(latency) == pytest.approx(own["latency_ms"], rel=0.006)


def floors(table: Table, found: Recomputed) -> None:
    for heading in table.heading[1:]:
        name, split, accuracy = re.fullmatch(r"(.*) on (\w+): ([\d.]+) %", heading).groups()  # type: ignore[union-attr]
        (floor,) = [row for row in found.study["floors"] if (row["name"], row["split"]) == (name, split)]
        assert holds(accuracy, floor["accuracy"])
        for arm, text in table.column(heading).items():
            size = int((found.samples["split"] == split).sum())
            assert same(text, found.mean(arm, split, less=np.full(size, floor["accuracy"])))


def others(table: Table, found: Recomputed) -> None:
    for heading in table.heading[1:]:
        split, metric = heading.removesuffix(", %").split()
        for arm, text in table.column(heading).items():
            assert same(text, found.mean(arm, split, metric))


def comparisons(table: Table, found: Recomputed) -> None:
    compared, verdicts = found.compared(), found.verdicts()
    assert {*table.rows} == {*compared}
    for arm, (difference, interval, p, outside, seeds, verdict) in table.rows.items():
        shown = compared[arm]
        assert holds(difference, shown.mean) and holds(interval, shown.low, shown.high)
        word, p_holm, p_margin = verdicts.get(arm, ("control", np.nan, np.nan))
        assert verdict.strip("*") == word and is_p(p, p_holm) and is_p(outside, p_margin)
        assert int(seeds) == len(found.shared(arm, found.reference))


def controls(table: Table, found: Recomputed) -> None:
    beats = found.beats()
    for heading in table.heading[1:]:
        for arm, text in table.column(heading).items():
            shown = found.lead(arm, heading.removeprefix("over ").strip("`"))
            assert same(text.removesuffix(" (!)").removesuffix(" (+)"), shown)
            assert text.endswith("(+)") == beats[arm]
            if not beats[arm]:
                assert text.endswith("(!)") != (shown.low > 0)


def differences(table: Table, found: Recomputed) -> None:
    for heading in table.heading[1:]:
        split, metric = heading.removesuffix(", points").split()
        compared = found.compared(split, metric)
        assert all(same(text, compared[arm]) for arm, text in table.column(heading).items())


def effects(table: Table, found: Recomputed) -> None:
    arms = {
        (own["factors"]["kernel"], own["factors"]["drop"]): arm
        for arm, own in found.arms.items()
        if own["factors"]
    }
    a, b, c, d = arms[3, 0], arms[3, 1], arms[5, 0], arms[5, 1]
    weights = {
        "kernel` = 5": {c: 0.5, d: 0.5, a: -0.5, b: -0.5},
        "drop` = 1": {b: 0.5, d: 0.5, a: -0.5, c: -0.5},
        "drop` = 1 with `kernel` = 5": {a: 1.0, b: -1.0, c: -1.0, d: 1.0},
    }
    assert {*table.rows} == {*weights}
    shown = {name: found.contrast(own) for name, own in weights.items()}
    mains = holm_by_hand({name: shown[name].p for name in list(weights)[:2]})
    for name, (_, difference, interval, p, said, seeds) in table.rows.items():
        expected = mains.get(name, shown[name].p)
        assert holds(difference, shown[name].mean) and holds(interval, shown[name].low, shown[name].high)
        assert is_p(p, expected) and said == ("yes" if expected < 0.05 else "no") and int(seeds) == found.most


def noise(table: Table, found: Recomputed) -> None:
    spreads, shares = found.noise()
    images = found.samples[found.samples["split"] == "test"]["cluster"].nunique()
    seed, image, both, *search = table.rows
    assert (seed, image, both) == (f"seed ({found.most})", f"image ({images})", "seed x image")
    for source, one, other in zip((seed, image, both), spreads, shares, strict=True):
        spread, share = table.rows[source]
        assert holds(spread, one) and holds(share, other)
    assert [table.rows[source] for source in search] in ([], [[DASH, "not known"]])


def ranks_of(found: Recomputed, other: Recomputed) -> dict[str, tuple[int, int, int]]:
    """Rank and its interval of each arm; ``other`` holds the scores."""
    arms = other.family(with_reference=True)
    means = {arm: other.table(arm, other.seeds[arm]).mean() for arm in arms}
    order = sorted(arms, key=lambda arm: -means[arm])
    ranks = {}
    for arm in arms:
        against = {name: other.difference(name, arm) for name in arms if name != arm}
        p = holm_by_hand({name: shown.p for name, shown in against.items()})
        better = sum(p[name] <= 0.05 and against[name].mean > 0 for name in against)
        worse = sum(p[name] <= 0.05 and against[name].mean < 0 for name in against)
        place = order.index(arm) + 1
        ranks[arm] = place, min(place, 1 + better), max(place, len(arms) - worse)
    return ranks


def ranking(table: Table, found: Recomputed, deep: Recomputed) -> None:
    for heading, own in zip(table.heading[1:], (found, deep), strict=True):
        expected = ranks_of(found, own)
        for arm, text in table.column(heading).items():
            rank, mean = text.split(", ")
            assert holds(rank, *expected[arm], unit=1)
            assert holds(mean, own.table(arm, own.seeds[arm]).mean())


def agreement(table: Table, found: Recomputed, deep: Recomputed) -> None:
    arms = found.family(with_reference=True)
    one, other = (np.array([own.table(arm, own.seeds[arm]).mean(1) for arm in arms]) for own in (found, deep))
    (row,) = table.rows.values()

    def tau(first: np.ndarray, second: np.ndarray) -> float:
        return float(stats.kendalltau(first, second).statistic)

    pairs = [(s, t) for s in range(one.shape[1]) for t in range(one.shape[1]) if s != t]
    within = np.mean([tau(side[:, s], side[:, t]) for side in (one, other) for s, t in pairs])
    across = np.mean([tau(one[:, s], other[:, t]) for s, t in pairs])
    assert row[0] == str(len(arms)) and holds(row[1], tau(one.mean(1), other.mean(1)), unit=1, by=0.006)
    assert holds(row[3], within, unit=1, by=0.006) and holds(row[4], across, unit=1, by=0.006)
    low, high = (float(end.replace(MINUS, "-")) for end in row[2].split(" to "))
    assert -1 <= low <= tau(one.mean(1), other.mean(1)) <= high <= 1


def learning(table: Table, found: Recomputed) -> None:
    rises, done = (
        found.rises(),
        found.values[found.values["state"] == "done"].drop_duplicates(["arm", "seed"]),
    )
    for arm, (rise, epochs, best, converged) in table.rows.items():
        own = done[done["arm"] == arm]
        assert holds(rise, rises[arm]) and float(epochs) == pytest.approx(own["epochs"].mean(), rel=0.006)
        assert float(best) == pytest.approx(own["best_epoch"].mean(), rel=0.006)
        assert converged.strip("*") == ("yes" if round(rises[arm], 9) <= 0.01 else "no")


def slices(table: Table, found: Recomputed) -> None:
    for heading in table.heading[1:]:
        value, count = re.fullmatch(r"(\w+) \(n = (\d+)\)", heading).groups()  # type: ignore[union-attr]
        chosen = found.samples[table.title] == value
        assert int(count) == int((chosen & (found.samples["split"] == "test")).sum())
        assert all(same(text, found.mean(arm, chosen=chosen)) for arm, text in table.column(heading).items())


def expected_values(table: Table, found: Recomputed) -> None:
    for (arm, row), wanted in zip(table.rows.items(), found.study["expected"], strict=True):
        shown = found.mean(arm, wanted["split"], wanted["metric"])
        assert holds(row[2], wanted["value"]) and same(row[3], shown)
        assert holds(row[4], shown.mean - wanted["value"])


def unfinished(table: Table, found: Recomputed) -> None:
    bad = found.values[found.values["state"] != "done"]
    assert {(arm, row[0], row[1].strip("*")) for arm, row in table.rows.items()} == {
        (row.arm, str(row.seed), row.state) for row in bad.itertuples()
    }


def words(table: Table, found: Recomputed) -> None:
    """A table of texts: all of its words and numbers stand in ``study.json``."""
    written = json.dumps(found.study, ensure_ascii=False)
    for first, row in table.rows.items():
        for text in (first, *row):
            for word in re.findall(r"[\w.+]+", text.replace("\\", "").replace("(chosen by search)", "")):
                assert word in written, word


def searched(table: Table, found: Recomputed) -> None:
    for arm, (chosen, trials, mattered) in table.rows.items():
        own = found.arms[arm]
        assert all(f"{name} = {value}" in chosen for name, value in own["searched"].items())
        assert int(trials) == own["search_trials"]
        assert holds(mattered, *own["search_importances"].values(), by=0.51)


CHECKS: dict[tuple[str, str], Callable[..., None]] = {
    ("Answer", "place"): answer,
    ("What was compared", ""): words,
    ("What was compared", "arm role"): words,
    ("What was compared", "arm chosen"): searched,
    ("Results", "arm"): means,
    ("Above the floors", "arm"): floors,
    ("Other splits and metrics", "arm"): others,
    ("Differences from `laconv`", "arm difference"): comparisons,
    ("Against the controls", "arm over"): controls,
    ("Against the controls", "arm"): differences,
    ("Factors", "effect"): effects,
    ("Where the noise is", "source"): noise,
    ("Does the ranking hold?", "arm"): ranking,
    ("Does the ranking hold?", "context"): agreement,
    ("Learning curves and convergence", "arm"): learning,
    ("Slices", "arm"): slices,
    ("Expected values", "arm"): expected_values,
    ("Cells without a result", "arm"): unfinished,
    ("Environment and reproduction", ""): words,
}
"""The check of each table, by the heading above it and the start of its own heading; the longest start counts."""


def check_of(table: Table) -> tuple[str, str]:
    start = " ".join(table.heading)
    fitting = [key for key in CHECKS if key[0] == table.section and start.strip().startswith(key[1])]
    assert fitting, f"no check recomputes the table {table.heading} under {table.section!r}"
    return max(fitting, key=lambda key: len(key[1]))

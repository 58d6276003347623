"""The check before arms of two studies are paired: what makes the pairing wrong is refused, the rest is noted."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from fusion_bench.comparing.origins import (
    BUDGET,
    DATA,
    DEVICE_KIND,
    METRIC,
    NUMERICS,
    REFERENCE_SEEDS,
    SEARCHED,
    SEEDS,
    WEIGHTS,
    OpenedReport,
    Origin,
)
from fusion_bench.comparing.surroundings import common_settings
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.tables.formatting import join_words, plural
from fusion_bench.results.results import StudyResults
from fusion_bench.results.shared_texts import as_texts

_LONGEST = 300  # letters of a value in a message
_ADVICE = {
    SEEDS: "train both with the same seeds (--set seeds=...)",
    REFERENCE_SEEDS: "train both with the same seeds (--set seeds=...)",
    DATA: "their samples are not the same",
    METRIC: "name the same metric and split under report in both studies",
    NUMERICS: "train the older one anew",
    DEVICE_KIND: "train both on the same kind of device",
    WEIGHTS: "train both from the same weights",
    SEARCHED: "search the same settings in both studies, or in none",
    BUDGET: "match both studies to the same budget, or none",
}


class NotPairableError(FusionBenchError):
    """Two reports whose arms cannot be paired; the message says what differs and gives both values."""


def agree(one: Origin, other: Origin) -> list[str]:
    """Check that the arms of two studies may be paired, and return sentences on what may differ and does.

    Raises:
        NotPairableError: data, seeds, primary metric, surroundings, numerics, kind of device, or the version of torch
            or timm (but for its last part) differ.
    """
    for name in (DATA, METRIC, SEEDS, REFERENCE_SEEDS):
        _same(name, one, other)
    notes = _surroundings(one, other)
    for name in (WEIGHTS, SEARCHED, BUDGET, NUMERICS):
        _same(name, one, other)
    _device(one, other)
    return [*notes, *_noted(one, other)]


def _same(name: str, one: Origin, other: Origin) -> None:
    values = [side.kept.get(name, frozenset()) for side in (one, other)]
    if all(values) and values[0] != values[1]:
        raise _refused(name, one, other, *(_listed(value) for value in values))


def _refused(what: str, one: Origin, other: Origin, first: str, second: str) -> NotPairableError:
    advice = f"; {_ADVICE[what]}" if what in _ADVICE else ""
    verb = "differ" if what in {SEEDS, REFERENCE_SEEDS, WEIGHTS} else "differs"
    return NotPairableError(
        f"the arms of {one.name} and {other.name} cannot be paired: {what} {verb}: {_cut(first)} in {one.name}, "
        f"{_cut(second)} in {other.name}{advice}"
    )


def _listed(values: frozenset[str]) -> str:
    return " and ".join(sorted(values))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _surroundings(one: Origin, other: Origin) -> list[str]:
    if one.arms and other.arms:
        _settings(one, other)
        return []
    old = [side.name for side in (one, other) if not side.arms]
    was = "were" if len(old) > 1 else "was"
    start = f"{join_words(old)} {was} published without cells"
    if shared := one.plain_cells & other.plain_cells:
        return [f"{start}; the surroundings are the same, because the reports share {_cells(len(shared))}."]
    if not (one.sentences and other.sentences):
        raise NotPairableError(
            f"the arms of {one.name} and {other.name} cannot be paired: {start}, so its settings are not known; "
            "publish it anew (fusion-bench report STUDY.yaml --publish), or let the study have one of its arms"
        )
    for heading in dict.fromkeys((*one.sentences, *other.sentences)):
        texts = [side.sentences.get(heading, "none") for side in (one, other)]
        if texts[0] != texts[1]:
            raise _refused(f'the setup under "{heading}"', one, other, *(f'"{text}"' for text in texts))
    return [f"{start}; the surroundings were compared by the sentences under *What was compared*."]


def _cells(count: int) -> str:
    return f"{plural(count, 'cell')} with the same id"


def _settings(one: Origin, other: Origin) -> None:
    sides = [common_settings(side.arms.values()) for side in (one, other)]
    sides = [
        common_settings(side.arms.values(), keys)
        for side, keys in zip((one, other), reversed(sides), strict=True)
    ]
    searched = {*_keys(one), *_keys(other)}
    for key in dict.fromkeys((*sides[0], *sides[1])):
        if key in searched or not all(key in side for side in sides):
            continue
        if not sides[0][key] & sides[1][key]:
            raise _refused(f"the setting {key}", one, other, *(_listed(side[key]) for side in sides))


def _keys(side: Origin) -> set[str]:
    """Return the settings that a search chose for each arm, which belong to the arms."""
    return {key for text in side.kept[SEARCHED] for key in text.split(", ")}


def _device(one: Origin, other: Origin) -> None:
    """Check the kind of device; a report that does not record it was made on the kind that its device is of."""
    kinds = [side.kept.get(DEVICE_KIND, frozenset()) for side in (one, other)]
    if all(kinds):
        _same(DEVICE_KIND, one, other)
        return
    devices = [_listed(side.noted.get("device", frozenset())) or "an unknown device" for side in (one, other)]
    if devices[0] != devices[1] or devices[0] == "an unknown device":
        unknown = join_words([side.name for side, kind in zip((one, other), kinds, strict=True) if not kind])
        raise NotPairableError(
            f"the arms of {one.name} and {other.name} cannot be paired: {unknown} does not record whether it ran on "
            f"a CPU or a GPU, and the devices differ: {devices[0]} in {one.name}, {devices[1]} in {other.name}; "
            f"publish {unknown} anew (fusion-bench report STUDY.yaml --publish)"
        )


def _noted(one: Origin, other: Origin) -> Iterator[str]:
    for name in dict.fromkeys((*one.noted, *other.noted)):
        values = [side.noted.get(name, frozenset()) - {""} for side in (one, other)]
        if not all(values) or values[0] == values[1]:
            continue
        if name in {"torch", "timm"} and not (_releases(values[0]) & _releases(values[1])):
            raise _refused(f"the version of {name}", one, other, *map(_listed, values))
        shown = "the processor" if name == "device" else name
        yield (
            f"{shown[0].upper()}{shown[1:]} differs: {_listed(values[0])} in {one.name}, {_listed(values[1])} in "
            f"{other.name}."
        )


def _releases(versions: frozenset[str]) -> set[tuple[str, ...]]:
    """Return versions without their last part: ``2.14.1+cu130`` is of 2.14."""
    return {tuple(version.partition("+")[0].split(".")[:2]) for version in versions}


def same_samples(one: OpenedReport, other: OpenedReport) -> None:
    """Check that two reports evaluated the same samples, with the same clusters, truths and slices.

    Raises:
        NotPairableError: they did not; the message names a sample.
    """
    for what in ("evaluate_splits", "cluster", "slices", "measures", "shows", "lower_is_better"):
        values = [getattr(side.results, what) for side in (one, other)]
        if values[0] != values[1]:
            name = what.replace("_", " ")
            raise NotPairableError(
                f"the arms of {one.name} and {other.name} cannot be paired: the {name} of the data differ: "
                f"{_shown(values[0])} in {one.name}, {_shown(values[1])} in {other.name}"
            )
    tables = [_one_of_each(side.results) for side in (one, other)]
    for side, left, right in ((one, tables[0], tables[1]), (other, tables[1], tables[0])):
        missing = left.index.difference(right.index)
        if len(missing):
            sizes = " and ".join(
                f"{len(table):,} in {owner.name}" for owner, table in zip((one, other), tables, strict=True)
            )
            split, sample = tuple(missing[0])
            raise NotPairableError(
                f"the arms of {one.name} and {other.name} cannot be paired: their samples differ ({sizes}); "
                f"{plural(len(missing), 'sample')} of {side.name} are not in the other, such as {sample} of {split}"
            )
    left, right = tables[0], tables[1].loc[tables[0].index]
    for column in left.columns:
        unequal = left[column].to_numpy() != right[column].to_numpy()
        if unequal.any():
            (split, sample), name = left.index[unequal][0], str(column)
            raise NotPairableError(
                f"the arms of {one.name} and {other.name} cannot be paired: the {name} of sample {sample} of {split} "
                f"differs: {_cut(str(left.loc[(split, sample), name]))} in {one.name}, "
                f"{_cut(str(right.loc[(split, sample), name]))} in {other.name}"
            )


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _one_of_each(results: StudyResults) -> pd.DataFrame:
    columns = ["cluster", "truth", *results.slices]
    rows = results.samples.drop_duplicates(["split", "sample"])
    rows = as_texts(rows[rows["split"].isin(results.evaluate_splits)])
    return rows.set_index(["split", "sample"])[columns].sort_index().astype(str)

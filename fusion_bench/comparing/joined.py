"""Several reports as one study, whose arms are paired by sample and seed.

An arm of one name that has equal cells in two reports (the same ids, with the same answers) is one arm. Where its
cells differ, it is one arm of each report, called ``arm (report)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from fusion_bench.comparing.origins import OpenedReport
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import did_you_mean
from fusion_bench.results.results import ArmSummary, StudyResults
from fusion_bench.results.shared_texts import as_texts
from fusion_bench.spec.arms import Role

_CELL_TABLES = ("cells", "values", "samples", "curves")


@dataclass(frozen=True, eq=False)
class JoinedReports:
    """Several reports as one study.

    Attributes:
        results: the study; what is not about arms is that of the first report.
        homes: the names of the reports that hold each arm or control, by its label in ``results``.
        contexts: the same for those contexts of ``results`` that several reports have.
    """

    results: StudyResults
    homes: Mapping[str, tuple[str, ...]]
    contexts: Mapping[str, JoinedReports] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Group:
    """One arm: the reports (by number) that hold it with equal cells, the first of which names it."""

    arm: str
    reports: tuple[int, ...]
    label: str


def join_reports(
    reports: Sequence[OpenedReport], reference: str | None = None, home: int | None = None
) -> JoinedReports:
    """Return reports as one study.

    Args:
        reports: reports whose arms may be paired; their names differ.
        reference: the label of the reference, in a report or in the joined study; by default the reference of the
            first report.
        home: the number of the report whose arm the reference is; by default any report may have it.

    Raises:
        FusionBenchError: there is no such arm, it is a control, or several reports have different arms of this name.
    """
    groups = _groups(reports)
    label = _reference(groups, reports, reference, home)
    first = reports[0].results
    arms = tuple(_summary(group, reports, label) for group in groups)
    roles = {arm.label: arm.role for arm in arms}
    tables = {name: _joined_table(name, groups, reports, roles) for name in _CELL_TABLES}
    expected = [side.results.expected for side in reports if len(side.results.expected)]
    results = replace(
        first,
        reference=label,
        arms=arms,
        expected=expected[0] if expected else first.expected,
        cautions=_cautions(reports),
        contexts={},
        cells=tables["cells"],
        values=tables["values"],
        samples=tables["samples"],
        curves=tables["curves"],
    )
    homes = {group.label: tuple(reports[number].name for number in group.reports) for group in groups}
    return JoinedReports(results, homes)


def _groups(reports: Sequence[OpenedReport]) -> list[_Group]:
    """Return the arms of all reports in their order, the controls last."""
    cells = [_cells(report) for report in reports]
    alike: dict[str, list[list[int]]] = {}
    for number, report in enumerate(reports):
        for label in (arm.label for arm in report.results.arms):
            found = alike.setdefault(label, [])
            for members in found:
                if _equal(cells[members[0]][label], cells[number][label]):
                    members.append(number)
                    break
            else:
                found.append([number])
    groups: list[_Group] = []
    for arm, found in alike.items():
        for members in found:
            label = arm if len(found) == 1 else f"{arm} ({reports[members[0]].name})"
            while label in {other.label for other in groups} or (label != arm and label in alike):
                label += "'"
            groups.append(_Group(arm, tuple(members), label))
    return sorted(groups, key=lambda group: _role(group, reports) == "control")


@dataclass(frozen=True, eq=False)
class _ArmCells:
    """The cells of an arm in a report, by seed: the ids of the planned ones, and the answers of the finished ones.

    ``sources`` are the digests of the source of its module; none where they are not known.
    """

    ids: Mapping[int, str]
    answers: Mapping[int, pd.DataFrame]
    sources: frozenset[str]


def _cells(report: OpenedReport) -> Mapping[str, _ArmCells]:
    cells, samples = report.results.cells, report.results.samples
    ids: dict[str, dict[int, str]] = {arm.label: {} for arm in report.results.arms}
    for arm, seed, cell in cells[["arm", "seed", "cell"]].itertuples(index=False, name=None):
        ids[arm][int(seed)] = str(cell)
    answers: dict[str, dict[int, pd.DataFrame]] = {arm: {} for arm in ids}
    columns = ["split", "sample", "prediction", "score"]
    for (arm, seed), rows in samples[["arm", "seed", *columns]].groupby(["arm", "seed"], observed=True):
        answers[str(arm)][int(str(seed))] = rows[columns]
    return {
        arm: _ArmCells(
            own,
            answers[arm],
            frozenset(report.cells[cell].provenance.module for cell in own.values() if cell in report.cells),
        )
        for arm, own in ids.items()
    }


def _equal(one: _ArmCells, other: _ArmCells) -> bool:
    """Return True if two reports have the same cells of an arm: the same ids, and the same answers.

    Where no seed is finished in both, the answers cannot tell: then the source of the module must be known and the
    same, unless one of them has no answer at all.
    """
    shared = one.ids.keys() & other.ids.keys()
    if not shared or any(one.ids[seed] != other.ids[seed] for seed in shared):
        return False
    if not (one.answers and other.answers):
        return True
    both = one.answers.keys() & other.answers.keys()
    if not both:
        return len(one.sources | other.sources) == 1
    return all(_ordered(one.answers[seed]).equals(_ordered(other.answers[seed])) for seed in both)


def _ordered(answers: pd.DataFrame) -> pd.DataFrame:
    """Return answers by sample, as texts: equal categories of two reports differ where one has a text more."""
    return as_texts(answers).sort_values(["split", "sample"], ignore_index=True)


def _reference(
    groups: Sequence[_Group], reports: Sequence[OpenedReport], asked: str | None, home: int | None
) -> str:
    if asked is None or home is not None:
        wanted, number = asked or reports[0].results.reference, home or 0
        return next(group.label for group in groups if group.arm == wanted and number in group.reports)
    fitting = [group for group in groups if group.label == asked] or [
        group for group in groups if group.arm == asked
    ]
    if not fitting:
        labels = [group.label for group in groups]
        raise FusionBenchError(f"there is no arm {asked!r} in these reports{did_you_mean(asked, labels)}")
    if len(fitting) > 1:
        raise FusionBenchError(
            f"{asked!r} has different cells in these reports; name one of "
            f"{', '.join(repr(group.label) for group in fitting)}"
        )
    if _role(fitting[0], reports) == "control":
        raise FusionBenchError(f"{asked!r} is a control; name an arm as the reference")
    return fitting[0].label


def _role(group: _Group, reports: Sequence[OpenedReport]) -> Role:
    """Return ``control`` if the arm is one in every report that holds it, else ``arm``."""
    roles = {_own(group, reports[number]).role for number in group.reports}
    return "control" if roles == {"control"} else "arm"


def _own(group: _Group, report: OpenedReport) -> ArmSummary:
    return next(arm for arm in report.results.arms if arm.label == group.arm)


def _summary(group: _Group, reports: Sequence[OpenedReport], reference: str) -> ArmSummary:
    role: Role = "reference" if group.label == reference else _role(group, reports)
    own = [_own(group, reports[number]) for number in group.reports]
    measured = next((arm for arm in own if arm.fusion_parameters is not None), own[0])
    found = replace(measured, label=group.label, role=role)
    return replace(found, unranked="") if role == "reference" else found


def _joined_table(
    name: str, groups: Sequence[_Group], reports: Sequence[OpenedReport], roles: Mapping[str, str]
) -> pd.DataFrame:
    """Return a table of all reports: of the cells that several have, those of the first in which it is finished."""
    parts = []
    for group in groups:
        taken: set[int] = set()
        planned: dict[int, int] = {}
        for number in group.reports:
            cells = reports[number].results.cells
            own = cells[cells["arm"] == group.arm]
            done = {int(seed) for seed in own.loc[own["state"] == "done", "seed"]} - taken
            table: pd.DataFrame = getattr(reports[number].results, name)
            rows = table[(table["arm"] == group.arm) & table["seed"].isin(done)]
            parts.append(_renamed(rows, group.label, roles))
            taken |= done
            planned |= {int(seed): number for seed in own["seed"] if int(seed) not in planned}
        if name == "cells":
            for seed, number in planned.items():
                if seed not in taken:
                    rows = reports[number].results.cells.query("arm == @group.arm and seed == @seed")
                    parts.append(_renamed(rows, group.label, roles))
    return pd.concat(parts, ignore_index=True)


def _renamed(rows: pd.DataFrame, label: str, roles: Mapping[str, str]) -> pd.DataFrame:
    named = rows.assign(arm=label)
    return named.assign(role=roles[label]) if "role" in rows else named


def _cautions(reports: Sequence[OpenedReport]) -> tuple[str, ...]:
    """Return the cautions of all reports; those that one alone has begin with its name."""
    first, *others = reports
    found = list(first.results.cautions)
    for report in others:
        found += [
            f"{report.name}: {text}" for text in report.results.cautions if text not in first.results.cautions
        ]
    return tuple(found)

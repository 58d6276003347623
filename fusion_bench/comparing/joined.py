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
        **tables,
    )
    homes = {group.label: tuple(reports[number].name for number in group.reports) for group in groups}
    return JoinedReports(results, homes)


def _groups(reports: Sequence[OpenedReport]) -> list[_Group]:
    """Return the arms of all reports in their order, the controls last."""
    answers = [_answers(report.results) for report in reports]
    alike: dict[str, list[list[int]]] = {}
    for number, report in enumerate(reports):
        for arm in report.results.arms:
            found = alike.setdefault(arm.label, [])
            for group in found:
                if _equal(answers[group[0]].get(arm.label), answers[number].get(arm.label)):
                    group.append(number)
                    break
            else:
                found.append([number])
    groups = []
    for arm, found in alike.items():
        for group in found:
            label = arm if len(found) == 1 else f"{arm} ({reports[group[0]].name})"
            while label in {other.label for other in groups} or (label != arm and label in alike):
                label += "'"
            groups.append(_Group(arm, tuple(group), label))
    return sorted(groups, key=lambda group: _role(group, reports) == "control")


_Answers = Mapping[int, tuple[str, pd.DataFrame]]
"""The id of each finished cell of an arm and its answers, by seed."""


def _answers(results: StudyResults) -> Mapping[str, _Answers]:
    done = results.cells[results.cells["state"] == "done"]
    ids = {(str(row.arm), int(row.seed)): str(row.cell) for row in done.itertuples()}
    columns = ["split", "sample", "prediction", "score"]
    found: dict[str, dict[int, tuple[str, pd.DataFrame]]] = {}
    for (arm, seed), rows in results.samples.groupby(["arm", "seed"], sort=False, observed=True):
        key = str(arm), int(str(seed))
        if key in ids:
            found.setdefault(key[0], {})[key[1]] = ids[key], rows[columns]
    return found


def _equal(one: _Answers | None, other: _Answers | None) -> bool:
    """Return True if the cells of the seeds that both have finished are the same; there is at least one."""
    if one is None or other is None or not (shared := set(one) & set(other)):
        return False
    if any(one[seed][0] != other[seed][0] for seed in shared):
        return False
    order = ["split", "sample"]
    return all(
        one[seed][1]
        .sort_values(order, ignore_index=True)
        .equals(other[seed][1].sort_values(order, ignore_index=True))
        for seed in shared
    )


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
    found = replace(_own(group, reports[group.reports[0]]), label=group.label, role=role)
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

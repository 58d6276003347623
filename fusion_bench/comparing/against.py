"""A study that is compared with the arms of a report: what it still trains, and its results beside the report's.

Whatever would make the pairing wrong is found before anything is trained, as far as it is known then; the finished
cells are checked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusion_bench.cells.provenance import module_digest
from fusion_bench.comparing.agreement import NotPairableError, agree
from fusion_bench.comparing.compare import check_pairable
from fusion_bench.comparing.joined import JoinedReports, join_reports
from fusion_bench.comparing.origins import OpenedReport, cells_in, context_of, open_report
from fusion_bench.comparing.today import origin_of_study
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.tables.formatting import join_words
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.study.plan import confirm_cells
from fusion_bench.training.paths import RunPaths


@dataclass(frozen=True, eq=False)
class AgainstReport:
    """A study that is compared with the arms of a report.

    Attributes:
        study: the study with the arms that it still trains.
        report: the report.
        reference: the label of the reference: that of the study if the report has the arm too, else the report's.
        taken: the labels of the study's arms whose cells the report has, so that they are not trained again.
        notes: what differs between the two and does not matter.
        contexts: the same for each context that both have.
    """

    study: Study
    report: OpenedReport
    reference: str
    taken: tuple[str, ...]
    notes: tuple[str, ...]
    contexts: Mapping[str, AgainstReport] = field(default_factory=dict)


def plan_against(study: Study, paths: RunPaths, folder: Path) -> AgainstReport:
    """Return what a study still trains when it is compared with the arms of a report.

    Args:
        study: the study; its own contexts are compared with those of the report that have the same label.
        paths: where its data lie, and on what device it will be trained.
        folder: the report.

    Raises:
        NotPairableError: the arms of the study could not be paired with those of the report.
        FusionBenchError: the folder holds no report, the data cannot be made or found, or the report has every arm of
            the study.
    """
    report = open_report(folder)
    if report.name == study.name:
        report = replace(report, name=folder.as_posix())
    return _planned(study, paths, report)


def _planned(study: Study, paths: RunPaths, report: OpenedReport) -> AgainstReport:
    for name, has_looks in (
        (f"the study {study.name}", bool(study.looks)),
        (report.name, report.results.stages is not None),
    ):
        if has_looks:
            raise NotPairableError(
                f"the arms of the study {study.name} and of {report.name} cannot be paired: {name} has looks, which "
                "decide its own comparisons; give every arm the same seeds"
            )
    notes = agree(origin_of_study(study, paths), report.origin)
    taken = tuple(arm.label for arm in study.arms if _has_cells_of(report, arm, study))
    contexts = {
        label: _planned(context, paths, context_of(report, label))
        for label, context in study.contexts.items()
        if label in report.results.contexts
    }
    reference = study.reference if study.reference in taken else report.results.reference
    return AgainstReport(
        _with_new_arms(study, taken, contexts, report), report, reference, taken, tuple(notes), contexts
    )


def _has_cells_of(report: OpenedReport, arm: Arm, study: Study) -> bool:
    """Return True if a report has all cells of an arm, of the same settings and source.

    The settings that a search will choose are not known yet, nor is the source of the module in a report of an
    earlier version: such arms are trained.
    """
    if study.search is not None:
        return False
    cells = report.results.cells
    own = cells[(cells["arm"] == arm.label) & (cells["state"] == "done")]
    ids = {int(seed): str(cell) for seed, cell in zip(own["seed"], own["cell"], strict=True)}
    source = module_digest(arm.config.arm.target)
    return all(
        ids.get(cell.seed) == cell.id
        and cell.id in report.cells
        and report.cells[cell.id].provenance.module == source
        for cell in confirm_cells([arm], study.seeds)
    )


def _with_new_arms(
    study: Study, taken: Sequence[str], contexts: Mapping[str, AgainstReport], report: OpenedReport
) -> Study:
    """Return the study without the arms that the report has; without its reference, its first arm is one."""
    arms = [arm for arm in study.arms if arm.label not in taken]
    ranked = [arm for arm in arms if arm.role != "control"]
    if not ranked:
        raise FusionBenchError(
            f"the report {report.name} has every arm of the study {study.name} already; compare its own arms with "
            f"`fusion-bench compare {report.folder}`, or add an arm"
        )
    if study.reference in taken:
        first = ranked[0]
        arms = [replace(arm, role="reference") if arm is first else arm for arm in arms]
        study = replace(study, reference=first.label)
    around = {**study.contexts, **{label: plan.study for label, plan in contexts.items()}}
    return replace(study, arms=tuple(arms), contexts=around)


def beside_report(own: StudyResults, runs: Path, plan: AgainstReport) -> JoinedReports:
    """Return the results of a study beside those of the report that it is compared with.

    Args:
        own: the results of the arms that the study trained.
        runs: the runs folder, which holds their cells.
        plan: see `plan_against`.

    Raises:
        NotPairableError: the finished cells cannot be paired with those of the report.
    """
    cells = cells_in(runs, [str(cell) for cell in own.cells.loc[own.cells["state"] == "done", "cell"]])
    trained = OpenedReport(own.name, runs, own, cells)
    notes = check_pairable([trained, plan.report])
    joined = join_reports([trained, plan.report], plan.reference)
    contexts = {
        label: beside_report(context, runs, plan.contexts[label]).results
        if label in plan.contexts
        else context
        for label, context in own.contexts.items()
    }
    results = replace(
        joined.results,
        setup=(*own.setup, ("Arms of a report", _origin_sentence(joined, plan.report, own.name))),
        cautions=(*joined.results.cautions, *notes),
        contexts=contexts,
    )
    return replace(joined, results=results)


def _origin_sentence(joined: JoinedReports, report: OpenedReport, study: str) -> str:
    published = [arm for arm, homes in joined.homes.items() if report.name in homes]
    trained = [arm for arm, homes in joined.homes.items() if report.name not in homes]
    manifest = report.results.environment.get("data manifest", "")
    on = f", data {manifest}" if manifest else ""
    others = f"; {join_words(trained)}: trained by the study {study}" if trained else ""
    where = f"{report.name} ({report.folder.as_posix()}{on})"
    return f"{join_words(published)}: from the report {where}, not trained again{others}."

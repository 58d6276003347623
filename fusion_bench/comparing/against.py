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
from fusion_bench.comparing.today import asked_cells, origin_of_study, with_data
from fusion_bench.errors import FusionBenchError
from fusion_bench.reporting.tables.formatting import join_words
from fusion_bench.results.results import StudyResults
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Search, Study
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
        asked: the ids of the cells that the whole study asks for, of arms that differ in their modules alone.
        notes: what differs between the two and does not matter.
        contexts: the same for each context that both have.
    """

    study: Study
    report: OpenedReport
    reference: str
    taken: tuple[str, ...]
    asked: frozenset[str]
    notes: tuple[str, ...]
    contexts: Mapping[str, AgainstReport] = field(default_factory=dict)


def plan_against(study: Study, paths: RunPaths, folder: Path, *, before_training: bool) -> AgainstReport:
    """Return what a study still trains when it is compared with the arms of a report.

    Args:
        study: the study; its own contexts are compared with those of the report that have the same label.
        paths: where its data lie, and on what device it will be trained.
        folder: the report.
        before_training: check what the cells would be made from now; without it, they are finished, and
            `beside_report` checks what they were made from.

    Raises:
        NotPairableError: the arms of the study could not be paired with those of the report.
        FusionBenchError: the folder holds no report, the data cannot be made or found, or the report has every arm of
            the study.
    """
    report = open_report(folder)
    if report.name == study.name:
        report = replace(report, name=folder.as_posix())
    return _planned(study, paths, report, before_training)


def _planned(study: Study, paths: RunPaths, report: OpenedReport, before_training: bool) -> AgainstReport:
    plan = _planned_alone(study, study.search, paths, report, before_training)
    if not _ranked(plan.study.arms):
        raise FusionBenchError(
            f"the report {report.name} has every arm of the study {study.name} already; compare its own arms with "
            f"`fusion-bench compare {report.folder}`, or add an arm"
        )
    contexts = {
        label: _planned_alone(context, study.search, paths, context_of(report, label), before_training)
        for label, context in study.contexts.items()
        if label in report.results.contexts
    }
    trained = {**study.contexts, **{label: inner.study for label, inner in contexts.items()}}
    # A report may have all arms of a context; a study without any arm cannot run.
    trained = {label: context for label, context in trained.items() if _ranked(context.arms)}
    return replace(plan, study=replace(plan.study, contexts=trained), contexts=contexts)


def _planned_alone(
    study: Study, search: Search | None, paths: RunPaths, report: OpenedReport, before_training: bool
) -> AgainstReport:
    """Return the plan of a study or of a context without contexts; ``search`` is that of the study itself."""
    for name, has_looks in (
        (f"the study {study.name}", bool(study.looks)),
        (report.name, report.results.stages is not None),
    ):
        if has_looks:
            raise NotPairableError(
                f"the arms of the study {study.name} and of {report.name} cannot be paired: {name} has looks, which "
                "decide its own comparisons; give every arm the same seeds"
            )
    notes: list[str] = []
    if before_training:  # the data last, because making them may take long
        origin = origin_of_study(study, search, paths)
        agree(origin, report.origin)
        notes = agree(with_data(origin, study, paths), report.origin)
    # The settings that a search will choose are not known yet.
    known = study.arms if search is None else ()
    taken = tuple(arm.label for arm in known if _has_cells_of(report, arm, study))
    if taken and not report.cells:
        notes.append(
            f"{report.name} does not record the source of its modules; its arms are taken as they are."
        )
    reference = study.reference if study.reference in taken else report.results.reference
    asked = frozenset() if search is not None else asked_cells(study)
    return AgainstReport(_with_new_arms(study, taken), report, reference, taken, asked, tuple(notes))


def _ranked(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for arm in arms if arm.role != "control"]


def _has_cells_of(report: OpenedReport, arm: Arm, study: Study) -> bool:
    """Return True if a report has all cells of an arm: of the same settings, and of today's source if it is recorded.

    A report of an earlier version does not record the source of its modules: its arms are taken as they are.
    """
    cells = report.results.cells
    own = cells[(cells["arm"] == arm.label) & (cells["state"] == "done")]
    ids = {int(seed): str(cell) for seed, cell in zip(own["seed"], own["cell"], strict=True)}
    source = module_digest(arm.config.arm.target)
    return all(
        ids.get(cell.seed) == cell.id
        and (cell.id not in report.cells or report.cells[cell.id].provenance.module == source)
        for cell in confirm_cells([arm], study.seeds, study.seed_counts)
    )


def _with_new_arms(study: Study, taken: Sequence[str]) -> Study:
    """Return the study without the arms that a report has; without its reference, its first arm is one.

    That arm has the seeds of an arm: the further seeds of a reference are those of the report's.
    """
    arms = [arm for arm in study.arms if arm.label not in taken]
    ranked = _ranked(arms)
    if study.reference in taken and ranked:
        arms = [replace(arm, role="reference") if arm is ranked[0] else arm for arm in arms]
        study = replace(
            study, reference=ranked[0].label, seeds=study.seeds[: study.fewest_seeds], arm_seeds=None
        )
    return replace(study, arms=tuple(arms))


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
    trained = OpenedReport(own.name, runs, own, cells, plan.asked)
    notes = check_pairable([trained, plan.report])
    joined = join_reports([trained, plan.report], plan.reference, home=1)
    contexts = {
        label: beside_report(context, runs, plan.contexts[label])
        for label, context in own.contexts.items()
        if label in plan.contexts
    }
    theirs = {arm for arm, homes in joined.homes.items() if homes == (plan.report.name,)}
    results = replace(
        joined.results,
        arms=tuple(
            replace(arm, latency_ms=None) if arm.label in theirs else arm for arm in joined.results.arms
        ),
        setup=(*own.setup, ("Arms of a report", _origin_sentence(joined, plan.report, own.name))),
        cautions=(*joined.results.cautions, *notes, *_LATENCY),
        contexts={**own.contexts, **{label: context.results for label, context in contexts.items()}},
    )
    return replace(joined, results=results, contexts=contexts)


_LATENCY = (
    "The latency of an arm that was not trained here is not shown, because it was measured at another time.",
)


def _origin_sentence(joined: JoinedReports, report: OpenedReport, study: str) -> str:
    published = [arm for arm, homes in joined.homes.items() if report.name in homes]
    trained = [arm for arm, homes in joined.homes.items() if report.name not in homes]
    manifest = report.results.environment.get("data manifest", "")
    # The path of a folder on somebody's machine says nothing to others.
    known = [] if report.folder.is_absolute() else [report.folder.as_posix()]
    known += [f"data {manifest}"] if manifest else []
    others = f"; {join_words(trained)}: trained by the study {study}" if trained else ""
    where = f"{report.name} ({', '.join(known)})" if known else report.name
    return f"{join_words(published)}: from the report {where}, not trained again{others}."

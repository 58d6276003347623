"""The arm to explain and its finished cell with weights; each error says what is missing and how to get it."""

from __future__ import annotations

from fusion_bench.cells.folder import cell_folder
from fusion_bench.contract import Explains, FusionModule
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.study.cell_status import CellStatus, cell_status
from fusion_bench.study.plan import confirm_cells
from fusion_bench.study.searching.search_results import search_result
from fusion_bench.training.paths import RunPaths


def explainable_arm(study: Study, label: str, paths: RunPaths) -> Arm:
    """Return the arm with this label; after a search, with the settings that the search chose.

    Raises:
        FusionBenchError: there is no such arm, its module does not explain itself, or the search is not finished.
    """
    arms = {arm.label: arm for arm in study.arms}
    if label not in arms:
        raise FusionBenchError(f"the study {study.name!r} has no arm {label!r}{did_you_mean(label, arms)}")
    kind = arms[label].config.arm.target.load()
    if issubclass(kind, FusionModule) and not issubclass(kind, Explains):
        raise FusionBenchError(cannot_explain_message(study, arms[label]))
    return next(arm for arm in search_result(study, paths).arms if arm.label == label)


def cannot_explain_message(study: Study, arm: Arm) -> str:
    """Return the message that an arm does not explain itself, with the arms that do."""
    kinds = {other.label: other.config.arm.target.load() for other in study.arms}
    explaining = [label for label, kind in kinds.items() if issubclass(kind, Explains)]
    others = f"use {', '.join(map(repr, explaining))}" if explaining else "no arm of this study has one"
    return (
        f"the arm {arm.label!r} cannot be explained: {kinds[arm.label].__name__} has no "
        f"explain(visual, language) (fusion_bench.contract.Explains); {others}"
    )


def finished_cell(study: Study, arm: Arm, seed: int | None, paths: RunPaths) -> CellStatus:
    """Return the status of the cell of an arm that is trained and kept its weights.

    Args:
        study: the study.
        arm: its arm.
        seed: a seed of the study; None for its first seed.
        paths: the folders of runs, data and weights.

    Raises:
        FusionBenchError: the cell is not trained, it failed, or it kept no weights; the message says how to train it.
    """
    seed = study.seeds[0] if seed is None else seed
    own = study.seeds[: study.seed_counts[arm.label]]
    if seed not in own:
        seeds = ", ".join(map(str, own))
        raise FusionBenchError(
            f"--seed {seed}: {arm.label!r} of the study {study.name!r} has the seeds {seeds}"
        )
    (cell,) = confirm_cells([arm], [seed])
    status = cell_status(cell, paths)
    name, command = f"{arm.label!r} with seed {seed}", f"fusion-bench run {study.path} --keep-weights"
    if status.state == "missing":
        raise FusionBenchError(
            f"{name} is not trained in {paths.runs}: run `{command}` first, with the same --set and --runs"
        )
    if status.state == "failed":
        retry = "" if cell.abandoned else f"; correct this and run `{command} --retry-failed`"
        raise FusionBenchError(f"{name} could not be trained ({status.reason}){retry}")
    folder = cell_folder(paths.runs, cell.id).path
    if not (folder / "model.safetensors").exists():
        raise FusionBenchError(
            f"{name} was trained without keeping its weights: delete {folder} and run `{command}`, with the same "
            "--set and --runs"
        )
    return status

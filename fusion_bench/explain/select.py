"""An arm that can be asked and its finished cell with the weights; what is in the way, and how to put it right."""

from __future__ import annotations

from fusion_bench.cells.folder import cell_folder
from fusion_bench.contract import Explains, FusionModule
from fusion_bench.errors import FusionBenchError
from fusion_bench.registry import did_you_mean
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study
from fusion_bench.study.plan import CellStatus, cell_status, confirm_cells
from fusion_bench.study.search_results import search_result
from fusion_bench.training.paths import RunPaths


def explainable_arm(study: Study, label: str, paths: RunPaths) -> Arm:
    """The arm with a label, with its winner's settings after a search.

    Raises:
        FusionBenchError: there is none, its module does not explain itself, or the search is not finished.
    """
    arms = {arm.label: arm for arm in study.arms}
    if label not in arms:
        raise FusionBenchError(f"the study {study.name!r} has no arm {label!r}{did_you_mean(label, arms)}")
    kind = arms[label].config.arm.target.load()
    if issubclass(kind, FusionModule) and not issubclass(kind, Explains):
        raise FusionBenchError(cannot_explain_message(study, arms[label]))
    return next(arm for arm in search_result(study, paths).arms if arm.label == label)


def cannot_explain_message(study: Study, arm: Arm) -> str:
    """Says that an arm cannot be asked, and which can."""
    kinds = {other.label: other.config.arm.target.load() for other in study.arms}
    able = [label for label, kind in kinds.items() if issubclass(kind, Explains)]
    others = f"ask {', '.join(map(repr, able))}" if able else "no arm of this study can"
    return (
        f"the arm {arm.label!r} cannot be asked: {kinds[arm.label].__name__} has no "
        f"explain(visual, language) (fusion_bench.contract.Explains); {others}"
    )


def finished_cell(study: Study, arm: Arm, seed: int | None, paths: RunPaths) -> CellStatus:
    """The arm's cell, trained and with its weights; of the study's first seed if none is named.

    Raises:
        FusionBenchError: it is not trained, it failed, or it kept no weights; says how to train it.
    """
    seed = study.seeds[0] if seed is None else seed
    if seed not in study.seeds:
        named = ", ".join(map(str, study.seeds))
        raise FusionBenchError(f"--seed {seed}: the study {study.name!r} has the seeds {named}")
    (cell,) = confirm_cells([arm], [seed])
    found = cell_status(cell, paths)
    who, command = f"{arm.label!r} with seed {seed}", f"fusion-bench run {study.path} --keep-weights"
    if found.state == "missing":
        raise FusionBenchError(
            f"{who} is not trained in {paths.runs}: run `{command}` first, with the same --set and --runs"
        )
    if found.state == "failed":
        retry = "" if cell.abandoned else f"; put that right and run `{command} --retry-failed`"
        raise FusionBenchError(f"{who} could not be trained ({found.reason}){retry}")
    folder = cell_folder(paths.runs, cell.id).path
    if not (folder / "model.safetensors").exists():
        raise FusionBenchError(
            f"{who} was trained without keeping its weights: delete {folder} and run `{command}`, with the same "
            "--set and --runs"
        )
    return found

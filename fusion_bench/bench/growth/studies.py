"""The CPU time of the commands of a toy study with a given number of arms or cells, those of its workers included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fusion_bench.bench.small_commands import child_cpu_seconds
from fusion_bench.cells.folder import cell_folder
from fusion_bench.cells.held_cell import held
from fusion_bench.spec.load import read_study
from fusion_bench.study.plan import PlannedCell, confirm_cells, write_configs


def plan_arms(count: int) -> float:
    """Return the seconds of ``plan`` for ``count`` arms whose parameters are matched."""
    arms = {f"concat{number}": {"module": "concat", "dropout": number / 1000} for number in range(count - 1)}
    study = _study({"film": {"module": "film"}, **arms}, seeds=1)
    with TemporaryDirectory() as name:
        file = _write({**study, "budget": {"match": "params"}}, Path(name))
        return _command("plan", file)


def run_cells(count: int) -> float:
    """Return the seconds of ``run`` with one worker for a study of ``count`` cells."""
    with TemporaryDirectory() as name:
        return _command("run", _cells(count, Path(name)), "--workers", "1")


def plan_cells(count: int) -> float:
    """Return the seconds of ``plan`` for a study of ``count`` cells that are all finished.

    Two cells are trained; the others get copies of their outcomes.
    """
    with TemporaryDirectory() as name:
        file = _cells(2, Path(name))
        _command("run", file, "--workers", "1")
        _finish_like_the_first(file, count)
        return _command("plan", file)


def _finish_like_the_first(file: Path, count: int) -> None:
    """Extend a study to ``count`` cells, and give each one the outcome of its arm with the first seed."""
    first = {cell.arm: cell for cell in _planned(file)}
    _cells(count, file.parent)
    cells, runs = _planned(file), file.parent / "runs"
    write_configs(cells, runs)
    for cell in cells:
        own, given = cell_folder(runs, cell.id), cell_folder(runs, first[cell.arm].id)
        if not own.done:
            with held(own) as taker:
                taker.take(given)
            own.path.joinpath("config.json").unlink()
            own.write_config(cell.config)


def _planned(file: Path) -> tuple[PlannedCell, ...]:
    study = read_study(file, ())
    return confirm_cells(study.arms, study.seeds)


def report_cells(count: int) -> float:
    """Return the seconds of ``report`` for a study of ``count`` finished cells."""
    with TemporaryDirectory() as name:
        file = _cells(count, Path(name))
        _command("run", file, "--workers", "1")
        return _command("report", file)


def _command(name: str, study: Path, *options: str) -> float:
    return child_cpu_seconds(
        ["-m", "fusion_bench", name, str(study), "--runs", str(study.parent / "runs"), *options]
    )


def _cells(count: int, folder: Path) -> Path:
    arms = {"film": {"module": "film"}, "concat": {"module": "concat"}}
    return _write(_study(arms, seeds=count // len(arms)), folder)


def _study(arms: Mapping[str, Any], seeds: int) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "growth",
        "title": "Toy cells",
        "data": {
            "name": "miniclevr",
            "image_size": [48, 72],
            "size": [48, 72],
            "kinds": "locate",
            "images": {"train": 8, "select": 8, "evaluate": 8},
            "questions_per_image": 4,
        },
        "backbone": {"name": "test_resnet", "layer": 3, "weights": "random", "frozen": True},
        "text": {"encoder": "gru", "embedding": 8, "hidden": 8},
        "fusion": {"width": 8, "depth": 1},
        "train": {"epochs": 1, "batch_size": 16},
        "controls": False,
        "arms": arms,
        "seeds": seeds,
    }


def _write(study: Mapping[str, Any], folder: Path) -> Path:
    path = folder / "growth.yaml"
    path.write_text(json.dumps(study), encoding="utf-8")  # JSON is YAML
    return path

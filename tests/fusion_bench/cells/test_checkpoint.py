"""A cell that was interrupted goes on from its checkpoint to the same bytes; no bad checkpoint stops a cell."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

import interrupted_cells
from command_line import environment
from fusion_bench.cells import run_cell as running
from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.training.config import CellConfig, CheckpointConfig
from fusion_bench.training.fit.step_done import StepDone
from interrupted_cells import ALWAYS, VARIANTS, bytes_of_result, restless_config, run_toy_cell

ROOT = Path(__file__).parents[3]


class Interrupted(BaseException):
    """Stands for a kill: no code of the harness handles it."""


def interrupt(runs: Path, config: CellConfig, step: int, phase: str = "training") -> CellFolder:
    """Train a cell until a step is over."""

    def watch(done: StepDone) -> None:
        if done.phase == phase and done.step == step:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_toy_cell(runs, config, watch)
    return cell_folder(runs, config.id)


@functools.cache
def whole(variant: str) -> dict[str, bytes]:
    """Return the bytes of a cell that is trained without a checkpoint and without an interruption."""
    with TemporaryDirectory() as runs:
        folder, report = run_toy_cell(Path(runs), restless_config(variant, None))
        assert report.failure is None
        return bytes_of_result(folder)


@pytest.mark.parametrize(
    ("variant", "step"),
    [
        ("adamw", 1),
        ("adamw", 17),
        ("adam with average", 6),
        ("adam with average", 7),
        ("patience", 20),
        ("one per referent", 9),
        ("float", 11),
    ],
)
def test_an_interrupted_cell_has_the_bytes_of_an_uninterrupted_one(
    tmp_path: Path, variant: str, step: int
) -> None:
    config = restless_config(variant)
    folder = interrupt(tmp_path / "runs", config, step)
    sentences: list[str] = []
    steps: list[StepDone] = []
    run_toy_cell(tmp_path / "runs", config, steps.append, sentences)
    # The step that was interrupted by what it told was not written any more.
    assert sentences == ([f"goes on from its checkpoint at step {step - 1}"] if step > 1 else [])
    assert steps[0] == StepDone("training", step, steps[0].steps)
    assert bytes_of_result(folder) == whole(variant)
    assert not folder.checkpoint.exists()


def test_a_cell_may_be_interrupted_many_times_and_in_its_last_evaluation(tmp_path: Path) -> None:
    config = restless_config("adam with average")
    for step in (3, 4, 13, 24):
        interrupt(tmp_path / "runs", config, step)
    folder = interrupt(tmp_path / "runs", config, 1, "evaluation")
    sentences: list[str] = []
    steps: list[StepDone] = []
    run_toy_cell(tmp_path / "runs", config, steps.append, sentences)
    assert sentences == ["goes on from its checkpoint at step 24"]
    assert {step.phase for step in steps} == {"evaluation"}
    assert bytes_of_result(folder) == whole("adam with average")


def test_checkpoints_change_no_byte_of_a_cell_that_is_not_interrupted(tmp_path: Path) -> None:
    config = restless_config("patience")
    folder, report = run_toy_cell(tmp_path / "runs", config)
    assert report.failure is None
    assert bytes_of_result(folder) == whole("patience")
    assert not folder.checkpoint.exists()


def test_the_time_of_all_tries_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def wait(_: StepDone) -> None:
        now[0] += 10

    config = restless_config("adamw", 0.5)  # a checkpoint after every third step
    with pytest.raises(Interrupted):
        run_toy_cell(tmp_path, config, lambda done: wait(done) if done.step < 8 else _raise(Interrupted()))
    sentences: list[str] = []
    folder, _ = run_toy_cell(tmp_path, config, wait, sentences)
    evaluations = 4 * 1
    assert sentences == ["goes on from its checkpoint at step 6"]
    assert folder.timing().train_seconds == 10 * (24 + evaluations)


def _raise(error: BaseException) -> None:
    raise error


def test_a_failed_cell_that_is_tried_again_goes_on(tmp_path: Path) -> None:
    config = restless_config("adamw")
    _, report = run_toy_cell(
        tmp_path / "runs", config, lambda d: _raise(MemoryError()) if d.step == 9 else None
    )
    assert report.failure is not None
    sentences: list[str] = []
    folder, _ = run_toy_cell(tmp_path / "runs", config, sentences=sentences)
    assert sentences == ["goes on from its checkpoint at step 8"]
    assert bytes_of_result(folder) == whole("adamw")


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def change_one_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def store(content: Any, file: Path) -> None:
    """Write a checkpoint with a right checksum around any content."""
    stream = io.BytesIO()
    torch.save(content, stream)
    file.write_bytes(hashlib.sha256(stream.getvalue()).hexdigest().encode() + b"\n" + stream.getvalue())


def strip(file: Path) -> None:
    """Take a tensor away from the model that a checkpoint holds."""
    stored = torch.load(io.BytesIO(file.read_bytes().partition(b"\n")[2]), weights_only=True)
    del stored["state"]["model"]["state"]["slot.adapter.weight"]
    store(stored, file)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        cut,
        change_one_bit,
        strip,
        lambda file: store([1, 2], file),
        lambda file: store({"origin": Path, "state": {}}, file),
        make_folder,
        lambda file: (file.unlink(), os.mkfifo(file)),
    ],
    ids=["empty", "cut", "one bit", "a tensor gone", "a list", "a class", "a folder", "a pipe"],
)
def test_a_damaged_checkpoint_is_told_and_the_cell_begins_anew(tmp_path: Path, damage: Any) -> None:
    config = restless_config("adamw")
    folder = interrupt(tmp_path / "runs", config, 9)
    damage(folder.checkpoint)
    sentences: list[str] = []
    steps: list[StepDone] = []
    _, report = run_toy_cell(tmp_path / "runs", config, steps.append, sentences)
    assert report.failure is None
    assert sentences[0].startswith(f"the checkpoint {folder.checkpoint} is damaged (")
    assert sentences[0].endswith("; the cell is trained from its start")
    assert steps[0].step == 1
    assert bytes_of_result(folder) == whole("adamw")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"numerics": "0"}, "the harness's numerics"),
        ({"module": "0", "data": "other"}, "the module's source, the data"),
        ({"device": "another processor"}, "device (another processor, now "),
        ({"torch": "1.0"}, "torch (1.0, now "),
        ({"weights": "1", "weights_file": "1"}, "the weights of the backbone changed"),
    ],
)
def test_a_checkpoint_of_something_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], names: str
) -> None:
    config = restless_config("adamw")
    today = running.current_provenance
    with monkeypatch.context() as then:
        then.setattr(
            running, "current_provenance", lambda *given, **named: replace(today(*given, **named), **changes)
        )
        folder = interrupt(tmp_path / "runs", config, 9)
    sentences: list[str] = []
    steps: list[StepDone] = []
    run_toy_cell(tmp_path / "runs", config, steps.append, sentences)
    assert len(sentences) == 1
    assert sentences[0].startswith(f"the checkpoint {folder.checkpoint} is not used, because {names}")
    assert steps[0].step == 1
    assert bytes_of_result(folder) == whole("adamw")


def test_a_checkpoint_of_another_cell_is_not_used(tmp_path: Path) -> None:
    other = interrupt(tmp_path / "runs", restless_config("adam with average"), 9)
    config = restless_config("adamw")
    folder = cell_folder(tmp_path / "runs", config.id)
    folder.path.mkdir(parents=True)
    other.checkpoint.rename(folder.checkpoint)
    sentences: list[str] = []
    run_toy_cell(tmp_path / "runs", config, sentences=sentences)
    assert "is not used, because the cell changed" in sentences[0]
    assert bytes_of_result(folder) == whole("adamw")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES], ids=["full", "read-only"])
def test_a_disk_that_takes_no_checkpoint_does_not_stop_the_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    config = restless_config("adamw")
    rename = Path.replace

    def refuse(part: Path, target: Path) -> Path:
        if target.name == "checkpoint":
            raise OSError(number, os.strerror(number))
        return rename(part, target)

    monkeypatch.setattr(Path, "replace", refuse)
    sentences: list[str] = []
    folder, report = run_toy_cell(tmp_path / "runs", config, sentences=sentences)
    assert report.failure is None
    assert sentences == [
        f"no checkpoint can be written at step 1 of 24: {os.strerror(number)}; the training goes on"
    ] or (len(sentences) == 1 and os.strerror(number) in sentences[0])
    assert not [file.name for file in folder.path.iterdir() if file.name.startswith((".", "checkpoint"))]
    assert bytes_of_result(folder) == whole("adamw")


def test_the_checkpoint_of_a_finished_cell_is_swept(tmp_path: Path) -> None:
    config = restless_config("adamw")
    folder, _ = run_toy_cell(tmp_path, config)
    folder.checkpoint.write_bytes(b"left by a process that was killed after DONE")
    run_toy_cell(tmp_path, config)
    assert not folder.checkpoint.exists()


def test_without_the_setting_no_checkpoint_is_written_or_read(tmp_path: Path) -> None:
    folder = interrupt(tmp_path, restless_config("adamw", None), 9)
    assert not folder.checkpoint.exists()
    interrupt(tmp_path, restless_config("adamw"), 9)
    steps: list[StepDone] = []
    run_toy_cell(tmp_path, restless_config("adamw", None), steps.append)
    assert steps[0].step == 1


def test_a_checkpoint_waits_for_its_minutes(tmp_path: Path) -> None:
    config = restless_config("adamw")
    seldom = replace(config, train=replace(config.train, checkpoint=CheckpointConfig(60.0)))
    folder = interrupt(tmp_path, seldom, 9)
    assert not folder.checkpoint.exists()


def kill(runs: Path, variant: str, step: int, minutes: float) -> None:
    """Train a cell in a process that is killed after a step."""
    ended = subprocess.run(
        [sys.executable, interrupted_cells.__file__, runs, variant, str(step), str(minutes)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def _draws() -> list[tuple[str, int, float]]:
    draw = np.random.default_rng(20261130)
    minutes = [ALWAYS, 2e-4]  # a checkpoint after every step, and after some of them
    return [(name, int(draw.integers(2, 16)), minutes[n % 2]) for n, name in enumerate(VARIANTS)]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "step", "minutes"), _draws())
def test_a_killed_process_loses_no_bit(tmp_path: Path, variant: str, step: int, minutes: float) -> None:
    kill(tmp_path, variant, step, minutes)
    sentences: list[str] = []
    folder, _ = run_toy_cell(tmp_path, restless_config(variant, minutes), sentences=sentences)
    if minutes == ALWAYS:
        assert sentences == [f"goes on from its checkpoint at step {step - 1}"]
    assert folder.done
    assert bytes_of_result(folder) == whole(variant)

"""A cell's folder decides: DONE comes last, failures are no results, and half a writing leaves nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fusion_bench.cells.folder import CellFolder, cell_folder
from fusion_bench.cells.held_cell import held
from fusion_bench.cells.result import ArmCosts, CellResult, Outcome, Provenance, Timing
from fusion_bench.errors import LONGEST_REASON, FusionBenchError
from fusion_bench.lease import LeaseHeld
from fusion_bench.registry import Target
from fusion_bench.storage import read_json, write_json
from fusion_bench.training.config import CheckpointConfig, Component
from held_cells import fail_cell, finish_cell
from toys import toy_config

OUTCOME = Outcome(
    CellResult(
        metrics={"test/accuracy": 0.5},
        selection={"accuracy": 0.25},
        epochs=2,
        best_epoch=1,
        costs=ArmCosts(1, 2, 3, 4),
        vocabulary=5,
        outputs=6,
        train_samples=7,
        data_warnings={"shared_image": {"test": 8}},
    ),
    pd.DataFrame(
        {
            "split": ["test"],
            "sample": ["a"],
            "cluster": ["0"],
            "truth": ["yes"],
            "prediction": ["yes"],
            "score": [1.0],
        }
    ),
    pd.DataFrame({"epoch": [1], "samples_seen": [16], "quantity": ["select/accuracy"], "value": [0.5]}),
    Timing(1.0, 0.5),
    Provenance(
        module="m",
        numerics="n",
        torch="2",
        timm="1",
        device_kind="cpu",
        data="d",
        weights="",
        device="a processor",
        threads=1,
        python="3",
        numpy="2",
        platform="an operating system",
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> CellFolder:
    config = toy_config()
    found = cell_folder(tmp_path, config.id)
    found.write_config(config)
    return found


def test_what_is_finished_is_read_back(folder: CellFolder) -> None:
    assert not folder.done
    finish_cell(folder, OUTCOME, {"weight": torch.ones(2, 3).T})
    found = folder.outcome()
    assert folder.done
    pd.testing.assert_frame_equal(found.samples, OUTCOME.samples)
    pd.testing.assert_frame_equal(found.curves, OUTCOME.curves)
    assert (found.result, found.timing, found.provenance) == (
        OUTCOME.result,
        OUTCOME.timing,
        OUTCOME.provenance,
    )
    assert torch.equal(load_file(folder.path / "model.safetensors")["weight"], torch.ones(3, 2))


def test_what_an_interrupted_try_left_is_no_part_of_the_outcome(folder: CellFolder) -> None:
    for name in ("predictions.parquet", "model.safetensors"):
        (folder.path / name).write_bytes(b"of an earlier try")
    finish_cell(folder, OUTCOME)
    assert folder.outcome().predictions is None
    assert not (folder.path / "model.safetensors").exists()
    assert folder.config().id == folder.id


def test_a_failure_is_forgotten_when_the_cell_is_done_or_when_that_is_asked(folder: CellFolder) -> None:
    fail_cell(folder, "no luck", "a long story")
    assert (folder.failure, folder.done) == ("no luck", False)
    with held(folder) as cell:
        cell.forget_failure()
    assert folder.failure is None
    fail_cell(folder, "no luck", "")
    finish_cell(folder, OUTCOME)
    assert folder.failure is None


@pytest.mark.parametrize("name", ["samples.parquet", "timing.json", "provenance.json", "result.json", "DONE"])
def test_an_interrupted_writing_leaves_a_cell_that_is_not_done(
    folder: CellFolder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == name:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finish_cell(folder, OUTCOME)
    assert not folder.done
    assert not list(folder.path.glob("*.part"))
    with pytest.raises(FusionBenchError, match="is not finished"):
        folder.outcome()


def test_a_damaged_table_is_named(folder: CellFolder) -> None:
    finish_cell(folder, OUTCOME)
    (folder.path / "samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(FusionBenchError, match=r"is damaged.*delete the folder to train the cell again"):
        folder.outcome()


JSON_FILES = ("result.json", "timing.json", "provenance.json")


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '"text"', "3", '{"metrics": []}', "[" * 100_000])
def test_json_of_the_wrong_shape_is_named_with_what_to_do(
    folder: CellFolder, name: str, content: str
) -> None:
    finish_cell(folder, OUTCOME)
    (folder.path / name).write_text(content)
    with pytest.raises(FusionBenchError) as error:
        folder.outcome()
    message = str(error.value)
    assert message.startswith(f"the cell {folder.path} is damaged: ")
    assert name in message
    assert message.endswith("; delete the folder to train the cell again")


@pytest.mark.parametrize("name", JSON_FILES)
def test_a_value_of_the_wrong_type_is_named(folder: CellFolder, name: str) -> None:
    finish_cell(folder, OUTCOME)
    stored = read_json(folder.path / name)
    for key, value in stored.items():
        wrong: object = 7 if isinstance(value, str | dict) else "seven"
        write_json(folder.path / name, {**stored, key: wrong})
        with pytest.raises(
            FusionBenchError, match=rf"is damaged: {name}\.{key} must be .*; delete the folder"
        ):
            folder.outcome()


@pytest.mark.parametrize("name", ["samples.parquet", "curves.parquet", "predictions.parquet"])
def test_a_table_without_its_columns_is_named(folder: CellFolder, name: str) -> None:
    finish_cell(folder, OUTCOME)
    pd.DataFrame({"split": ["test"], "epoch": [1]}).to_parquet(folder.path / name)
    with pytest.raises(
        FusionBenchError, match=rf"is damaged: {name} lacks the columns .*; delete the folder"
    ):
        folder.outcome()


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"reason": 3}', '{"reason": "x", "more": 1}'])
def test_a_damaged_record_of_a_failure_is_a_failure(folder: CellFolder, content: str) -> None:
    (folder.path / "failed.json").write_text(content)
    assert folder.failure is not None
    assert folder.failure.startswith(f"the reason is lost ({folder.path / 'failed.json'}")
    assert folder.failure.endswith("to try the cell again, run the study with --retry-failed")
    with held(folder) as cell:
        cell.forget_failure()
    assert folder.failure is None


@pytest.mark.parametrize("text", ["y" * 1_000_000, "short lines\n" * 100_000, "\x1b[31mred " * 100_000])
def test_a_reason_is_one_line_of_bounded_length(folder: CellFolder, text: str) -> None:
    fail_cell(folder, f"it began here {text}it ended here", "")
    reason = folder.failure
    assert reason is not None
    assert len(reason) <= LONGEST_REASON
    assert reason.isprintable()
    assert reason.endswith(f"it ended here (more of it stands in {folder.path / 'failed.json'})")
    fail_cell(folder, reason, "")
    assert folder.failure == reason  # what is short enough is kept


def test_a_long_exception_keeps_its_type_and_its_end(folder: CellFolder) -> None:
    try:
        raise ValueError("x" * 1_000_000 + " at last \udcff")
    except ValueError as error:
        with held(folder) as cell:
            reason = cell.fail_with(error).reason
    assert reason == folder.failure
    assert reason.startswith("ValueError: ... xxx")
    assert " at last (more of it stands in " in reason
    record = read_json(folder.path / "failed.json")
    assert len(record["details"]) > 100_000
    assert (folder.path / "failed.json").stat().st_size < 1_000_000


def test_a_record_of_an_earlier_version_is_cut_when_it_is_read(folder: CellFolder) -> None:
    write_json(folder.path / "failed.json", {"reason": "y" * 1_000_000, "details": ""})
    assert folder.failure is not None
    assert len(folder.failure) <= LONGEST_REASON


def test_stale_outcomes_are_put_aside_one_after_another(folder: CellFolder) -> None:
    for number in range(2):
        finish_cell(folder, OUTCOME)
        with held(folder) as cell:
            cell.set_aside()
        assert not folder.done
        assert CellFolder(folder.path / "replaced" / str(number)).done
    assert folder.config() == toy_config()


def test_an_outcome_is_put_aside_where_an_earlier_one_was_deleted(folder: CellFolder) -> None:
    (folder.path / "replaced" / "1").mkdir(parents=True)
    finish_cell(folder, OUTCOME)
    with held(folder) as cell:
        cell.set_aside()
    assert CellFolder(folder.path / "replaced" / "2").done


def test_one_process_at_a_time_holds_a_cell(folder: CellFolder) -> None:
    assert not folder.busy
    with held(folder):
        assert folder.busy
        with pytest.raises(LeaseHeld), held(folder):
            pass
    assert not folder.busy


def test_a_cell_is_asked_once_and_answers_for_its_own_id(folder: CellFolder) -> None:
    before = (folder.path / "config.json").stat().st_mtime_ns
    folder.write_config(toy_config())
    assert (folder.path / "config.json").stat().st_mtime_ns == before
    other = cell_folder(folder.path.parents[1], "0" * 16)
    other.write_config(toy_config())
    with pytest.raises(FusionBenchError, match="does not belong in this folder"):
        other.config()


def test_another_checkpoint_setting_is_written_unless_the_cell_is_done(folder: CellFolder) -> None:
    asked = toy_config(checkpoint=CheckpointConfig(10.0))
    assert asked.id == folder.id
    plain = (folder.path / "config.json").read_bytes()
    folder.write_config(asked)
    assert folder.config() == asked
    folder.write_config(toy_config())
    assert (folder.path / "config.json").read_bytes() == plain
    finish_cell(folder, OUTCOME)
    folder.write_config(asked)
    assert (folder.path / "config.json").read_bytes() == plain


def test_a_class_that_moved_is_found_again_by_its_name(folder: CellFolder) -> None:
    asked = replace(toy_config(), arm=Component(Target("toys:Product", name="product")))
    moved = replace(asked, arm=Component(Target("toys:Wider", name="product")))
    cell = cell_folder(folder.path.parents[1], asked.id)
    cell.write_config(asked)
    cell.write_config(moved)
    assert cell.config() == moved

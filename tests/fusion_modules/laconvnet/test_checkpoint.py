"""What may stand in a checkpoint, and what is refused in one sentence."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fusion_bench.errors import WeightsError
from fusion_modules.laconvnet.checkpoint import read_checkpoint
from fusion_modules.laconvnet.names import our_name
from official_laconvnet import CASES, Case, one_number_each

SMALL: Case = ("s", "det")


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return one_number_each(SMALL)


def refusal(source: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(source)
    return str(caught.value)


def trained(weights: dict[str, Tensor], **beside: Any) -> dict[str, Any]:
    """What the authors' training writes: weights, and the state of the optimiser and of the schedule."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    states = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    return {"epoch": 40, "state_dict": weights, **states, "lr": 1e-4, **beside}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_variant_and_task_are_told_from_the_names(case: Case) -> None:
    told = read_checkpoint(one_number_each(case))
    assert (told.variant, told.task) == case
    assert told.epoch is None
    assert told.vocabulary is None


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_reads_what_the_training_wrote(tmp_path: Path, weights: dict[str, Tensor], zipped: bool) -> None:
    path = tmp_path / "det_best.pth"
    torch.save(trained(weights), path, _use_new_zipfile_serialization=zipped)
    told = read_checkpoint(path)
    assert told.epoch == 40
    assert told.weights.keys() == weights.keys()
    assert all(torch.equal(told.weights[name], weights[name]) for name in weights)


def test_reads_the_other_spelling(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"net_state_dict": weights, "optimizer_state_dict": {}, "epoch": 3}, path)
    told = read_checkpoint(str(path))
    assert told.epoch == 3
    assert told.weights.keys() == weights.keys()


def test_two_spellings_at_once_are_refused(weights: dict[str, Tensor]) -> None:
    assert "both 'state_dict' and 'net_state_dict'" in refusal(
        {"state_dict": weights, "net_state_dict": weights}
    )


@pytest.mark.parametrize("core", [b"numpy._core", b"numpy.core"], ids=["NumPy 2", "NumPy 1"])
def test_numpy_numbers_beside_the_weights_do_no_harm(
    tmp_path: Path, weights: dict[str, Tensor], core: bytes
) -> None:
    written, path = tmp_path / "written.pth", tmp_path / "last.pth"
    torch.save(trained(weights, epoch=np.int64(7), lr=np.float64(1e-4), best=np.float32(0.5)), written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry).replace(b"numpy._core", core))
    assert read_checkpoint(path).epoch == 7


def test_one_prefix_of_several_gpus_is_taken_away(weights: dict[str, Tensor]) -> None:
    told = read_checkpoint({f"module.{name}": value for name, value in weights.items()})
    assert told.weights.keys() == weights.keys()


def test_only_one_prefix_and_only_in_front(weights: dict[str, Tensor]) -> None:
    inside = {**weights, "head.module.weight": torch.zeros(1)}
    assert "head.module.weight" in read_checkpoint(inside).weights
    twice = {f"module.module.{name}": value for name, value in weights.items()}
    assert "no 'visual_encoder.blocks'" in refusal(twice)


def test_mixed_prefixes_are_refused(weights: dict[str, Tensor]) -> None:
    mixed = {**weights, "module.head.obj_preds.0.bias": torch.zeros(1)}
    said = refusal(mixed)
    assert "mixes 1 names with 'module.' before them (module.head.obj_preds.0.bias, ...)" in said
    assert "639 without (lang_encoder.embedding.weight, ...)" in said


class Runs:
    """Pickled, it is a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_a_pickle_that_wants_to_run_code_does_not(
    tmp_path: Path, weights: dict[str, Tensor], zipped: bool
) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    evil = trained(weights, lr=Runs(f"touch {trace}"))
    torch.save(evil, path, _use_new_zipfile_serialization=zipped)
    said = refusal(path)
    assert f"{path} wants {os.system.__module__}.system to be run" in said
    assert "\n" not in said
    assert not trace.exists()


def test_a_bare_pickle_is_not_run_either(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Runs(f"touch {trace}"), protocol=4))
    assert "not a checkpoint that torch.save wrote" in refusal(path)
    assert not trace.exists()


def test_a_whole_pickled_network_is_code_too(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    assert "wants torch.nn.modules.linear.Linear to be run" in refusal(path)


def zipped_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "no checkpoint")


FOREIGN = {
    "text": lambda path: path.write_text("This is the read-me of a data set.\n"),
    "empty": lambda path: path.write_bytes(b""),
    "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "a zip": zipped_text,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_called_one(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "foreign.pth"
    FOREIGN[kind](path)
    said = refusal(path)
    assert said.startswith(f"{path} is not a checkpoint that torch.save wrote")
    assert "\n" not in said


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_a_file_cut_off_is_called_damaged(
    tmp_path: Path, weights: dict[str, Tensor], zipped: bool, share: float
) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "cut off or damaged" in refusal(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert f"{tmp_path / 'nothing.pth'} cannot be read: No such file" in refusal(tmp_path / "nothing.pth")
    assert f"{tmp_path} cannot be read: Is a directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    "container",
    [
        {"epoch": 1},
        {"state_dict": {}},
        {"state_dict": {"a": 1}},
        {"state_dict": [1]},
        {},
        {1: torch.zeros(1)},
    ],
    ids=repr,
)
def test_a_dictionary_without_weights_is_refused(container: dict[Any, Any]) -> None:
    assert "the state_dict holds no weights" in refusal(container)


def test_something_else_than_a_dictionary_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    assert "holds a list; expected a dictionary" in refusal(tmp_path / "list.pth")


def test_the_weights_of_another_network_are_refused() -> None:
    assert "is not a LaConvNet's" in refusal(torch.nn.Linear(2, 2).state_dict())


def test_another_number_of_blocks_is_refused(weights: dict[str, Tensor]) -> None:
    """A block more than S has: nearly S, but nothing is guessed."""
    block = {
        name.replace("blocks.4.1.", "blocks.4.2."): value
        for name, value in weights.items()
        if ".blocks.4.1." in name
    }
    said = refusal({**weights, **block})
    assert "has [2, 1, 2, 4, 2] LaConv blocks in its stages" in said
    assert "LaConvNet-S has [2, 1, 2, 4, 1], LaConvNet-B [3, 3, 4, 6, 3]" in said


def test_neither_or_both_heads_are_refused(weights: dict[str, Tensor]) -> None:
    assert "has no head" in refusal(
        {name: value for name, value in weights.items() if not name.startswith("head.")}
    )
    assert "has both heads" in refusal({**weights, **one_number_each(("s", "seg"))})


def test_somebody_elses_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert "`fusion-bench convert laconvnet` (format 1) did not write" in refusal(path)


def test_safetensors_cut_off_are_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"weight": torch.zeros(2000)}, path, {"laconvnet": "1"})
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut off or damaged" in refusal(path)


def test_safetensors_that_contradict_themselves_are_refused(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    path = tmp_path / "wrong.safetensors"
    telling = {
        ours: torch.zeros(1)
        for name in weights
        if (".cond_generator." in name or name.startswith("head.")) and (ours := our_name(name))
    }
    save_file(telling, path, {"laconvnet": "1", "variant": "b", "task": "det"})
    assert "calls itself b det and holds s det" in refusal(path)


def test_safetensors_under_the_authors_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file({"lang_encoder.embedding.weight": torch.zeros(1)}, path, {"laconvnet": "1"})
    assert "holds tensors that no LaConvNet has: lang_encoder.embedding.weight" in refusal(path)

"""The checkpoint reader: accepted content, and one error message for each rejected content."""

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


def trained(weights: dict[str, Tensor], **extra: Any) -> dict[str, Any]:
    """Return a checkpoint of the authors' training: weights, and the state of the optimiser and of the schedule."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    states = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    return {"epoch": 40, "state_dict": weights, **states, "lr": 1e-4, **extra}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_variant_and_task_follow_from_the_names(case: Case) -> None:
    checkpoint = read_checkpoint(one_number_each(case))
    assert (checkpoint.variant, checkpoint.task) == case
    assert checkpoint.epoch is None
    assert checkpoint.vocabulary is None


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_reads_a_checkpoint_of_the_training(tmp_path: Path, weights: dict[str, Tensor], zipped: bool) -> None:
    path = tmp_path / "det_best.pth"
    torch.save(trained(weights), path, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path)
    assert checkpoint.epoch == 40
    assert checkpoint.weights.keys() == weights.keys()
    assert all(torch.equal(checkpoint.weights[name], weights[name]) for name in weights)


def test_reads_the_other_spelling(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"net_state_dict": weights, "optimizer_state_dict": {}, "epoch": 3}, path)
    checkpoint = read_checkpoint(str(path))
    assert checkpoint.epoch == 3
    assert checkpoint.weights.keys() == weights.keys()


def test_two_spellings_at_once_are_rejected(weights: dict[str, Tensor]) -> None:
    assert "both 'state_dict' and 'net_state_dict'" in refusal(
        {"state_dict": weights, "net_state_dict": weights}
    )


@pytest.mark.parametrize("core", [b"numpy._core", b"numpy.core"], ids=["NumPy 2", "NumPy 1"])
def test_numpy_numbers_next_to_the_weights_are_accepted(
    tmp_path: Path, weights: dict[str, Tensor], core: bytes
) -> None:
    written, path = tmp_path / "written.pth", tmp_path / "last.pth"
    torch.save(trained(weights, epoch=np.int64(7), lr=np.float64(1e-4), best=np.float32(0.5)), written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry).replace(b"numpy._core", core))
    assert read_checkpoint(path).epoch == 7


def test_one_prefix_of_several_gpus_is_removed(weights: dict[str, Tensor]) -> None:
    checkpoint = read_checkpoint({f"module.{name}": value for name, value in weights.items()})
    assert checkpoint.weights.keys() == weights.keys()


def test_only_one_prefix_and_only_in_front(weights: dict[str, Tensor]) -> None:
    inside = {**weights, "head.module.weight": torch.zeros(1)}
    assert "head.module.weight" in read_checkpoint(inside).weights
    twice = {f"module.module.{name}": value for name, value in weights.items()}
    assert "no 'visual_encoder.blocks'" in refusal(twice)


def test_mixed_prefixes_are_rejected(weights: dict[str, Tensor]) -> None:
    mixed = {**weights, "module.head.obj_preds.0.bias": torch.zeros(1)}
    message = refusal(mixed)
    assert "mixes 1 names with the prefix 'module.' (module.head.obj_preds.0.bias, ...)" in message
    assert "639 without it (lang_encoder.embedding.weight, ...)" in message


class ExecutesCommand:
    """An object whose pickle executes a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
def test_code_in_a_pickle_is_not_executed(tmp_path: Path, weights: dict[str, Tensor], zipped: bool) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    evil = trained(weights, lr=ExecutesCommand(f"touch {trace}"))
    torch.save(evil, path, _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert f"{path} was not read, because reading it would execute {os.system.__module__}.system;" in message
    assert "\n" not in message
    assert not trace.exists()


def test_code_in_a_bare_pickle_is_not_executed(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps(ExecutesCommand(f"touch {trace}"), protocol=4))
    assert "not a checkpoint written by torch.save" in refusal(path)
    assert not trace.exists()


def test_a_pickled_network_is_rejected_as_code(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    assert "would execute torch.nn.modules.linear.Linear;" in refusal(path)


def zipped_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "no checkpoint")


FOREIGN = {
    "text": lambda path: path.write_text("This is the README of a data set.\n"),
    "empty": lambda path: path.write_bytes(b""),
    "an image": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "a zip": zipped_text,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_format_is_rejected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "foreign.pth"
    FOREIGN[kind](path)
    message = refusal(path)
    assert message.startswith(f"{path} is not a checkpoint written by torch.save")
    assert "\n" not in message


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_an_incomplete_file_is_reported_as_damaged(
    tmp_path: Path, weights: dict[str, Tensor], zipped: bool, share: float
) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "incomplete or damaged" in refusal(path)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
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
def test_a_dictionary_without_weights_is_rejected(container: dict[Any, Any]) -> None:
    assert "the state_dict holds no weights" in refusal(container)


def test_an_object_that_is_not_a_dictionary_is_rejected(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    assert "holds a list; it must hold a dictionary" in refusal(tmp_path / "list.pth")


def test_the_weights_of_another_network_are_rejected() -> None:
    assert "is not a checkpoint of LaConvNet" in refusal(torch.nn.Linear(2, 2).state_dict())


def test_another_number_of_blocks_is_rejected(weights: dict[str, Tensor]) -> None:
    """One block more than S is not accepted as S."""
    block = {
        name.replace("blocks.4.1.", "blocks.4.2."): value
        for name, value in weights.items()
        if ".blocks.4.1." in name
    }
    message = refusal({**weights, **block})
    assert "has [2, 1, 2, 4, 2] LaConv blocks in its stages" in message
    assert "LaConvNet-S has [2, 1, 2, 4, 1], LaConvNet-B [3, 3, 4, 6, 3]" in message


def test_no_head_and_both_heads_are_rejected(weights: dict[str, Tensor]) -> None:
    assert "has no head" in refusal(
        {name: value for name, value in weights.items() if not name.startswith("head.")}
    )
    assert "has both heads" in refusal({**weights, **one_number_each(("s", "seg"))})


def test_other_safetensors_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert "`fusion-bench convert laconvnet` (format 1) did not write" in refusal(path)


def test_incomplete_safetensors_are_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"weight": torch.zeros(2000)}, path, {"laconvnet": "1"})
    path.write_bytes(path.read_bytes()[:-100])
    assert "is an incomplete or damaged safetensors file" in refusal(path)


def test_safetensors_that_contradict_their_metadata_are_rejected(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    path = tmp_path / "wrong.safetensors"
    some_weights = {
        ours: torch.zeros(1)
        for name in weights
        if (".cond_generator." in name or name.startswith("head.")) and (ours := our_name(name))
    }
    save_file(some_weights, path, {"laconvnet": "1", "variant": "b", "task": "det"})
    assert "says b det, but its tensors are those of s det" in refusal(path)


def test_safetensors_under_the_authors_names_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file({"lang_encoder.embedding.weight": torch.zeros(1)}, path, {"laconvnet": "1"})
    assert "holds tensors that no LaConvNet has: lang_encoder.embedding.weight" in refusal(path)

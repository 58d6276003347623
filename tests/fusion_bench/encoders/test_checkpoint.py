"""Checkpoints of every form are read as data; code in them is not run, with any version of timm."""

from __future__ import annotations

import argparse
import inspect
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor

from fusion_bench.encoders import download
from fusion_bench.encoders.checkpoint import read_weights
from fusion_bench.encoders.vision import build_backbone
from fusion_bench.errors import WeightsError

SIZE = (32, 64)
WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, 2.0])}


def saved(folder: Path, content: Any, name: str = "x.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        OrderedDict(WEIGHTS),
        {"state_dict": WEIGHTS, "epoch": 3},
        {"model": WEIGHTS, "args": argparse.Namespace(lr=0.1)},
        {"state_dict": {}, "state_dict_ema": WEIGHTS},
        {"state_dict": {f"module.{key}": value for key, value in WEIGHTS.items()}},
        {"model_ema": None, "model": {f"_orig_mod.{key}": value for key, value in WEIGHTS.items()}},
        {"state_dict": WEIGHTS, "best": np.float64(77.5), "epoch": np.int64(3), "done": np.bool_(True)},
        {"model": WEIGHTS, "args": argparse.Namespace(lr=np.float32(0.1)), "seed": np.uint8(1)},
    ],
)
@pytest.mark.parametrize("name", ["x.pth", "x.bin", "x.pth.tar"])
def test_a_file_of_torch_is_read_with_whatever_a_training_loop_stores(
    tmp_path: Path, content: Any, name: str
) -> None:
    assert same(read_weights(saved(tmp_path, content, name)))


def test_a_number_of_numpy_1_is_read(tmp_path: Path) -> None:
    """NumPy 1 wrote the module numpy.core, NumPy 2 writes numpy._core."""
    path = tmp_path / "x.pth"
    torch.save({"model": WEIGHTS, "best": np.float64(1)}, path, _use_new_zipfile_serialization=False)
    assert b"numpy._core.multiarray" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert same(read_weights(path))


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "weights"])
def test_safetensors_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(WEIGHTS, tmp_path / name)
    assert same(read_weights(tmp_path / name))


class Surprise:
    """An object whose pickle runs code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("the file was unpickled",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": Surprise()}, r"reading it would run \S*_Fail; if you trust the file, save only"),
        ({"model": WEIGHTS, "optimiser": Surprise()}, "reading it would run"),
        ({"model": WEIGHTS, "curve": np.zeros(3)}, r"reading it would run numpy\S*_reconstruct"),
        (
            {"net": WEIGHTS},
            "holds no weights: neither a dictionary of tensors by name, nor one under the key",
        ),
        ({}, "holds no weights"),
        ([WEIGHTS], "holds no weights"),
        ({1: torch.zeros(1)}, "holds no weights"),
    ],
)
def test_other_content_is_one_sentence(tmp_path: Path, content: Any, message: str) -> None:
    path = saved(tmp_path, content)
    with pytest.raises(WeightsError, match=rf"x\.pth .*{message}") as refused:
        read_weights(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<!DOCTYPE html>", pickle.dumps({"a": 1}, 2)[:-3]])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    for name in ("x.pth", "x.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            WeightsError, match=rf"{name} is damaged, or neither|{name} is damaged or not"
        ) as refused:
            read_weights(tmp_path / name)
        assert "\n" not in str(refused.value)


def test_timm_never_opens_a_file_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under timm 1.0.20 to 1.0.25, which unpickle any file that they open."""
    from timm.models import _builder

    monkeypatch.setattr(_builder, "load_state_dict", lambda *_, **__: pytest.fail("timm opened the file"))
    state = timm.create_model("test_resnet").state_dict()
    for name in ("x.pth", "x.pt", "pytorch_model.bin"):
        path = saved(tmp_path, {"state_dict": state, "best": np.float64(1)}, name)
        made = build_backbone("test_resnet", image_size=SIZE, weights="file", weights_file=path)
        assert torch.equal(made.state_dict()["net.conv1.0.weight"], state["conv1.0.weight"])
        hostile = saved(tmp_path, {"state_dict": state, "best": Surprise()}, name)
        with pytest.raises(WeightsError, match=r"cannot load the weights of .test_resnet.: .* would run"):
            build_backbone("test_resnet", image_size=SIZE, weights="file", weights_file=hostile)
        # The cache of the hub may hold such a file too.
        monkeypatch.setattr(download, "_cached", lambda *_, found=str(hostile): found)
        with pytest.raises(WeightsError, match="would run"):
            build_backbone("test_resnet", image_size=SIZE, weights="imagenet")


def test_the_least_version_of_timm_loads_safely() -> None:
    """The download of `weights: imagenet` is timm's own; CI also runs this with the lowest versions allowed."""
    for load in (timm.models.load_state_dict, timm.models.load_state_dict_from_hf):
        assert inspect.signature(load).parameters["weights_only"].default is True


def test_a_model_does_not_keep_a_second_copy_of_its_weights(tmp_path: Path) -> None:
    path = saved(tmp_path, timm.create_model("test_vit").state_dict())
    made = build_backbone("test_vit", image_size=(160, 160), weights="file", weights_file=path)
    assert not [m for m in made.modules() if getattr(m, "pretrained_cfg", {}).get("state_dict")]

"""The cache of frozen features: exact, keyed by everything that they depend on, shared between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fusion_bench.encoders.features import frozen_features
from fusion_bench.encoders.vision import Backbone, build_backbone, normalise
from fusion_bench.errors import WeightsError

SIZE = (32, 32)


def backbone(*, seed: int = 0, **settings: Any) -> Backbone:
    torch.manual_seed(seed)
    return build_backbone("test_resnet", **{"layer": 1, "image_size": SIZE, "frozen": True, **settings})


@pytest.fixture(scope="module")
def images() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (7, *SIZE, 3), dtype=np.uint8)


def test_features_are_the_backbones_own_up_to_half_precision(
    tmp_path: Path, images: npt.NDArray[np.uint8]
) -> None:
    model = backbone()
    features = frozen_features(model, images, {"split": "train"}, tmp_path, batch=3)
    with torch.no_grad():
        expected = model(normalise(torch.from_numpy(images), model.mean, model.std)).numpy()
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, rtol=2**-10, atol=1e-6)
    assert not features.flags.writeable


def test_the_number_of_threads_changes_no_bit(tmp_path: Path, images: npt.NDArray[np.uint8]) -> None:
    done_counts: list[int] = []
    one, several = (
        frozen_features(
            backbone(),
            images,
            {},
            tmp_path / str(workers),
            batch=2,
            workers=workers,
            notify=lambda _, done, __: done_counts.append(done),
        )
        for workers in (1, 3)
    )
    assert np.array_equal(one, several)
    assert done_counts == [2, 4, 6, 7] * 2


def test_features_are_computed_once(tmp_path: Path, images: npt.NDArray[np.uint8]) -> None:
    first = frozen_features(backbone(), images, {"split": "train"}, tmp_path)
    nothing = np.zeros_like(images)
    assert np.array_equal(frozen_features(backbone(), nothing, {"split": "train"}, tmp_path), first)


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ({"split": "test"}, {}),
        ({"split": "train"}, {"seed": 1}),
        ({"split": "train"}, {"layer": 2}),
    ],
)
def test_other_images_weights_or_layers_are_other_features(
    tmp_path: Path, images: npt.NDArray[np.uint8], key: dict[str, str], settings: dict[str, Any]
) -> None:
    first = frozen_features(backbone(), images, {"split": "train"}, tmp_path)
    other = frozen_features(backbone(**settings), images[::-1], key, tmp_path)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_other_preprocessing_is_other_features(tmp_path: Path, images: npt.NDArray[np.uint8]) -> None:
    brighter = backbone()
    brighter.mean = (0.0, 0.0, 0.0)
    first = frozen_features(backbone(), images, {"split": "train"}, tmp_path)
    assert not np.array_equal(first, frozen_features(brighter, images, {"split": "train"}, tmp_path))


def test_a_damaged_file_is_computed_again(tmp_path: Path, images: npt.NDArray[np.uint8]) -> None:
    first = np.array(frozen_features(backbone(), images, {"split": "train"}, tmp_path))
    (stored,) = tmp_path.glob("*.npy")
    content = bytearray(stored.read_bytes())
    content[-1] ^= 0xFF
    stored.write_bytes(content)
    assert np.array_equal(frozen_features(backbone(), images, {"split": "train"}, tmp_path), first)


PROGRAM = """
import sys
from pathlib import Path
import numpy as np, torch
from fusion_bench.encoders.features import frozen_features
from fusion_bench.encoders.vision import build_backbone
torch.manual_seed(0)
model = build_backbone("test_resnet", layer=1, image_size=(32, 32), frozen=True)
images = np.load(sys.argv[1])
print(frozen_features(model, images, {"split": "train"}, Path(sys.argv[2])).sum(dtype=np.float64))
"""


@pytest.mark.slow
def test_two_processes_at_once_make_one_file(tmp_path: Path, images: npt.NDArray[np.uint8]) -> None:
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", PROGRAM, tmp_path / "images.npy", tmp_path / "cache"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(printed) == 1
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    assert not list((tmp_path / "cache").glob(".*")), "no partial file is left"


def test_a_backbone_that_is_trained_is_refused(tmp_path: Path, images: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(WeightsError, match="only while it is frozen"):
        frozen_features(backbone(frozen=False), images, {}, tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "value", [65520.0, -65520.0, float("inf"), float("-inf"), float("nan")], ids=lambda value: f"{value}"
)
def test_a_value_that_float16_cannot_hold_is_refused(
    tmp_path: Path, images: npt.NDArray[np.uint8], value: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _giving(value, monkeypatch)
    with pytest.raises(WeightsError, match="beyond float16 at layer 1"):
        frozen_features(model, images, {}, tmp_path, batch=2, workers=workers)
    assert not list(tmp_path.glob("*.npy")), "no partial file is left"


@pytest.mark.parametrize("value", [65519.0, -65519.0, 0.0])
def test_the_greatest_values_of_float16_are_kept(
    tmp_path: Path, images: npt.NDArray[np.uint8], value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = frozen_features(_giving(value, monkeypatch), images, {}, tmp_path)
    assert features[3, 0, 1, 1] == np.float16(value)
    assert np.isfinite(features).all()


def _giving(value: float, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """Return a backbone whose maps hold one value of this size."""
    model = backbone()

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        maps = torch.ones(len(pixels), model.channels, *model.map_size)
        maps[:, 0, 1, 1] = value
        return maps

    monkeypatch.setattr(model, "forward", forward)
    return model

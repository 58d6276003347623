"""Files that a cell names by content are checked before they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fusion_bench.encoders import download
from fusion_bench.errors import WeightsError
from fusion_bench.storage import file_digest, folder_digest
from fusion_bench.training.config import BackboneConfig, CellConfig, Component, hash_reference
from fusion_bench.training.inputs import check_named_files, weights_file, weights_file_digest
from fusion_bench.training.load_cell_data import resolve_inputs
from fusion_bench.training.paths import RunPaths
from toys import here, toy_config


def with_backbone(**settings: object) -> CellConfig:
    return replace(toy_config(), backbone=BackboneConfig("test_vit", **settings))  # type: ignore[arg-type]


def with_text(sha256: str) -> CellConfig:
    return replace(toy_config(), text=Component(here("MeanText"), {"file": hash_reference(sha256)}))


@pytest.mark.parametrize("kind", ["weights", "words", "folder"])
def test_a_file_that_is_not_what_the_cell_asks_for_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "named"
    content = path
    if kind == "folder":
        path.mkdir()
        content = path / "model.safetensors"
    content.write_bytes(b"one")
    sha256 = folder_digest(path) if path.is_dir() else file_digest(path)
    config = with_backbone(weights="file", weights_sha256=sha256) if kind == "weights" else with_text(sha256)
    paths = RunPaths(tmp_path / "runs", {"colours": tmp_path}, {sha256: path})
    check_named_files(config, paths)
    content.write_bytes(b"two")
    with pytest.raises(WeightsError, match=f"{path} has the SHA-256 .*, but the cell asks for {sha256}"):
        check_named_files(config, paths)
    with pytest.raises(WeightsError, match="the file changed after the study was read"):
        resolve_inputs(config, paths)


def test_the_file_of_downloaded_weights_is_found_without_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "is_reachable", lambda url: pytest.fail("the network is asked"))
    monkeypatch.setattr(download.huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    config, paths = with_backbone(weights="imagenet"), RunPaths(tmp_path, {}, {})
    assert weights_file(config, paths) is None
    assert weights_file_digest(config, paths) == ""
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    monkeypatch.setattr(download.huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(file))
    assert weights_file(config, paths) == file
    assert weights_file_digest(config, paths) == file_digest(file)


def test_random_weights_and_networks_have_no_file(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, {}, {})
    assert weights_file(with_backbone(weights="random"), paths) is None
    assert weights_file(toy_config(), paths) is None

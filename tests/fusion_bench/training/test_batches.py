"""Batches: gathered on the device they equal those of the host, and a step with equal shapes has the words of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fusion_bench.encoders.features import TextVectors
from fusion_bench.samples.split import Batch
from fusion_bench.tasks.task import MovableTargets, TensorTargets
from fusion_bench.tasks.vqa import SoftTargets
from fusion_bench.training import batches
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.cell_data import CellData, EncodedSplit
from toys import toy_cell_data

CPU = torch.device("cpu")


class HostTargets:
    """Targets that are made on the host for each batch."""

    def rows(self, chosen: torch.Tensor) -> torch.Tensor:
        return chosen.double() / 3


def as_they_are(encoded: EncodedSplit) -> EncodedSplit:
    return encoded


def with_images(encoded: EncodedSplit) -> EncodedSplit:
    images = np.random.default_rng(0).integers(0, 255, (len(encoded.visual), 4, 5, 3), np.uint8)
    return replace(encoded, visual=images)


def with_vectors(encoded: EncodedSplit) -> EncodedSplit:
    samples, words = encoded.tokens.shape
    unique = np.random.default_rng(0).standard_normal((3, words, 2)).astype(np.float16)
    return replace(encoded, vectors=TextVectors(unique, np.arange(samples) % 3))


def with_host_targets(encoded: EncodedSplit) -> EncodedSplit:
    return replace(encoded, targets=HostTargets())


def with_soft_targets(encoded: EncodedSplit) -> EncodedSplit:
    answers = [["red"] * 3 + ["blue"] * 7, ["green"] * 10] * (len(encoded.split) // 2)
    return replace(encoded, targets=SoftTargets.of(answers, ["red", "blue", "green"]))


CHANGES = [as_they_are, with_images, with_vectors, with_host_targets, with_soft_targets]


def loaders(change: Callable[[EncodedSplit], EncodedSplit]) -> tuple[BatchLoader, BatchLoader, CellData]:
    """Return a loader of the host, and one that keeps the same arrays on a device, for which the CPU stands."""
    cell_data = replace(toy_cell_data(), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    encoded = change(cell_data.encoded["train"])
    host, device = (BatchLoader(encoded, cell_data, CPU) for _ in range(2))
    device._on_device = batches._OnDevice.of(encoded, cell_data, CPU)
    return host, device, cell_data


def assert_same(one: Batch, other: Batch) -> None:
    for name in ("visual", "tokens", "mask", "target"):
        first, second = getattr(one, name), getattr(other, name)
        assert torch.equal(first, second), name
        assert (first.dtype, first.stride()) == (second.dtype, second.stride()), name


@pytest.mark.parametrize("change", CHANGES)
def test_batches_that_are_gathered_on_the_device_are_those_of_the_host(change: Any) -> None:
    host, device, _ = loaders(change)
    for one, other in zip(host.epoch(2, 7, 16), device.epoch(2, 7, 16), strict=True):
        assert_same(one, other)
    for (_, one), (_, other) in zip(host.in_order(40), device.in_order(40), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("change", CHANGES)
def test_batches_are_the_same_where_nothing_fits_on_the_device(
    monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    monkeypatch.setattr(batches, "_copied_if_small", lambda _values, _device: None)
    host, device, _ = loaders(change)
    for one, other in zip(host.epoch(1, 0, 16), device.epoch(1, 0, 16), strict=True):
        assert_same(one, other)


def test_the_order_of_an_epoch_is_sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the toy split everything lies on the device, so nothing else is sent."""
    _, device, _ = loaders(as_they_are)
    sizes: list[int] = []

    def noted(values: torch.Tensor, target: torch.device) -> torch.Tensor:
        sizes.append(len(values))
        return values.to(target)

    monkeypatch.setattr(batches, "sent", noted)
    assert sum(1 for _ in device.epoch(1, 0, 16)) == 6
    assert sizes == [96]


def test_targets_that_can_move_are_told_from_those_that_cannot() -> None:
    assert isinstance(TensorTargets(torch.zeros(2)), MovableTargets)
    assert not isinstance(HostTargets(), MovableTargets)


@pytest.mark.parametrize("change", [as_they_are, with_vectors])
def test_batches_of_equal_shape_have_the_words_of_the_longest_sentence(change: Any) -> None:
    cell_data = toy_cell_data()
    encoded = change(cell_data.encoded["train"])
    words = encoded.tokens.shape[1]
    encoded = replace(
        encoded, tokens=torch.nn.functional.pad(encoded.tokens, (0, 2)), vectors=_longer(encoded.vectors)
    )
    cut, equal = (BatchLoader(encoded, cell_data, CPU, equal_shapes=equal) for equal in (False, True))
    for one, other in zip(cut.epoch(1, 0, 16), equal.epoch(1, 0, 16), strict=True):
        assert one.tokens.shape[1] <= words
        assert other.tokens.shape[1] == other.mask.shape[1] == words + 2
        assert torch.equal(one.mask, other.mask[:, : one.mask.shape[1]])
        assert not other.mask[:, words:].any()


def _longer(vectors: TextVectors | None) -> TextVectors | None:
    if vectors is None:
        return None
    return TextVectors(np.pad(vectors.unique, ((0, 0), (0, 2), (0, 0))), vectors.row)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("change", CHANGES)
def test_no_batch_waits_for_a_gpu(change: Any) -> None:
    cell_data = toy_cell_data()
    loader = BatchLoader(change(cell_data.encoded["train"]), cell_data, torch.device("cuda"))
    next(iter(loader.epoch(1, 0, 16)))  # what is made once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in loader.epoch(2, 0, 16):
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")

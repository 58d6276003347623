"""Weights for machines without a network: made once by the pretext task, kept in the cache."""

from __future__ import annotations

from pathlib import Path


def pretext_weights(name: str, layer: int, image_size: tuple[int, int], cache: Path) -> Path:
    raise AssertionError("made when the pretext task stands")

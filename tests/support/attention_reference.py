"""The parts of a transformer in NumPy, one token at a time, for the tests of the modules that use them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch import nn

Vector: TypeAlias = Any
Weights: TypeAlias = Mapping[str, Any]


def weights_of(module: nn.Module) -> Weights:
    return {key: value.detach().numpy() for key, value in module.state_dict().items()}


def linear(w: Weights, name: str, x: Vector) -> Vector:
    return w[f"{name}.weight"].reshape(-1, len(x)) @ x + w.get(f"{name}.bias", 0.0)


def layer_norm(w: Weights, name: str, x: Vector) -> Vector:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def softmax(logits: Sequence[float]) -> Vector:
    powers = np.exp(np.array(logits) - max(logits))
    return powers / powers.sum()


def multi_head(
    w: Weights, name: str, query: Vector, keys: Sequence[Vector], values: Sequence[Vector], heads: int
) -> Vector:
    """Return the attended value of one query over the real tokens."""
    projected = linear(w, f"{name}.query", query)
    size = len(projected) // heads
    answer = np.zeros(len(projected))
    for head in range(heads):
        part = slice(head * size, head * size + size)
        logits = [projected[part] @ linear(w, f"{name}.key", key)[part] / math.sqrt(size) for key in keys]
        for weight, value in zip(softmax(logits), values, strict=True):
            answer[part] += weight * linear(w, f"{name}.value", value)[part]
    return linear(w, f"{name}.merge", answer)


def attention_unit(
    w: Weights,
    name: str,
    x: Vector,
    query: Vector,
    keys: Sequence[Vector],
    values: Sequence[Vector],
    heads: int,
) -> Vector:
    answer = multi_head(w, f"{name}.attention", query, keys, values, heads)
    return layer_norm(w, f"{name}.norm", x + answer)


def feed_forward_unit(w: Weights, name: str, x: Vector) -> Vector:
    hidden = np.maximum(linear(w, f"{name}.expand", x), 0)
    return layer_norm(w, f"{name}.norm", x + linear(w, f"{name}.contract", hidden))


def sine_code(row: int, column: int, channels: int) -> Vector:
    """Return the 2-D code of one position, counted from 0, by its formula."""
    half = channels // 2
    return np.array(
        [
            wave((index + 1) / 10000 ** (2 * i / half))
            for index in (row, column)
            for i in range(half // 2)
            for wave in (math.sin, math.cos)
        ]
    )

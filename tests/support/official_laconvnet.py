"""State dictionaries with the shapes of the authors' networks, from the layers in ``laconvnet_layout.txt``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Case: TypeAlias = tuple[Literal["s", "b"], Literal["det", "seg"]]
Shape: TypeAlias = tuple[int, ...]
CASES: tuple[Case, ...] = (("s", "det"), ("s", "seg"), ("b", "det"), ("b", "seg"))
WORDS = 7
_LAYOUT = Path(__file__).parents[1] / "fusion_modules" / "laconvnet" / "laconvnet_layout.txt"


def official_shapes(case: Case, words: int = WORDS) -> dict[str, Shape]:
    """Return the shape of every entry of the authors' ``state_dict``, in their order."""
    variant, task = case
    wanted = {"text", f"encoder {variant}", "neck", f"neck {task}", f"head {task}"}
    shapes: dict[str, Shape] = {}
    section = ""
    for line in _LAYOUT.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif not line.startswith("#") and section in wanted:
            layer, holds, sizes = line.split()
            shape = tuple(words if size == "V" else int(size) for size in sizes.split("x"))
            shapes |= {f"{layer}.{tensor}": shape for tensor, shape in _tensors(holds, shape)}
    return shapes


def _tensors(holds: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    if holds == "batch_norm":
        yield from ((tensor, shape) for tensor in ("weight", "bias", "running_mean", "running_var"))
        yield "num_batches_tracked", ()
    elif holds == "weight+bias":
        yield from (("weight", shape), ("bias", shape[:1]))
    else:
        yield holds, shape


def one_number_each(case: Case, words: int = WORDS) -> dict[str, Tensor]:
    """Return tensors that each repeat a different number and use the memory of one number."""
    return {
        name: torch.tensor(number, dtype=_dtype(name)).expand(shape)
        for number, (name, shape) in enumerate(official_shapes(case, words).items())
    }


def random_weights(case: Case, words: int = WORDS) -> dict[str, Tensor]:
    """Return random weights that keep activations near 1; no batch norm has a value of 0 or 1."""
    torch.manual_seed(5)
    weights: dict[str, Tensor] = {}
    for name, shape in official_shapes(case, words).items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.randint(1, 10**6, ())
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            weights[name] = torch.empty(shape).uniform_(0.5, 1.5)
        elif len(shape) == 1:
            weights[name] = 0.2 * torch.randn(shape)
        else:
            weights[name] = torch.randn(shape) / math.sqrt(math.prod(shape[1:]))
        if ".conv1.linear." in name:
            weights[name] /= 4  # a kernel has up to 49 taps
    return weights


def _dtype(name: str) -> torch.dtype:
    return torch.int64 if name.endswith("num_batches_tracked") else torch.float32

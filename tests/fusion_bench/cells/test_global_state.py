"""What a module does to torch or to the process ends with its cell."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusion_bench.cells.global_state import global_state_kept
from hostile import Act, ChangesProcess, ChangesSeeds, ChangesTorch


def seen() -> Mapping[str, Any]:
    """The state that a cell meets, read by other ways than those of the code under test where there are any."""
    return {
        "made": (torch.ones(1).dtype, torch.ones(1).device),
        "gradients": torch.nn.Linear(1, 1)(torch.ones(1, 1)).requires_grad,
        "product": torch.ones(2, 2).mm(torch.ones(2, 2)).dtype,
        "denormal": float(torch.tensor(1e-310, dtype=torch.float64, device="cpu") * 1),
        "precision": torch.get_float32_matmul_precision(),
        "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "bfloat16": torch.backends.mkldnn.matmul.fp32_precision,  # type: ignore[attr-defined]
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "filled": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "anomaly": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "mkldnn": torch.backends.mkldnn.enabled,
        "attention": (torch.backends.cuda.math_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "path": list(sys.path),
        "depth": sys.getrecursionlimit(),
        "filters": list(warnings.filters),
        "errors": np.geterr(),
        "streams": (sys.stdout, sys.stderr),
    }


def tf32_by_the_old_names() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = False


def bfloat16_by_the_new_names() -> None:
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def tf32_everywhere() -> None:
    torch.backends.fp32_precision = "tf32"  # type: ignore[attr-defined]


def warnings_as_errors() -> None:
    warnings.simplefilter("error")
    tf32_by_the_old_names()


def no_streams() -> None:
    sys.stdout = sys.stderr = None


def act_of(kind: type[Act]) -> Callable[[], None]:
    return kind(2, 2).act


@pytest.mark.parametrize(
    "act",
    [
        act_of(ChangesTorch),
        act_of(ChangesProcess),
        tf32_by_the_old_names,
        bfloat16_by_the_new_names,
        tf32_everywhere,
        warnings_as_errors,
        no_streams,
    ],
    ids=lambda act: getattr(act, "__self__", act).__class__.__name__ + getattr(act, "__name__", ""),
)
def test_the_state_is_as_before(act: Callable[[], None]) -> None:
    before = seen()
    with global_state_kept():
        act()
    assert seen() == before
    with pytest.raises(SystemExit), global_state_kept():
        act()
        raise SystemExit
    assert seen() == before


def test_the_generators_go_on_as_if_nobody_had_drawn() -> None:
    def drawn() -> list[float]:
        return [random.gauss(), float(np.random.rand()), float(torch.rand(()))]

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = drawn()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    with global_state_kept():
        act_of(ChangesSeeds)()
    assert drawn() == expected

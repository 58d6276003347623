"""The GPU kernels on a machine without a GPU: results from Triton's interpreter, machine code from its compiler."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from fusion_modules.laconv.ops import triton_fused, triton_fused_gradients, triton_kernels  # noqa: E402

HERE = Path(__file__).parent
ROOT = HERE.parents[3]


@pytest.mark.slow
def test_the_backends_tests_pass_in_the_interpreter() -> None:
    """The tests run in a separate process, because the interpreter must be enabled before Triton is imported."""
    arguments = [
        "-rA",
        *(str(HERE / f"test_{file}.py") for file in ("operator", "fused")),
        "-k",
        "test_triton or fused",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for file in ("operator", "fused"):
        passed = re.findall(rf"^PASSED \S*test_{file}\.py::", done.stdout, re.MULTILINE)
        assert len(passed) >= 8, done.stdout


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    yield


def accesses(kernel: Any, element: str, constants: Mapping[str, Any], warps: int) -> Counter[str]:
    """Return the kinds of instruction in the PTX of ``kernel`` for a GPU of compute capability 9.0."""
    signature, attributes = {}, {}
    for index, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in constants:
            signature[name] = "constexpr"
        elif name in {"height", "width", "out_height", "out_width", "groups", "units", "map_units"}:
            signature[name] = "i32"
        else:
            signature[name] = "*fp32" if name in {"grad_weight", "grad_bias"} else f"*{element}"
            attributes[(index,)] = [["tt.divisibility", 16]]  # torch allocates at multiples of 16 bytes
    source = ASTSource(kernel, signature, {k: v for k, v in constants.items() if k in signature}, attributes)
    compiled = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "enable_fp_fusion": True}
    )
    return Counter(re.findall(r"\b(?:ld|st|atom|cp|mma)\.[\w.:]+", compiled.asm["ptx"]))


PLAIN: dict[str, Any] = {
    "per_group": 16,
    "size": 7,
    "stride": 1,
    "dilation": 1,
    "channels_last": False,
    "block_channels": 16,
    "block_positions": 128,
    "align": 4,
    "map_align": 4,
    "accumulator": triton.language.float32,
}
FUSED: dict[str, Any] = {
    **PLAIN,
    "groups": 8,
    "extent": 64,
    "block_groups": 8,
    "block_extent": 64,
    "block_positions": 32,
}


def test_the_aggregation_reads_and_writes_16_bytes_at_a_time() -> None:
    """The map of 26 x 26 float32 has 676 positions, a multiple of 4; kernels, map and result are aligned."""
    found = accesses(triton_kernels._aggregate, "fp32", PLAIN, warps=1)
    assert found["ld.global.v4.b32"] > 1
    assert found["st.global.v4.b32"] > 0
    assert not [kind for kind in found if re.fullmatch(r"(ld|st)\.global\.\w\d\d", kind)]


def test_the_gradient_of_the_kernels_reads_and_writes_16_bytes_at_a_time() -> None:
    found = accesses(triton_kernels._gradient_of_kernels, "fp32", PLAIN, warps=1)
    assert found["ld.global.v4.b32"] > 1
    assert found["st.global.v4.b32"] > 0
    assert not [kind for kind in found if re.fullmatch(r"(ld|st)\.global\.\w\d\d", kind)]


def test_the_gradient_of_the_map_reads_its_maps_16_bytes_at_a_time() -> None:
    """The kernel values are read at shifted positions, which are not aligned for wide reads."""
    found = accesses(triton_kernels._gradient_of_map, "fp32", PLAIN, warps=1)
    assert found["ld.global.v4.b32"] > found["ld.global.b32"]
    assert found["st.global.v4.b32"] > 0


@pytest.mark.parametrize("element", ["bf16", "fp16", "fp64"])
@pytest.mark.parametrize("kernel", ["_aggregate", "_gradient_of_map", "_gradient_of_kernels"])
def test_every_type_compiles(kernel: str, element: str) -> None:
    accumulator = triton.language.float64 if element == "fp64" else triton.language.float32
    assert accesses(
        getattr(triton_kernels, kernel), element, {**PLAIN, "accumulator": accumulator, "stride": 2}, warps=2
    )


@pytest.mark.parametrize("element", ["bf16", "fp32"])
def test_the_fused_kernels_compile(element: str) -> None:
    """The matrix units compute the projection in bfloat16."""
    gradients = triton_fused_gradients
    for kernel, groups in (
        (triton_fused._aggregate, 8),
        (gradients._gradient_of_map, 8),
        (gradients._other_gradients, 16),
    ):
        found = accesses(kernel, element, {**FUSED, "block_groups": groups}, warps=4)
        assert found["ld.global.v4.b32"] + found["cp.async.cg.shared.global"] > 0
        assert element == "fp32" or any(kind.startswith("mma.") for kind in found)


def test_alignment_is_the_largest_power_of_two_that_divides() -> None:
    assert [triton_kernels.alignment(length) for length in (2704, 676, 196, 49, 6, 64)] == [
        16,
        4,
        4,
        1,
        2,
        16,
    ]


def test_channels_of_a_group_are_contiguous() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert triton_kernels.grouped(x, 2).flatten().tolist() == [0, 2, 4, 1, 3, 5]

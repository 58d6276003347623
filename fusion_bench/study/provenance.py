"""Where a number comes from: hashes of the source, the data and the weights, versions and device.

A cell whose provenance differs from today's is *stale*: it is shown, and never mixed silently with others.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from fusion_bench.registry import Target
from fusion_bench.samples import DataSet
from fusion_bench.tasks.registry import TASKS
from fusion_bench.training.config import CellConfig

_NUMERIC_ROOMS = tuple(
    f"fusion_bench.{room}"
    for room in ("contract", "samples", "vqa_answers", "data", "encoders", "tasks", "training")
)
_HASHED_APART = frozenset({"fusion_bench.training.weights"})  # what it makes is recorded by its own hash
_SHARED = ("numerics", "data", "torch", "timm", "device_kind")


def source_digest(texts: Iterable[str]) -> str:
    """SHA-256 over parsed source: comments, docstrings and layout do not count."""
    hashed = hashlib.sha256()
    for text in texts:
        hashed.update(_code(text).encode() + b"\0")
    return hashed.hexdigest()[:16]


@functools.lru_cache(maxsize=1024)  # every cell asks for the same forty files again
def _code(text: str) -> str:
    """Source without comments, docstrings and layout."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def numerics_digest(config: CellConfig) -> str:
    """Digest of the harness's own source that decides a cell's numbers: what its data, text and loop import."""
    adapter: type[DataSet] = config.data.adapter.target.load()
    starts = [
        "fusion_bench.training.loop",
        _module(config.data.adapter.target),
        _module(config.text.target),
        _module(TASKS.resolve(adapter.task(config.data.task))),
    ]
    return _reachable_digest(starts, _NUMERIC_ROOMS)


def module_digest(target: Target) -> str:
    """Digest of a fusion module's source and of every file of its own package that it imports, in turn."""
    if target.source is not None:
        return source_digest([target.source])
    start = _module(target)
    return _reachable_digest([start], (start.partition(".")[0],))


def _module(target: Target) -> str:
    return target.reference.partition(":")[0]


def _reachable_digest(starts: Iterable[str], rooms: Sequence[str]) -> str:
    """Digest over ``starts`` and everything that they import, in turn, from ``rooms``."""
    seen, waiting = dict[str, str](), list(starts)
    while waiting:
        name = waiting.pop()
        text = "" if name in seen else _source(name)
        if text:
            seen[name] = text
            found = _imports(text, name)
            waiting += [
                other for other in found if other.startswith(tuple(rooms)) and other not in _HASHED_APART
            ]
    return source_digest(seen[name] for name in sorted(seen))


@functools.cache
def _source(name: str) -> str:
    """The text of an importable module; empty for a class or a name that is no module.

    Read once a process: a file that is edited later is not what this process imported and runs.
    """
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return ""
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    return Path(spec.origin).read_text(encoding="utf-8")


@functools.lru_cache(maxsize=1024)
def _imports(text: str, name: str) -> tuple[str, ...]:
    """Every dotted name that the source of a module may import from."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, [base, node.module or ""]))
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def expected_provenance(config: CellConfig) -> dict[str, Any]:
    """What today's source says of a cell; whatever else is recorded must only be equal among cells."""
    return {"module": module_digest(config.arm.target), "numerics": numerics_digest(config)}


def full_provenance(config: CellConfig, device: str, *, manifest: str, weights: str) -> dict[str, Any]:
    """Everything that is recorded beside an outcome."""
    kind = torch.device(device)
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else processor()
    return {
        **expected_provenance(config),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "device_kind": kind.type,
        "data": manifest,
        "weights": weights,
        "device": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
    }


def processor() -> str:
    """The name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def differences(recorded: Mapping[str, Any], today: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of what differs between a recorded provenance and today's."""
    return tuple(name for name, value in today.items() if recorded.get(name) != value)


def fingerprint(recorded: Mapping[str, Any]) -> str:
    """What must be equal for cells to be compared, in words."""
    return ", ".join(f"{name} {recorded.get(name)}" for name in _SHARED)

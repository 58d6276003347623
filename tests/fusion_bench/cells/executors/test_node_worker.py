"""How a node starts the worker program: what it has counts, then what its environment names."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fusion_bench.cells.executors.executor import WorkerSettings
from fusion_bench.cells.executors.on_ray.node_worker import WEIGHTS_VARIABLE, NodeLaunch, command_here
from fusion_bench.cells.executors.on_ray.parcel import differing, packed, unpack
from fusion_bench.errors import FusionBenchError
from fusion_bench.training.paths import RunPaths

SHA = "ab" * 32


@pytest.fixture
def launch(tmp_path: Path) -> NodeLaunch:
    """What a coordinator whose data and weights lie in ``tmp_path / "there"`` tells a node."""
    there = tmp_path / "there"
    paths = RunPaths(there / "runs", {"nlvr": there / "nlvr"}, {SHA: there / "net.safetensors"}, "cuda", 3)
    return NodeLaunch(
        arguments=("/somewhere/python", *WorkerSettings(paths, 1, 2).command()[1:]),
        threads=2,
        runs=paths.runs,
        host="there",
        probe=there / "runs" / ".probe",
        log=there / "log",
        node_runs="",
        folder=there,
        python_path="/their/modules",
        data={"FUSION_BENCH_DATA_VQA2": str(there / "vqa2")},
        limits_memory=False,
    )


def values(arguments: list[str], option: str) -> list[str]:
    return [arguments[place + 1] for place, argument in enumerate(arguments) if argument == option]


def test_what_is_there_is_used_by_its_path(
    tmp_path: Path, launch: NodeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name in ("nlvr", "vqa2", "runs"):
        (tmp_path / "there" / name).mkdir(parents=True)
    (tmp_path / "there" / "net.safetensors").touch()
    started = command_here(launch, launch.runs, shared=True)
    arguments = list(started.arguments)
    assert arguments == [sys.executable, *launch.arguments[1:]]
    assert started.environment["FUSION_BENCH_DATA_VQA2"] == str(tmp_path / "there" / "vqa2")
    assert started.environment["PYTHONPATH"] == "/their/modules"
    assert started.environment["OMP_NUM_THREADS"] == "2"
    assert started.folder == tmp_path / "there"


def test_what_is_elsewhere_is_named_by_the_node(
    tmp_path: Path, launch: NodeLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "weights"
    own.mkdir()
    (own / f"{SHA}.safetensors").touch()
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(own))
    monkeypatch.setenv("FUSION_BENCH_DATA_VQA2", "/mine/vqa2")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    started = command_here(launch, tmp_path / "node", shared=False)
    arguments = list(started.arguments)
    assert values(arguments, "--runs") == [str(tmp_path / "node")]
    assert values(arguments, "--device") == ["cuda"]
    assert values(arguments, "--data") == []  # FUSION_BENCH_DATA_NLVR of the node counts
    assert values(arguments, "--weights") == [f"{SHA}={own / f'{SHA}.safetensors'}"]
    assert started.environment["FUSION_BENCH_DATA_VQA2"] == "/mine/vqa2"
    assert started.environment["PYTHONPATH"] == "/mine"
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    assert values(list(command_here(launch, tmp_path, shared=False).arguments), "--weights") == []


def test_what_arrives_is_what_was_sent_or_nothing(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "cells" / "1").mkdir(parents=True)
    (here / "cells" / "1" / "result.json").write_bytes(b"{}")
    parcel = packed(here, ["cells/1/result.json", "cells/1/absent"])
    assert list(parcel) == ["cells/1/result.json"]
    digests = {name: file.sha256 for name, file in parcel.items()}
    assert differing(there, digests) == ["cells/1/result.json"]
    unpack(parcel, there)
    assert differing(there, digests) == []
    (there / "cells" / "1" / "result.json").write_bytes(b"[]")
    assert differing(there, digests) == ["cells/1/result.json"]
    for name in ("../x", str(tmp_path / "x"), "cells/../../x"):
        with pytest.raises(FusionBenchError, match="leads out of the folder"):
            unpack({name: parcel["cells/1/result.json"]}, there)
    damaged = {"x": replace(parcel["cells/1/result.json"], content=b"{ }")}
    with pytest.raises(FusionBenchError, match="x arrived damaged"):
        unpack(damaged, there)
    assert not (there / "x").exists()

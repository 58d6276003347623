"""How many workers a run has and on which devices; the numbers of GPUs are made up, since none is needed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fake_worker import fake_settings, own_cell
from fusion_bench.api.executors import check_executor, cluster_of
from fusion_bench.api.placement import devices_of, ray_need, workers_here, workers_on_ray
from fusion_bench.api.request import RunRequest
from fusion_bench.cells.executors.local import LocalExecutor
from fusion_bench.cells.executors.on_ray import cluster
from fusion_bench.cells.executors.on_ray.cluster import Need, RayRequest, places_for
from fusion_bench.errors import FusionBenchError
from fusion_bench.limits import Resources
from fusion_bench.spec.load import read_study
from toys import study_file


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("device", "workers", "per_device", "number"),
    [
        ("cuda", None, None, 4),
        ("cuda", None, 3, 12),
        ("cuda", 6, None, 6),
        ("cuda:1", None, None, 1),
        ("cuda:1", None, 8, 8),
        ("cpu", 3, None, 3),
        ("cpu", None, None, max(1, (os.cpu_count() or 1) // 2)),
    ],
)
def test_the_number_of_workers(device: str, workers: int | None, per_device: int | None, number: int) -> None:
    assert workers_here(device, workers, per_device, threads=2) == number


@pytest.mark.usefixtures("four_gpus")
def test_cuda_is_every_gpu_and_a_number_is_one() -> None:
    assert devices_of("cuda") == ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    assert devices_of("cuda:2") == ("cuda:2",)
    assert devices_of("cpu") == ("cpu",)


def test_one_gpu_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices_of("cuda") == ("cuda",)


@pytest.mark.parametrize(
    ("device", "workers", "per_device", "sentence"),
    [
        ("cpu", None, 4, "--per-device 4 counts the workers of each GPU, and cells are trained on the CPU"),
        ("cuda", 2, 4, "--workers 2 and --per-device 4 both say how many"),
        ("cuda", 0, None, "workers is 0: write 1 or more"),
        ("cuda", None, 0, "per_device is 0: write 1 or more"),
    ],
)
def test_numbers_that_contradict_each_other(
    device: str, workers: int | None, per_device: int | None, sentence: str
) -> None:
    with pytest.raises(FusionBenchError, match=sentence):
        workers_here(device, workers, per_device, threads=1)


def test_workers_spread_evenly_over_devices_and_a_new_one_takes_the_free_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from fusion_bench.cells.executors import local

    monkeypatch.setattr(local, "_TICK_SECONDS", 0.05)
    cells = [own_cell(seed) for seed in range(4)]
    dying = cells[2]
    die = "if attempt == 1: os.kill(os.getpid(), signal.SIGKILL)"
    wait = f"\nwhile len(open('started-{dying.id}').readlines()) < 2: time.sleep(0.01)"
    wait = f"\nwhile not os.path.exists('started-{dying.id}'): time.sleep(0.01){wait}"
    settings = fake_settings(tmp_path, [(cell, die if cell is dying else wait) for cell in cells], 4)
    settings = replace(settings, devices=("cuda:0", "cuda:1"))
    with LocalExecutor(settings, tmp_path / "logs") as executor:
        list(executor.run([cell.id for cell in cells]))
        placed = {program.popen.pid: device for program, device in executor._placed}
    assert sorted(placed.values()) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    assert placed[settings.pids(dying)[-1]] == "cuda:0"  # where the dead one was


def test_a_worker_is_started_on_its_device(tmp_path: Path) -> None:
    from fusion_bench.cells.executors.executor import WorkerSettings
    from fusion_bench.training.paths import RunPaths

    settings = WorkerSettings(RunPaths(tmp_path, {}, {}, "cuda"), 2, 1, devices=("cuda:0", "cuda:1"))
    command = settings.on("cuda:1").start().arguments
    assert command[command.index("--device") + 1] == "cuda:1"


NODES = (Need(8, 2), Need(4, 0), Need(64, 0))


@pytest.mark.parametrize(
    ("need", "places"),
    [(Need(1, 0), 76), (Need(5, 0), 13), (Need(1, 0.25), 8), (Need(3, 0.25), 2), (Need(0.1, 0), 760)],
)
def test_a_worker_has_its_place_on_one_node(need: Need, places: int) -> None:
    assert places_for(need, None, NODES) == places
    assert places_for(need, 1, NODES) == 1
    with pytest.raises(FusionBenchError, match=f"has place for {places} worker"):
        places_for(need, places + 1, NODES)


@pytest.mark.parametrize("need", [Need(65, 0), Need(1, 3), Need(9, 1)])
def test_what_no_node_has_is_told(need: Need) -> None:
    with pytest.raises(FusionBenchError, match=f"no node of the Ray cluster has {need} for a worker"):
        places_for(need, None, NODES)


@pytest.mark.parametrize(
    ("asked", "resources", "device", "need"),
    [
        (RayRequest(), Resources(), "cpu", Need(2, 0)),
        (RayRequest(), Resources(), None, Need(2, 1)),
        (RayRequest(), Resources(cpus=1, gpus=0.25), None, Need(1, 0.25)),
        (RayRequest(cpus=4, gpus=0.5), Resources(cpus=1, gpus=0.25), "cuda", Need(4, 0.5)),
        (RayRequest(gpus=0), Resources(gpus=0.25), None, Need(2, 0)),
    ],
)
def test_the_command_line_counts_then_the_study_then_what_there_is(
    asked: RayRequest, resources: Resources, device: str | None, need: Need, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion_bench.api.placement.nodes", lambda: NODES)
    found = ray_need(asked, resources, device, threads=2)
    assert found == need
    assert found.device == ("cuda" if need.gpus else "cpu")


def test_devices_that_ray_cannot_give() -> None:
    with pytest.raises(FusionBenchError, match="--device cuda:1: Ray gives each worker its GPU"):
        ray_need(RayRequest(), Resources(), "cuda:1", 1)
    with pytest.raises(FusionBenchError, match="--device cuda and 0 GPUs"):
        ray_need(RayRequest(gpus=0), Resources(), "cuda", 1)
    with pytest.raises(
        FusionBenchError, match=r"--per-device 4 is for workers of this host; write --ray-gpus 0\.25"
    ):
        workers_on_ray(Need(1, 1), None, 4)


def test_the_study_says_what_a_worker_needs_and_its_cells_are_the_same(tmp_path: Path) -> None:
    plain = read_study(study_file(tmp_path), ())
    asking = read_study(study_file(tmp_path), ("resources={cpus: 2, gpus: 0.25}",))
    assert plain.resources == Resources()
    assert asking.resources == Resources(2, 0.25)
    assert [arm.config.id for arm in plain.arms] == [arm.config.id for arm in asking.arms]


def request(executor: str = "local", **asked: Any) -> RunRequest:
    return RunRequest(Path("study.yaml"), executor=executor, **asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request("dask"), "there is no executor 'dask'"),
        (request("slrum"), "did you mean 'slurm'"),
        (request("slurm"), "say how many jobs may run at once"),
        (request("slurm", workers=2, per_device=2), "of Slurm, each job is one worker"),
        (request(slurm=("partition=gpu",)), "--slurm: its options are for --executor slurm"),
        (
            request("slurm", workers=2, ray=RayRequest(gpus=1)),
            "--ray-...: its options are for --executor ray",
        ),
    ],
)
def test_what_is_asked_of_an_executor_fits_it(asked: RunRequest, said: str) -> None:
    with pytest.raises(FusionBenchError, match=re.escape(said)):
        check_executor(asked)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(FusionBenchError, match=r"install it with: pip install 'laconv-fusion-bench\[ray\]'"),
        cluster_of(request("ray")),
    ):
        pytest.fail("it is connected")


@pytest.mark.parametrize("address", ["nowhere:1:2", "127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_one_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def is_initialized(self) -> bool:
            return False

        def init(self, **_: object) -> None:
            raise ConnectionError(f"cannot connect to GCS at {address}\nmore lines")

    monkeypatch.setattr(cluster, "ray_library", Library)
    sentence = f"the Ray cluster {address} cannot be reached: cannot connect to GCS at {address}"
    with pytest.raises(FusionBenchError, match=sentence), cluster.connected(address):
        pass
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ

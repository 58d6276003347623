"""``compose.yaml`` is read, and each of its commands is one that the programs take; no container engine is needed."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from fusion_bench.cli.main import app
from ray_commands import check_ray

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())["services"]
    return found


def words(service: dict[str, Any]) -> list[str]:
    return shlex.split(service["command"])


def test_the_run_is_a_command_of_fusion_bench(services: dict[str, Any]) -> None:
    program, command, *arguments = words(services["study"])
    assert (program, command) == ("fusion-bench", "run")
    run = get_command(app).commands[command]  # type: ignore[attr-defined]
    context = run.make_context(command, arguments)
    assert context.params["smoke"] and str(context.params["executor"]) == "ray"
    assert (ROOT / context.params["study"]).is_file()


def test_the_server_and_the_nodes_are_commands_of_their_programs(services: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about its own type hints
        server = importlib.import_module("mlflow.cli").server
    mlflow, name, *arguments = words(services["mlflow"])
    assert (mlflow, name) == ("mlflow", "server")
    assert server.make_context(name, arguments).params["port"] == 5000
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs ray")
    for node in ("ray-head", "ray-worker"):
        ray, name, *arguments = words(services[node])
        assert (ray, name) == ("ray", "start")
        check_ray(name, arguments)
    assert services["ray-worker"]["deploy"]["replicas"] == 2


def test_what_a_service_names_is_there(services: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text()
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
    for named in re.findall(r"(?:--address=|--ray-address |@|http://)([a-z-]+)[:/]", text):
        assert named in services
    copied = re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


def test_nothing_listens_outside_and_no_secret_is_written(services: dict[str, Any]) -> None:
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN", name):
                assert re.match(r"\$\{[A-Z_]+:\?", value)

"""A compiled training step computes what the plain one computes; what cannot be compiled is told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from fusion_bench.bench.step import ARMS
from fusion_bench.bench.synthetic import BenchmarkArm, StepSize, synthetic_config, synthetic_data
from fusion_bench.errors import CellFailure
from fusion_bench.registry import Target
from fusion_bench.training.config import CellConfig, Component
from fusion_bench.training.fit import compiled
from fusion_bench.training.loop import Trainer
from toys import toy_cell_data, toy_config

CPU = torch.device("cpu")
TOY = StepSize(batch=4, map_shape=(8, 2, 3), width=16, depth=1, words=3, vocabulary=5, answers=3)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Record graphs, forward and backward, and run them without generating code."""
    monkeypatch.setattr(compiled, "_COMPILER", "aot_eager")
    yield
    torch.compiler.reset()


def asked(config: CellConfig) -> CellConfig:
    return replace(config, train=replace(config.train, compile="reduce-overhead"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # the backend without code ignores the mode
@pytest.mark.parametrize("arm", [*ARMS.values(), BenchmarkArm("concat", {"dropout": 0.0})])
def test_a_compiled_training_has_the_losses_of_a_plain_one(arm: BenchmarkArm) -> None:
    config, data = synthetic_config(arm, TOY), synthetic_data(TOY, 3)
    plain, graphs = (
        Trainer(config, data, CPU, lambda _: None),
        Trainer(asked(config), data, CPU, lambda _: None),
    )
    plain.train()
    graphs.train()
    torch.testing.assert_close(graphs._losses.values, plain._losses.values, rtol=1e-5, atol=1e-6)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(graphs.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_graph_serves_all_steps_of_a_training() -> None:
    """Sentences of other lengths would each compile anew."""
    torch.compiler.reset()
    config, data = asked(synthetic_config(ARMS["film"], TOY)), synthetic_data(TOY, 6)
    assert len({int(length) for length in data.encoded["train"].lengths}) > 1
    with torch._dynamo.config.patch(error_on_recompile=True):
        Trainer(config, data, CPU, lambda _: None).train()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_of_a_gpu_have_the_losses_of_a_plain_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_COMPILER", "inductor")
    config, data = synthetic_config(ARMS["film"], TOY), synthetic_data(TOY, 8)
    config = replace(config, train=replace(config.train, precision="float32"))
    gpu = torch.device("cuda")
    plain, graphs = (
        Trainer(config, data, gpu, lambda _: None),
        Trainer(asked(config), data, gpu, lambda _: None),
    )
    plain.train()
    graphs.train()
    torch.testing.assert_close(graphs._losses.values, plain._losses.values, rtol=1e-2, atol=1e-3)


def test_a_module_that_cannot_be_compiled_is_one_sentence() -> None:
    config = asked(replace(toy_config(), arm=Component(Target("restless_modules:Restless"))))
    with pytest.raises(
        CellFailure, match=r"'restless_modules:Restless' cannot be compiled into one graph \(.+\); leave"
    ):
        Trainer(config, toy_cell_data(), CPU, lambda _: None).train()

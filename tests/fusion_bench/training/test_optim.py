"""Learning rates and optimizers by hand, the moving average against a loop, one sentence of each referent."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fusion_bench.errors import FusionBenchError
from fusion_bench.samples.split import Split
from fusion_bench.training.batches import BatchLoader
from fusion_bench.training.cell_data import CellData
from fusion_bench.training.config import TrainConfig
from fusion_bench.training.loop import Trainer
from fusion_bench.training.optim import MovingAverage, learning_rate, make_optimizer, schedule
from toys import toy_cell_data, toy_config

CPU = torch.device("cpu")
OFFICIAL = TrainConfig(
    learning_rate=1e-4,
    warmup=3 / 40,
    warmup_from=1e-7,
    final_learning_rate=1e-6,
    optimizer="adam",
    betas=(0.9, 0.98),
    eps=1e-9,
    weight_decay=0.0,
)


def test_the_default_rates_are_the_schedule_to_the_last_bit() -> None:
    settings = TrainConfig(learning_rate=3e-3, warmup=0.1)
    for step in range(100):
        assert learning_rate(step, 100, settings) == 3e-3 * schedule(step, 100, 0.1)


def test_the_official_rates_by_hand() -> None:
    """40 epochs of 100 steps: 300 steps of warm-up, then half a cosine over 3700."""
    rates = {step: learning_rate(step, 4000, OFFICIAL) for step in (0, 1, 150, 299, 300, 2150, 3999)}
    assert rates[0] == 1e-7
    assert rates[1] == pytest.approx(1e-7 + (1e-4 - 1e-7) / 300, rel=1e-12)
    assert rates[150] == pytest.approx((1e-7 + 1e-4) / 2, rel=1e-12)
    assert rates[299] == pytest.approx(1e-7 + 299 * (1e-4 - 1e-7) / 300, rel=1e-12)
    assert rates[300] == 1e-4
    assert rates[2150] == pytest.approx((1e-4 + 1e-6) / 2, rel=1e-12)
    last = 1e-6 + (1e-4 - 1e-6) * (1 + math.cos(math.pi * 3699 / 3700)) / 2
    assert rates[3999] == pytest.approx(last, rel=1e-12)
    assert 1e-6 < rates[3999] < 1.0001e-6


def test_adam_steps_as_its_formula_says() -> None:
    layer = nn.Linear(2, 1, bias=False)
    start = layer.weight.detach().clone().double()
    optimizer = make_optimizer(layer, replace(OFFICIAL, learning_rate=0.1))
    gradients = [torch.tensor([[0.5, -2.0]]), torch.tensor([[1.0, 0.25]])]
    first, second = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    for step, gradient in enumerate(gradients, start=1):
        layer.weight.grad = gradient.clone()
        optimizer.step()
        first = 0.9 * first + 0.1 * gradient
        second = 0.98 * second + 0.02 * gradient**2
        start -= 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.98**step)).sqrt() + 1e-9)
    torch.testing.assert_close(layer.weight.detach().double(), start, rtol=1e-5, atol=1e-6)


def test_adam_decays_with_the_gradient_and_adamw_apart_from_it() -> None:
    """The gradient is zero: Adam's first step is then the rate itself, AdamW's the rate times decay times weight."""
    for name, expected in (("adam", 1 - 0.1), ("adamw", 1 - 0.1 * 0.5)):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        settings = TrainConfig(optimizer=name, learning_rate=0.1, weight_decay=0.5)  # type: ignore[arg-type]
        optimizer = make_optimizer(layer, settings)
        layer.weight.grad = torch.zeros(1, 1)
        optimizer.step()
        assert layer.weight.item() == pytest.approx(expected, abs=1e-5)


class OddlyLaidOut(nn.Module):
    """A network with parameters of every layout, one of which has no gradient, in two floating-point types."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.strided = nn.Parameter(torch.randn(5, 4).t())
        self.precise = nn.Parameter(torch.randn(5, dtype=torch.float64))
        self.unused = nn.Parameter(torch.randn(2, 2))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images).mean((2, 3)) @ self.strided  # [B, 5]
        return (maps.double() * self.precise).square().mean()


@pytest.mark.parametrize("name", ["adamw", "adam"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_fused_step_is_the_plain_step(name: str, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    model = OddlyLaidOut()
    plain = copy.deepcopy(model)
    settings = TrainConfig(optimizer=name, learning_rate=0.05, weight_decay=0.1)  # type: ignore[arg-type]
    fused = make_optimizer(model, settings)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    groups = [
        {"params": [plain.conv.weight, plain.strided, plain.unused]},
        {"params": [plain.conv.bias, plain.precise], "weight_decay": 0.0},
    ]
    reference = kind(groups, lr=0.05, weight_decay=0.1, foreach=False)
    assert fused.defaults["fused"]
    for _ in range(5):
        images = torch.randn(2, 3, 6, 6).contiguous(memory_format=layout)
        for network, optimizer in ((model, fused), (plain, reference)):
            optimizer.zero_grad()
            network(images).backward()
            optimizer.step()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_complex_parameters_are_trained_too() -> None:
    model = nn.Module()
    model.spectrum = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    optimizer = make_optimizer(model, TrainConfig(learning_rate=0.1))
    model.spectrum.abs().sum().backward()
    optimizer.step()
    torch.testing.assert_close(model.spectrum.real, torch.full((3,), 0.9), rtol=0, atol=1e-4)


def test_the_moving_average_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = MovingAverage(model, 0.9)
    expected = {name: value.double() for name, value in copy.deepcopy(model.state_dict()).items()}
    for update in range(200):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(5, 3))  # moves the running statistics
        decay = min(0.9, (update + 1) / (update + 10))
        for name, value in model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
        average.update(model)
    found = average.model.state_dict()
    assert int(found["1.num_batches_tracked"]) == 200
    for name in expected.keys() - {"1.num_batches_tracked"}:
        torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_the_average_of_constant_weights_is_the_weights() -> None:
    model = nn.Linear(5, 5)
    average = MovingAverage(model, 0.9997)
    for _ in range(50):
        average.update(model)
    assert torch.equal(average.model.state_dict()["weight"], model.weight)


def test_the_average_is_evaluated_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy_config(epochs=2, ema=0.9)
    trainer = Trainer(config, toy_cell_data(), CPU, lambda _: None)
    weights: list[Tensor] = []
    averages: list[Tensor] = []
    step = trainer._optimizer.step
    average = trainer.model.slot.adapter.weight.detach().clone()

    def watched() -> None:
        step()
        weights.append(trainer.model.slot.adapter.weight.detach().clone())
        decay = min(0.9, len(weights) / (len(weights) + 9))
        average.mul_(decay).add_((1 - decay) * weights[-1])
        averages.append(average.clone())

    monkeypatch.setattr(trainer._optimizer, "step", watched)
    outcome = trainer.train()
    kept = outcome.model.slot.adapter.weight
    end = outcome.best_epoch * len(weights) // 2 - 1
    torch.testing.assert_close(kept, averages[end], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(kept, weights[end], rtol=1e-4, atol=1e-5)


def referring(cell_data: CellData) -> CellData:
    """Return data in which the three questions about one image are three sentences about one referent."""
    train = cell_data.encoded["train"]
    table = train.split.table.assign(referent=train.split.table["image"].map(str))
    named = replace(train, split=Split("train", table, train.split.images))
    return replace(cell_data, encoded={**cell_data.encoded, "train": named})


def test_an_epoch_draws_one_sentence_of_each_referent() -> None:
    cell_data = referring(toy_cell_data())
    train = cell_data.encoded["train"]
    loader = BatchLoader(train, cell_data, CPU)
    assert (loader.samples_per_epoch(), loader.samples_per_epoch(one_per_referent=True)) == (96, 32)
    seen = []
    for epoch in (1, 2):
        rows: list[Tensor] = []
        loader._gather = lambda chosen, _, rows=rows: rows.append(chosen)  # type: ignore[method-assign, misc]
        for _ in loader.epoch(epoch, 0, 8, one_per_referent=True):
            continue
        chosen = torch.cat(rows)
        assert sorted(train.split.table["image"][chosen.tolist()]) == list(range(32)), "each referent once"
        assert len({*(chosen % 3).tolist()}) + 1 > 3
        seen.append(chosen)
    assert sorted(seen[0].tolist()) != sorted(seen[1].tolist()), "other sentences in another epoch"
    again = list(torch.cat(rows).tolist())
    rows.clear()
    for _ in loader.epoch(2, 0, 8, one_per_referent=True):
        continue
    assert torch.cat(rows).tolist() == again, "the same in every arm"


def test_steps_count_the_referents() -> None:
    config = toy_config(one_expression_per_referent=True)
    assert Trainer(config, referring(toy_cell_data()), CPU, lambda _: None)._steps == 3 * (32 // 16)


def test_a_data_set_without_referents_is_refused() -> None:
    config = toy_config(one_expression_per_referent=True)
    with pytest.raises(
        FusionBenchError, match="the split 'train' has no such column, so leave the setting out"
    ):
        Trainer(config, toy_cell_data(), CPU, lambda _: None)

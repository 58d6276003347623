"""The training loop learns, keeps the best weights, is deterministic, pairs batches and refuses a bad loss."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from fusion_bench.errors import CellFailure
from fusion_bench.registry import Target
from fusion_bench.training.batches import BatchLoader, steps_per_epoch
from fusion_bench.training.config import CellConfig, Component
from fusion_bench.training.fit.result import TrainingResult
from fusion_bench.training.loop import Progress, Trainer, build_model
from fusion_bench.training.optim import make_optimizer, schedule
from toys import toy_cell_data, toy_config

CPU = torch.device("cpu")


def trained(config: CellConfig, epochs: list[Progress] | None = None) -> TrainingResult:
    return Trainer(config, toy_cell_data(), CPU, (epochs if epochs is not None else []).append).train()


def test_a_task_that_needs_both_inputs_is_learned() -> None:
    outcome = trained(toy_config(epochs=25))
    assert outcome.metrics["test/accuracy"] > 0.95


def test_equal_cells_give_equal_numbers() -> None:
    one, other = trained(toy_config()), trained(toy_config())
    pd.testing.assert_frame_equal(one.samples, other.samples)
    pd.testing.assert_frame_equal(one.curves, other.curves)


def test_earlier_use_of_the_generator_does_not_matter() -> None:
    expected = trained(toy_config()).curves
    torch.manual_seed(99)
    torch.rand(7)
    pd.testing.assert_frame_equal(trained(toy_config()).curves, expected)


def test_two_arms_see_the_same_batches_in_the_same_order() -> None:
    cell_data = toy_cell_data()
    loader = BatchLoader(cell_data.encoded["train"], cell_data, CPU)
    first = [batch.tokens for batch in loader.epoch(2, seed=7, size=16)]
    again = [batch.tokens for batch in loader.epoch(2, seed=7, size=16)]
    other = [batch.tokens for batch in loader.epoch(3, seed=7, size=16)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_an_epoch_has_complete_batches_of_distinct_samples() -> None:
    cell_data = toy_cell_data()
    batches = list(BatchLoader(cell_data.encoded["train"], cell_data, CPU).epoch(1, 0, 40))
    assert [len(batch.target) for batch in batches] == [40, 40]
    assert steps_per_epoch(96, 40) == 2
    assert steps_per_epoch(5, 40) == 1


def test_the_best_epoch_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.5, 0.9, 0.1])
    states: list[torch.Tensor] = []
    trainer = Trainer(toy_config(), toy_cell_data(), CPU, lambda _: None)

    def selected(epoch: int) -> float:
        states.append(trainer.model.slot.projection.weight.detach().clone())
        return next(values)

    monkeypatch.setattr(trainer, "_evaluate_selection", selected)
    outcome = trainer.train()
    assert outcome.best_epoch == 2
    assert torch.equal(outcome.model.slot.projection.weight, states[1])


def test_early_stopping_waits_for_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(toy_config(epochs=9, patience=2), toy_cell_data(), CPU, lambda _: None)
    values = iter([0.5, 0.6, 0.6, 0.55, 0.9])
    monkeypatch.setattr(trainer, "_evaluate_selection", lambda epoch: next(values))
    outcome = trainer.train()
    assert (outcome.epochs, outcome.best_epoch) == (4, 2)


def test_a_search_cell_never_reads_an_evaluation_split() -> None:
    outcome = trained(replace(toy_config(), evaluate=False))
    assert set(outcome.samples["split"]) == {"val"}
    assert set(outcome.metrics) == {"val/accuracy"}


def test_metrics_are_computed_from_the_samples_alone() -> None:
    outcome = trained(toy_config())
    rows = outcome.samples[outcome.samples["split"] == "test"]
    assert outcome.metrics["test/accuracy"] == np.mean(rows["prediction"] == rows["truth"])


def test_a_loss_that_is_not_finite_fails_the_cell() -> None:
    with pytest.raises(CellFailure, match=r"not finite at step 1 \(epoch 1\)"):
        trained(toy_config("Explodes"))


@pytest.mark.parametrize(
    ("module", "how_many", "first"),
    [
        ("NanInEvaluation", "96 of 96", "val-0-red"),
        ("InfiniteForTheLast", "1 of 96", "val-31-blue"),
        ("NanOnLargeBatches", "96 of 96", "val-0-red"),
    ],
)
@pytest.mark.parametrize("train", [{}, {"ema": 0.9}, {"epochs": 0}], ids=["plain", "average", "untrained"])
def test_an_output_that_is_not_finite_fails_the_cell(
    module: str, how_many: str, first: str, train: dict[str, float]
) -> None:
    config = replace(toy_config(**train), arm=Component(Target(f"hostile:{module}")))
    with pytest.raises(CellFailure) as error:
        trained(config)
    assert f"not finite for {how_many} samples of a batch of the split 'val'" in str(error.value)
    assert f"the first of them {first!r}" in str(error.value)


def test_an_output_that_is_not_finite_on_the_test_split_alone_fails_the_cell() -> None:
    cell_data = toy_cell_data()
    test = cell_data.encoded["test"]
    maps = test.visual.copy()
    maps[5] = np.inf
    encoded = {**cell_data.encoded, "test": replace(test, visual=maps)}
    trainer = Trainer(toy_config(), replace(cell_data, encoded=encoded), CPU, lambda _: None)
    with pytest.raises(
        CellFailure, match=r"for 3 of 96 samples of a batch of the split 'test', the first .* 'test-5-red'"
    ):
        trainer.train()


def test_every_epoch_is_reported() -> None:
    epochs: list[Progress] = []
    trained(toy_config(), epochs)
    assert [progress.epoch for progress in epochs] == [1, 2, 3]
    assert epochs[-1].seconds_left == 0


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    factors = [schedule(step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == factors[10] == 1
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert factors[-1] < 0.001


def test_norms_biases_and_gates_do_not_decay() -> None:
    model = build_model(toy_config(), toy_cell_data())
    decayed, spared = make_optimizer(model, toy_config(weight_decay=0.5).train).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim <= 1 for parameter in spared["params"])

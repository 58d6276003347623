"""The training loop learns, keeps the best weights, is deterministic, pairs batches and refuses a bad loss."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from fusion_bench.errors import CellFailure
from fusion_bench.registry import Target
from fusion_bench.training.batches import BatchLoader, steps_per_epoch
from fusion_bench.training.config import CellConfig, Component
from fusion_bench.training.fit.losses import EpochLosses, _Check
from fusion_bench.training.fit.result import TrainingResult
from fusion_bench.training.fit.step_done import StepDone
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


def test_every_batch_is_told() -> None:
    steps: list[StepDone] = []
    config = toy_config(epochs=2)  # 2 x 6 steps, and one batch of evaluation in each split
    Trainer(config, toy_cell_data(), CPU, lambda _: None, on_step=steps.append).train()
    training = [StepDone("training", step, 12) for step in range(1, 13)]
    evaluation = StepDone("evaluation", 1, 1)
    assert steps == [*training[:6], evaluation, *training[6:], evaluation, evaluation, evaluation]


class AsksNoQuestions:
    """Stands for checkpoints that are never due."""

    due = False

    def write(self, *_: object) -> None:
        raise AssertionError


def test_no_state_is_taken_and_no_clock_is_read_where_nothing_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[float] = []
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: read.append(clock()) or read[-1])
    trained(toy_config(epochs=2))
    assert len(read) == 1 + 2 + 2, "the start, each epoch, and the end of training and of evaluation"
    monkeypatch.setattr(Trainer, "state", lambda _: pytest.fail("a state was taken"))
    Trainer(toy_config(), toy_cell_data(), CPU, lambda _: None, checkpoints=AsksNoQuestions()).train()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(("epoch", "index", "last"), [(1, 1, 1), (2, 1, 49), (3, 7, 49), (1, 120, 149)])
def test_a_loss_that_is_not_finite_is_told_at_the_next_check(
    bad: float, epoch: int, index: int, last: int
) -> None:
    losses = EpochLosses(200, CPU)
    for step in range(last):
        losses.add(step, torch.tensor(bad if step == index else 1.0))
        losses.check(step, epoch)
    losses.add(last, torch.tensor(bad if last == index else 1.0))
    number = (epoch - 1) * 200 + index + 1
    with pytest.raises(CellFailure, match=rf"not finite at step {number} \(epoch {epoch}\)"):
        losses.check(last, epoch)


def test_a_bad_loss_after_the_last_check_fails_the_epoch() -> None:
    losses = EpochLosses(3, CPU)
    for step, loss in enumerate((1.0, 2.0, float("nan"))):
        losses.add(step, torch.tensor(loss))
        losses.check(step, 2)
    with pytest.raises(CellFailure, match=r"at step 6 \(epoch 2\)"):
        losses.mean(2)
    losses.add(2, torch.tensor(6.0))
    assert losses.mean(2) == 3.0


class Answer:
    """Stands for an event of a GPU that is queried a number of times before its answer is there."""

    def __init__(self, queries: int) -> None:
        self._left = queries

    def query(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize(("queries", "last"), [(0, 50), (30, 80), (70, 120)])
def test_an_answer_of_a_gpu_is_read_when_it_is_there(
    monkeypatch: pytest.MonkeyPatch, queries: int, last: int
) -> None:
    losses, begun = EpochLosses(200, CPU), []

    def begin(end: int) -> _Check:
        begun.append(end)
        return _Check(end, torch.isfinite(losses.values[:end]).all(), Answer(queries))  # type: ignore[arg-type]

    monkeypatch.setattr(losses, "_deferred", True)
    monkeypatch.setattr(losses, "_begin", begin)
    with pytest.raises(CellFailure, match=r"at step 231 \(epoch 2\)"):
        for step in range(200):
            losses.add(step, torch.tensor(float("nan") if step == 30 else 1.0))
            losses.check(step, 2)
    assert step == last
    assert begun == [50], "no second check begins before the answer of the first"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_step_waits_for_a_gpu() -> None:
    """The batches lie on the GPU already; what loads them is not part of the loop."""
    trainer = Trainer(toy_config(epochs=20), toy_cell_data(), torch.device("cuda"), lambda _: None)
    batches = list(trainer._loader.epoch(1, 0, 16))
    trainer.model.train()
    trainer._train_batch(batches[0])  # what is made once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index, batch in enumerate(batches):
            trainer._losses.add(index, trainer._train_batch(batch))
            trainer._losses.check(index, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_tells_a_bad_loss_some_steps_later() -> None:
    device = torch.device("cuda")
    losses = EpochLosses(200, device)
    with pytest.raises(CellFailure, match=r"at step 31 \(epoch 1\)"):
        for step in range(200):
            losses.add(step, torch.tensor(float("nan") if step == 30 else 1.0, device=device))
            losses.check(step, 1)
            if step == 60:
                torch.cuda.synchronize()


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

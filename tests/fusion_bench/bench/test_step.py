"""The time of a step: its multiply-adds by hand, the loops that are compared, and the steps that are timed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from fusion_bench.bench.peers import HARNESS, MINIMAL, PUBLIC, SampleFiles, measure_peers
from fusion_bench.bench.step import ARMS, measure_steps, multiply_adds_per_step, seconds_per_step
from fusion_bench.bench.synthetic import StepSize, synthetic_config, synthetic_data
from fusion_bench.bench.timing import in_turn, median_ratio, multiply_add_seconds
from fusion_bench.training.batches import BatchLoader

CPU = torch.device("cpu")
TOY = StepSize(batch=4, map_shape=(8, 2, 3), width=8, depth=1, words=3, vocabulary=5, answers=3)


def test_every_arm_gets_a_row_relative_to_its_own_floor() -> None:
    times = measure_steps({"film": ARMS["film"]}, CPU, size=TOY, steps=3, repeats=1)
    assert [time.arm for time in times] == ["film"]
    (time,) = times
    assert time.ratio > 1  # nothing is faster than its multiply-adds alone
    assert (
        abs(time.milliseconds / time.floor - time.ratio) < 1e-9
    )  # one repeat: the medians are of the same values


def test_multiply_adds_of_a_step_by_hand() -> None:
    """Forward, and backward to weights and inputs: three products each, two where the input needs no gradient."""
    data, config = synthetic_data(TOY, 2), synthetic_config(ARMS["film"], TOY)
    batch, positions, width, words, hidden, answers = 4, 2 * 3, 8, 3, 64, data.task.outputs
    recurrence = 2 * batch * words * hidden * 3 * hidden  # two directions
    generator = batch * (2 * hidden) * (2 * width)
    film = batch * positions * width * (width + 2) + batch * positions * width * width * 9
    adapter, adapter_coordinates = batch * positions * width * 64, positions * 2 * 64
    stem = batch * positions * 64 * 64
    perceptron = batch * (128 * 256 + 256 * answers)
    thrice = (
        recurrence + recurrence + generator + film + adapter + stem + perceptron
    )  # words and state, then the rest
    projection, projection_coordinates = batch * positions * 8 * width, positions * 2 * width
    twice = projection + projection_coordinates + adapter_coordinates
    assert multiply_adds_per_step(config, data, CPU) == 3 * thrice + 2 * twice


def test_the_epoch_has_the_steps_that_are_timed() -> None:
    data = synthetic_data(TOY, 5)
    loader = BatchLoader(data.encoded["train"], data, CPU)
    assert sum(1 for _ in loader.epoch(1, 0, TOY.batch)) == 5
    assert seconds_per_step(synthetic_config(ARMS["film"], TOY), data, CPU) > 0


def test_the_three_loops_are_timed_relative_to_the_minimal_one() -> None:
    times = measure_peers(CPU, size=TOY, steps=3, repeats=1)
    assert [time.loop for time in times] == [HARNESS, MINIMAL, PUBLIC]
    assert times[1].relative == 1
    assert all(time.milliseconds > 0 for time in times)


def test_the_files_of_the_public_style_hold_the_samples_of_the_split(tmp_path: Path) -> None:
    data = synthetic_data(TOY, 2)
    encoded = data.encoded["train"]
    samples = SampleFiles(encoded, tmp_path)
    assert len(samples) == len(encoded.split)
    visual, tokens, target = samples[3]
    assert torch.equal(visual, torch.from_numpy(encoded.visual[encoded.image[3]].astype("float32")))
    assert torch.equal(tokens, encoded.tokens[3])
    assert target == encoded.targets.rows(torch.tensor([3]))[0]


def test_works_take_turns_and_the_warm_up_is_left_out() -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    values = in_turn({"a": lambda: work("a"), "b": lambda: work("b")}, 2)
    assert order == ["a", "b"] * 3
    assert values == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_a_ratio_is_taken_within_each_repeat() -> None:
    assert median_ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == 3.0


def test_the_rate_of_multiply_adds_is_that_of_a_matrix_product() -> None:
    assert 1e-13 < multiply_add_seconds(CPU) < 1e-8


def test_the_synthetic_model_is_the_one_of_the_arm() -> None:
    config = synthetic_config(ARMS["laconv"], TOY)
    assert config.arm.settings["kernel_size"] == 3
    assert issubclass(config.arm.target.load(), nn.Module)

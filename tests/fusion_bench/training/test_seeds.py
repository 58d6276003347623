from __future__ import annotations

import random

import numpy as np
import torch

from fusion_bench.training.seeds import seed_of, seeded_rng, stream


def test_a_stream_depends_on_axis_and_seed_alone() -> None:
    assert torch.equal(
        torch.rand(4, generator=stream("order/1", 3)), torch.rand(4, generator=stream("order/1", 3))
    )
    assert seed_of("order/1", 3) != seed_of("order/2", 3)
    assert seed_of("order/1", 3) != seed_of("order/1", 4)


def test_neighbouring_names_do_not_run_together() -> None:
    assert seed_of("init/1", 11) != seed_of("init/11", 1)


def test_drawing_leaves_the_global_generator_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded_rng("init/head", 0):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded_rng("init/head", 0):
        assert torch.equal(torch.rand(3), inside)


def test_numpy_and_python_draw_from_the_stream_too_and_go_on_as_before() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = (random.gauss(), np.random.rand())
    random.seed(5)
    np.random.seed(5)
    with seeded_rng("dropout", 0):
        inside = (random.gauss(), np.random.rand())
    assert (random.gauss(), np.random.rand()) == expected
    with seeded_rng("dropout", 0):
        assert (random.gauss(), np.random.rand()) == inside
    with seeded_rng("dropout", 1):
        assert (random.gauss(), np.random.rand()) != inside


def test_a_stream_draws_what_torch_draws_from_its_seed_and_queues_nothing() -> None:
    torch.manual_seed(seed_of("init/head", 3))
    expected = torch.rand(3)
    queued = len(torch.cuda._queued_calls)  # a call of `torch.manual_seed` adds one where there is no GPU
    with seeded_rng("init/head", 3):
        assert torch.equal(torch.rand(3), expected)
    assert len(torch.cuda._queued_calls) == queued

from __future__ import annotations

from typing import Literal

import pandas as pd
import pytest
import torch

from fusion_bench.samples.geometry import Resizing
from fusion_bench.samples.split import Split
from fusion_bench.tasks.answering import UNKNOWN_ANSWER, Answering, AnsweringHead, accuracy, consistency

SIZE = Resizing(4, 4)


def split_of(truths: list[str], clusters: list[str] | None = None) -> Split:
    count = len(truths)
    table = pd.DataFrame(
        {
            "sample": [f"s{number}" for number in range(count)],
            "cluster": clusters or ["c"] * count,
            "image": 0,
            "text": "what",
            "truth": truths,
        }
    )
    return Split("any", table, ())


@pytest.mark.parametrize("pool", ["max_mean", "max", "mean"])
def test_the_head_pools_as_it_says(pool: Literal["max_mean", "max", "mean"]) -> None:
    torch.manual_seed(0)
    head = AnsweringHead(4, 3, hidden=5, pool=pool).double().eval()
    fused = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    norm, first, last = head.stem[1], head.classify[0], head.classify[3]
    maps = torch.einsum("oc,bchw->bohw", head.stem[0].weight[:, :, 0, 0], fused)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    maps = (maps - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    maps = maps.clamp(min=0)
    parts = {"max": maps.amax((2, 3)), "mean": maps.mean((2, 3))}
    pooled = torch.cat([parts[name] for name in pool.split("_")], 1)
    logits = (pooled @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias
    assert torch.allclose(head(fused, None), logits, atol=1e-12)


def test_an_answer_outside_the_list_is_never_right_and_carries_no_loss() -> None:
    task = Answering(split_of(["yes", "no"]), SIZE)
    seen, unseen = task.targets(split_of(["no", "maybe"])).rows(torch.arange(2)).tolist()
    assert (seen, unseen) == (0, UNKNOWN_ANSWER)
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    alone = task.loss(logits[:1], torch.tensor([0]))
    assert task.loss(logits, torch.tensor([0, UNKNOWN_ANSWER])) == alone
    rows = task.score_rows(split_of(["no", "maybe"]), logits)
    assert rows["score"].tolist() == [1.0, 0.0]


def test_consistency_wants_every_sample_of_a_cluster() -> None:
    rows = Answering(split_of(["a", "b"]), SIZE).score_rows(
        split_of(["a", "a", "b", "b"], ["x", "x", "y", "y"]), torch.eye(2)[[0, 0, 1, 0]]
    )
    assert accuracy(rows) == 0.75
    assert consistency(rows) == 0.5

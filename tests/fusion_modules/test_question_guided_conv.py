"""QGHC against loops over groups and taps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from by_hand import Layers, correlate, relu
from fusion_modules.question_guided_conv import QuestionGuidedConv


@pytest.mark.parametrize("dependent", [1, 2, 3])
def test_equals_a_bottleneck_with_kernels_from_the_question(
    sentences: Any, random_module: Any, dependent: int
) -> None:
    groups, size = 4, 2
    module = random_module("question_guided_conv", 6, 5, hidden=8, groups=groups, dependent_groups=dependent)
    language = sentences([3, 2], words=3, dim=5)
    visual = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        out = module(visual, language).numpy()
    w = Layers(module)
    for b in range(2):
        predicted = w.linear("predict", language.sentence[b].numpy()).reshape(dependent, size, size, 3, 3)
        learned = w["independent.weight"].reshape(groups - dependent, size, size, 3, 3)
        kernels = np.concatenate([learned, predicted])
        reduced = relu(w.batch_norm("reduce_norm", w.pointwise("reduce", visual[b].numpy())))
        hybrid = np.concatenate(
            [correlate(kernels[j], reduced[size * j : size * (j + 1)]) for j in range(groups)]
        )
        hybrid = relu(w.batch_norm("hybrid_norm", hybrid))
        branch = w.batch_norm("expand_norm", w.pointwise("expand", hybrid))
        np.testing.assert_allclose(out[b], relu(visual[b].numpy() + branch), rtol=1e-10, atol=1e-10)


def test_multiply_adds_are_the_sum_of_its_parts() -> None:
    c, d, e, n, h, w = 16, 5, 24, 8, 4, 7
    g = e // n
    kernels = 4 * g * g * 9
    expected = 2 * c * e * h * w + 2 * kernels * h * w + d * kernels
    assert QuestionGuidedConv(c, d, hidden=e).multiply_adds(c, d, h, w, words=4) == expected


def test_the_bottleneck_is_a_quarter_of_the_channels_in_whole_groups() -> None:
    assert QuestionGuidedConv(64, 5).reduce.out_channels == 16
    assert QuestionGuidedConv(36, 5).reduce.out_channels == 16
    assert QuestionGuidedConv(4, 5).reduce.out_channels == 8


def test_widths_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(ValueError, match="12 hidden channels are not a multiple of 8 groups"):
        QuestionGuidedConv(16, 5, hidden=12)
    with pytest.raises(ValueError, match="dependent_groups must be from 1 to 7, not 8"):
        QuestionGuidedConv(16, 5, dependent_groups=8)

"""Names of modules and text encoders lead to classes."""

from __future__ import annotations

import pytest

from fusion_bench.contract import TextEncoder
from fusion_bench.registries import TEXT_ENCODERS
from fusion_bench.registry import UnknownNameError


def test_the_gru_is_built_in() -> None:
    assert issubclass(TEXT_ENCODERS.load("gru"), TextEncoder)


def test_a_misspelt_text_encoder_is_pointed_at() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown text encoder 'grru' .did you mean 'gru'"):
        TEXT_ENCODERS.resolve("grru")

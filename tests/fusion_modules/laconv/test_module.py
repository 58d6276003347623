"""LaConv as a fusion module: its settings, their cost, and the settings that are rejected."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

from fusion_modules.laconv import LaConv, LaConvConfig

Settings = dict[str, Any]
VARIANTS = ("full", "static_kernel", "z_add", "no_language_kernel", "no_mlp")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("condition", ["words", "sentence"])
def test_multiply_adds_are_the_sum_of_its_parts(variant: str, condition: str) -> None:
    c, d, h, w, t, k, g = 64, 48, 6, 10, 7, 5, 8
    e, hw = c // 2, h * w
    # query, key and value, attention, merge
    from_words = c * e * hw + 2 * t * d * e + 2 * t * e * hw + e * e * hw
    from_sentence = d * e + e * e  # value and merge of one vector
    film = 2 * e * c * hw
    filtering = c * k * k * hw
    aggregation = {
        "full": e * g * k * k * hw + filtering,
        "no_mlp": e * g * k * k * hw + filtering,
        "static_kernel": filtering + film,
        "no_language_kernel": c * e * hw + e * g * k * k * hw + filtering + film,
        "z_add": e * c * hw,
    }[variant]
    mlp = 0 if variant == "no_mlp" else 2 * c * 4 * c * hw
    expected = (from_words if condition == "words" else from_sentence) + aggregation + mlp
    settings = {} if variant == "z_add" else {"kernel_size": k}
    module = LaConv(c, d, variant=variant, condition=condition, **settings)  # type: ignore[arg-type]
    assert module.multiply_adds(c, d, h, w, t) == expected


def test_a_dynamic_bias_costs_one_convolution_more() -> None:
    plain, biased = LaConv(64, 48), LaConv(64, 48, dynamic_bias=True)
    assert biased.multiply_adds(64, 48, 6, 10, 7) - plain.multiply_adds(64, 48, 6, 10, 7) == 32 * 64 * 60


def test_the_module_has_the_settings_of_the_configuration() -> None:
    """Names, defaults and types are the same."""
    parameters = inspect.signature(LaConv).parameters
    taken = {key: p for key, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    held = {field.name: field for field in fields(LaConvConfig)}
    assert list(taken) == list(held)
    for key, field in held.items():
        assert taken[key].default == field.default
        assert taken[key].annotation == field.type


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd and at most 11, not 4"),
        ({"kernel_size": 13}, "kernel_size must be odd and at most 11, not 13"),
        ({"heads": 0}, "heads must be at least 1, not 0"),
        ({"packing": 0}, "packing must be at least 1, not 0"),
        ({"mlp_dim": 0}, "mlp_dim must be at least 1, not 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        ({"kernel_dropout": -0.1}, r"kernel_dropout must be in \[0, 1\), not -0.1"),
        ({"norm": "layer"}, "norm must be one of batch, group, none, not 'layer'"),
        ({"variant": "half"}, "variant must be one of full, .*, not 'half'"),
        ({"condition": "image"}, "condition must be one of words, sentence, not 'image'"),
        ({"position": "learned"}, "position must be one of sine, none, not 'learned'"),
        ({"variant": "z_add", "kernel_softmax": True}, "z_add does not use kernel_softmax"),
        ({"variant": "z_add", "kernel_size": 3}, "z_add does not use kernel_size; leave it at 7"),
        ({"variant": "z_add", "groups": 4}, "z_add does not use groups"),
        ({"variant": "z_add", "kernel_dropout": 0.0}, "z_add does not use kernel_dropout"),
        ({"variant": "z_add", "dynamic_bias": True}, "z_add does not use dynamic_bias"),
        ({"variant": "static_kernel", "dynamic_bias": True}, "static_kernel does not use dynamic_bias"),
        ({"variant": "no_language_kernel", "dynamic_bias": True}, "does not use dynamic_bias"),
        ({"variant": "no_mlp", "mlp_dim": 64}, "no_mlp does not use mlp_dim; leave it at None"),
        ({"condition": "sentence", "heads": 4}, "condition sentence does not use heads"),
        ({"condition": "sentence", "packing": 2}, "condition sentence does not use packing"),
        ({"condition": "sentence", "dropout": 0.0}, "condition sentence does not use dropout"),
        ({"condition": "sentence", "position": "none"}, "condition sentence does not use position"),
    ],
)
def test_settings_out_of_range_or_without_effect_are_rejected(settings: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=f"^LaConv: .*{message}"):
        LaConv(64, 48, **settings)


def test_a_setting_is_accepted_if_it_has_an_effect() -> None:
    """Kernels from the image use X + P for both conditions."""
    located = LaConv(64, 48, variant="no_language_kernel", condition="sentence")
    assert located.position_code == "sine"
    assert (
        LaConv(64, 48, variant="no_language_kernel", condition="sentence", position="none").listens
        == "sentence"
    )
    assert LaConv(9, 48, variant="z_add", position="none", cond_dim=8).out_dim == 9, "9 is no multiple of 8"

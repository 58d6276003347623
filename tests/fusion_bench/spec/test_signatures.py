"""A class's settings are its keyword-only parameters; values are checked against the type hints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from fusion_bench.errors import FusionBenchError
from fusion_bench.spec.signatures import equal_values, signature_of


class Module:
    def __init__(
        self,
        visual_dim: int,
        language_dim: int,
        *,
        heads: int = 8,
        scale: float = 1,
        bias: bool = True,
        norm: Literal["batch", "layer"] = "batch",
        width: int | None = None,
        sizes: Sequence[int] = (1, 2),
        kernel: tuple[int, ...] | int = 3,
        images: Mapping[str, int] | None = None,
        copy: str = "names that a validator reserves are fine",
        activation: Callable[[float], float] = abs,
    ) -> None: ...


def check(**settings: Any) -> dict[str, Any]:
    signature = signature_of(Module)
    return signature.without_defaults(signature.adapter.validate_json(json.dumps(settings), strict=True))


def test_settings_are_the_keyword_only_parameters_with_a_json_form() -> None:
    assert signature_of(Module).names == (
        "heads", "scale", "bias", "norm", "width", "sizes", "kernel", "images", "copy",
    )  # fmt: skip


def test_values_equal_to_a_default_are_left_out() -> None:
    assert check(heads=8, scale=1.0, sizes=[1, 2], kernel=3, width=None, norm="batch") == {}
    assert check(heads=4, sizes=[2], kernel=[1, 3], images={"train": 5}) == {
        "heads": 4,
        "sizes": [2],
        "kernel": [1, 3],
        "images": {"train": 5},
    }


def test_a_whole_number_is_accepted_as_a_number() -> None:
    assert check(scale=2) == {"scale": 2.0}
    assert isinstance(check(scale=2)["scale"], float)


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": "1e-4"},
        {"scale": True},
        {"heads": True},
        {"heads": 8.0},
        {"heads": None},
        {"bias": 1},
        {"norm": "group"},
        {"sizes": 3},
        {"sizes": "12"},
        {"sizes": ["1"]},
        {"images": {"train": 0.5}},
        {"activation": "relu"},
        {"dropout": 0.1},
    ],
)
def test_a_wrong_type_or_name_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check(**settings)


def test_a_parameter_without_a_default_must_be_written() -> None:
    class Needs:
        def __init__(self, visual_dim: int, language_dim: int, *, heads: int) -> None: ...

    with pytest.raises(ValidationError, match="heads"):
        signature_of(Needs).adapter.validate_json("{}")


def test_a_required_parameter_without_a_json_form_is_an_error() -> None:
    class Needs:
        def __init__(self, *, activation: Callable[[float], float]) -> None: ...

    with pytest.raises(FusionBenchError, match="requires 'activation'"):
        signature_of(Needs)


def test_a_type_hint_that_does_not_exist_is_an_error() -> None:
    class Typo:
        def __init__(self, *, heads: Itn = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(FusionBenchError, match="'Itn' is not defined"):
        signature_of(Typo)


def test_one_equals_1_0_but_not_true() -> None:
    assert equal_values(1, 1.0)
    assert equal_values({"a": [1, None]}, {"a": [1.0, None]})
    assert not equal_values(1, True)
    assert not equal_values([1], [True])
    assert not equal_values({"a": 0}, {"a": False})
    assert not equal_values([1, 2], [1])


class Unordered:
    def __init__(self, *, kinds: frozenset[str] = frozenset({"b", "a", "c"})) -> None: ...


def test_a_set_has_one_order_whatever_the_hash_seed() -> None:
    signature = signature_of(Unordered)
    assert signature.defaults == {"kinds": ["a", "b", "c"]}
    for written in (["c", "b", "d"], ["d", "c", "b"]):
        validated = signature.adapter.validate_json(json.dumps({"kinds": written}), strict=True)
        assert signature.without_defaults(validated) == {"kinds": ["b", "c", "d"]}
    validated = signature.adapter.validate_json('{"kinds": ["c", "a", "b"]}', strict=True)
    assert signature.without_defaults(validated) == {}

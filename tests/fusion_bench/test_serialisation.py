"""JSON of the wrong shape is one sentence that says where, at every depth and for every type of field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from fusion_bench.errors import FusionBenchError
from fusion_bench.serialisation import from_json, to_json
from fusion_bench.training.config import CellConfig
from toys import toy_config


@dataclass(frozen=True)
class Inner:
    """A nested value."""

    number: int


@dataclass(frozen=True)
class Outer:
    """A value with a field of each type that is stored."""

    name: str
    share: float
    pair: tuple[float, float]
    many: tuple[Inner, ...]
    values: Mapping[str, float]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    kind: Literal["a", "b"] = "a"
    inner: Inner | None = None


GOOD: Mapping[str, Any] = {
    "name": "x",
    "share": 1,
    "pair": [1, 0.5],
    "many": [{"number": 1}, {"number": 2}],
    "values": {"test/accuracy": 0},
    "counts": {"damaged": {"test": 3}},
    "inner": {"number": 4},
}


def test_values_come_back_with_the_types_of_their_fields() -> None:
    found = from_json(Outer, GOOD, "x.json")
    assert found == Outer(
        "x", 1.0, (1.0, 0.5), (Inner(1), Inner(2)), {"test/accuracy": 0.0}, GOOD["counts"], "a", Inner(4)
    )
    assert isinstance(found.values["test/accuracy"], float)
    assert from_json(Outer, to_json(found), "x.json") == found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": None}, r"x\.json\.name must be of type str, not None"),
        ({"share": "1"}, r"x\.json\.share must be of type float, not '1'"),
        ({"share": True}, r"x\.json\.share must be of type float, not True"),
        ({"pair": 3}, r"x\.json\.pair must be a list, not 3"),
        ({"pair": "ab"}, r"x\.json\.pair must be a list, not 'ab'"),
        ({"pair": [1.0]}, r"x\.json\.pair must have 2 values, not 1"),
        ({"pair": [1.0, None]}, r"x\.json\.pair\[1\] must be of type float, not None"),
        ({"many": {"number": 1}}, r"x\.json\.many must be a list, not \{'number': 1\}"),
        ({"many": [{"number": 1}, []]}, r"x\.json\.many\[1\] must be a mapping, not \[\]"),
        ({"values": [1]}, r"x\.json\.values must be a mapping, not \[1\]"),
        ({"values": {"a": "high"}}, r"x\.json\.values\.a must be of type float, not 'high'"),
        ({"counts": {"a": 1}}, r"x\.json\.counts\.a must be a mapping, not 1"),
        ({"counts": {"a": {"b": False}}}, r"x\.json\.counts\.a\.b must be of type int, not False"),
        ({"kind": "c"}, r"x\.json\.kind is 'c'; known: a, b"),
        ({"kind": ["a"]}, r"x\.json\.kind is \['a'\]; known: a, b"),
        ({"inner": 1}, r"x\.json\.inner must be a mapping, not 1"),
        ({"inner": {"number": 1.5}}, r"x\.json\.inner\.number must be of type int, not 1\.5"),
        ({"more": 1}, r"x\.json has an unknown key 'more'"),
    ],
)
def test_a_wrong_shape_is_one_sentence_with_its_place(changed: Mapping[str, Any], message: str) -> None:
    with pytest.raises(FusionBenchError, match=f"^{message}$"):
        from_json(Outer, {**GOOD, **changed}, "x.json")


@pytest.mark.parametrize("value", [None, [], "text", 3, True])
def test_what_is_no_mapping_is_no_dataclass(value: Any) -> None:
    with pytest.raises(FusionBenchError, match=r"x\.json must be a mapping"):
        from_json(Outer, value, "x.json")


def test_a_message_does_not_repeat_megabytes() -> None:
    with pytest.raises(FusionBenchError) as error:
        from_json(Outer, {**GOOD, "share": "y" * 5_000_000}, "x.json")
    assert len(str(error.value)) < 200


def test_settings_of_components_hold_any_json() -> None:
    settings = {
        "text": "x",
        "number": 1,
        "share": 0.5,
        "flag": True,
        "list": [1, ["a"], {"b": None}],
        "none": None,
    }
    values = toy_config().to_json()
    values["arm"]["settings"] = settings
    assert CellConfig.from_json(values).arm.settings == settings

"""Attributes that are too few for questions about scenes are refused before anything is drawn."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from fusion_bench.data.clevr import KIND_STARTS
from fusion_bench.data.miniclevr.questions import askable
from fusion_bench.data.miniclevr.questions.view import fixed_bits
from fusion_bench.data.miniclevr.scenes.attributes import VARYING
from fusion_bench.data.programs import ATTRIBUTES
from fusion_bench.errors import DataError


@pytest.mark.parametrize("things", [1, 2, 4, 5])
@pytest.mark.parametrize("occurrences", [0, 1])
@pytest.mark.parametrize("attributes", [("size",), ("shape",), ("size", "material"), ("shape", "size")])
def test_shares_are_those_of_all_scenes(attributes: tuple[str, ...], occurrences: int, things: int) -> None:
    descriptions = [*product(*(ATTRIBUTES[name] for name in attributes))]
    scenes = [Counter(scene) for scene in product(descriptions, repeat=things)]
    allowing = [
        scene for scene in scenes if any(scene[described] == occurrences for described in descriptions)
    ]
    share = askable._share(things, fixed_bits(attributes), occurrences)
    assert share == pytest.approx(len(allowing) / len(scenes))


@pytest.mark.parametrize(
    ("kind", "attributes", "things"),
    [
        ("zero_hop", ["size"], 3),  # a scene that lacks a size is rare
        ("zero_hop", ["size", "material"], 10),
        ("one_hop", ["size"], 10),  # no object is the only one of its size
        ("one_hop", ["shape"], 9),
        ("comparison", ["color"], 3),  # two objects that are compared by color are described by nothing
        ("same_relate", ["shape"], 2),
    ],
)
def test_few_attributes_are_refused(kind: str, attributes: list[str], things: int) -> None:
    few = ", ".join(attributes)
    message = (
        f"the attributes {few} are too few for questions of the kind {kind} in scenes of {things} objects"
    )
    with pytest.raises(DataError, match=message):
        askable.check_kinds(["compare_integer", kind], attributes, things)


@pytest.mark.parametrize(
    ("kinds", "attributes", "things"),
    [
        (["zero_hop"], ["shape"], 3),
        (["zero_hop", "one_hop"], ["shape", "color"], 10),
        (["one_hop"], ["color"], 10),
        (["comparison", "same_relate"], ["shape", "color"], 10),
        ([*KIND_STARTS], ["shape", "size", "color"], 10),
        # Too few objects are not the attributes' fault: the kind is not asked, as where all attributes vary.
        (["three_hop"], ["shape", "color"], 3),
        ([*KIND_STARTS], VARYING, 1),
    ],
)
def test_enough_attributes_are_accepted(kinds: list[str], attributes: list[str], things: int) -> None:
    askable.check_kinds(kinds, attributes, things)


def test_expressions_need_an_object_that_differs_from_the_others() -> None:
    askable.check_expressions(["size"], 3)
    askable.check_expressions(VARYING, 10)
    with pytest.raises(
        DataError, match="the attributes size are too few for sentences that refer to one object"
    ):
        askable.check_expressions(["size"], 5)

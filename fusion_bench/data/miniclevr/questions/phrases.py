"""What a question talks about: described sets of objects, and the programs that find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from fusion_bench.data.miniclevr.questions.families import Family
from fusion_bench.data.programs import ATTRIBUTES

Description: TypeAlias = tuple[str | None, str | None, str | None, str | None]
"""Size, color, material and shape; None where nothing is said."""

ANYTHING: Description = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Related:
    """Standing in ``relation`` to the one object that ``of`` describes."""

    relation: str
    of: Phrase


@dataclass(frozen=True, slots=True)
class Both:
    """Two relations at once."""

    first: Related
    second: Related


@dataclass(frozen=True, slots=True)
class Same:
    """Others that share ``attribute`` with the one object that ``of`` describes."""

    attribute: str
    of: Phrase


@dataclass(frozen=True, slots=True)
class Either:
    """What one or the other phrase describes."""

    first: Phrase
    second: Phrase


PhraseCondition: TypeAlias = Related | Both | Same | Either


@dataclass(frozen=True, slots=True)
class Phrase:
    """A set of objects: those that fit the description and meet the condition."""

    description: Description
    condition: PhraseCondition | None = None


def program(family: Family, phrases: tuple[Phrase, ...]) -> list[dict[str, Any]]:
    """The functional program of a question, in the released form.

    As in the release, filters stand in the order size, color, material, shape, inputs come before what
    uses them, and of two relations the one mentioned last is found first.

    Args:
        family: what is asked.
        phrases: one set, or the two that are compared.
    """
    nodes = _Nodes()
    if family.form == "integers":
        nodes.add(family.asks, *[nodes.add("count", nodes.objects(phrase)) for phrase in phrases])
    elif family.form == "attributes":
        found = [nodes.add(f"query_{family.attribute}", nodes.thing(phrase)) for phrase in phrases]
        nodes.add(family.asks, *found)
    elif family.queried:
        nodes.add(family.asks, nodes.thing(phrases[0]))
    else:
        nodes.add(family.asks, nodes.objects(phrases[0]))
    return nodes.nodes


def referring(phrase: Phrase) -> list[dict[str, Any]]:
    """The functional program, in the released form, that finds the one object of a phrase."""
    nodes = _Nodes()
    nodes.thing(phrase)
    return nodes.nodes


class _Nodes:
    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def add(self, function: str, *inputs: int, value: str | None = None) -> int:
        values = [] if value is None else [value]
        self.nodes.append({"inputs": list(inputs), "function": function, "value_inputs": values})
        return len(self.nodes) - 1

    def thing(self, phrase: Phrase) -> int:
        return self.add("unique", self.objects(phrase))

    def objects(self, phrase: Phrase) -> int:
        place = self._candidates(phrase.condition)
        for attribute, value in zip(ATTRIBUTES, phrase.description, strict=True):
            if value is not None:
                place = self.add(f"filter_{attribute}", place, value=value)
        return place

    def _candidates(self, condition: PhraseCondition | None) -> int:
        match condition:
            case None:
                return self.add("scene")
            case Related():
                return self._related(condition)
            case Both():
                second = self._related(condition.second)
                return self.add("intersect", second, self._related(condition.first))
            case Same():
                return self.add(f"same_{condition.attribute}", self.thing(condition.of))
            case Either():
                return self.add("union", self.objects(condition.first), self.objects(condition.second))

    def _related(self, related: Related) -> int:
        return self.add("relate", self.thing(related.of), value=related.relation)

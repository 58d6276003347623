"""Described sets of objects, which questions are about, and the programs that find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from fusion_bench.data.miniclevr.questions.families import Family
from fusion_bench.data.programs import ATTRIBUTES

Description: TypeAlias = tuple[str | None, str | None, str | None, str | None]
"""Size, color, material and shape; None for attributes that are not named."""

ANYTHING: Description = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Related:
    """The condition that an object is in ``relation`` to the one object that ``of`` describes."""

    relation: str
    of: Phrase


@dataclass(frozen=True, slots=True)
class Both:
    """The condition that two relations hold at once."""

    first: Related
    second: Related


@dataclass(frozen=True, slots=True)
class Same:
    """The condition that another object shares ``attribute`` with the one object that ``of`` describes."""

    attribute: str
    of: Phrase


@dataclass(frozen=True, slots=True)
class Either:
    """The condition that an object is described by the first or the second phrase."""

    first: Phrase
    second: Phrase


PhraseCondition: TypeAlias = Related | Both | Same | Either


@dataclass(frozen=True, slots=True)
class Phrase:
    """The set of objects that match the description and the condition."""

    description: Description
    condition: PhraseCondition | None = None


def question_program(family: Family, phrases: tuple[Phrase, ...]) -> list[dict[str, Any]]:
    """Return the functional program of a question in the released form.

    As in the release, filters have the order size, color, material, shape; inputs precede the nodes that use them;
    of two relations, the one mentioned last is evaluated first.

    Args:
        family: the family of the question.
        phrases: one set, or the two sets that are compared.
    """
    nodes = _Nodes()
    if family.form == "integers":
        nodes.add(family.function, *[nodes.add("count", nodes.objects(phrase)) for phrase in phrases])
    elif family.form == "attributes":
        values = [nodes.add(f"query_{family.attribute}", nodes.thing(phrase)) for phrase in phrases]
        nodes.add(family.function, *values)
    elif family.queried:
        nodes.add(family.function, nodes.thing(phrases[0]))
    else:
        nodes.add(family.function, nodes.objects(phrases[0]))
    return nodes.nodes


def reference_program(phrase: Phrase) -> list[dict[str, Any]]:
    """Return the functional program, in the released form, that finds the one object of a phrase."""
    nodes = _Nodes()
    nodes.thing(phrase)
    return nodes.nodes


class _Nodes:
    """A program under construction; each method returns the index of the node that it adds."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def add(self, function: str, *inputs: int, value: str | None = None) -> int:
        values = [] if value is None else [value]
        self.nodes.append({"inputs": list(inputs), "function": function, "value_inputs": values})
        return len(self.nodes) - 1

    def thing(self, phrase: Phrase) -> int:
        return self.add("unique", self.objects(phrase))

    def objects(self, phrase: Phrase) -> int:
        node = self._candidates(phrase.condition)
        for attribute, value in zip(ATTRIBUTES, phrase.description, strict=True):
            if value is not None:
                node = self.add(f"filter_{attribute}", node, value=value)
        return node

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

"""The executor of CLEVR's functional programs on scenes in the released schema.

The functions are those of Johnson et al., "CLEVR: A Diagnostic Dataset for Compositional Language and Elementary
Visual Reasoning", CVPR 2017 (section 3.2 and supplement). A set of objects is an integer whose bit ``i`` stands for
object ``i``, so a filter is one ``&``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fusion_bench.errors import DataError

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "size": ("large", "small"),
    "color": ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow"),
    "material": ("rubber", "metal"),
    "shape": ("cube", "sphere", "cylinder"),
}
RELATIONS = ("left", "right", "behind", "front")
ANSWERS: tuple[str, ...] = (
    "yes",
    "no",
    *map(str, range(11)),
    *(value for values in ATTRIBUTES.values() for value in values),
)

ProgramNode: TypeAlias = Mapping[str, Any]


class ProgramError(DataError):
    """The error of a program without an answer: it is malformed, or applies ``unique`` to no or several objects."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a scene of ``n`` objects that programs use, as bit sets.

    Attributes:
        everything: all objects.
        having: attribute value -> the objects with this value (no two attributes of CLEVR share a value).
        related: relation -> for each object, the objects in that relation to it.
        same: attribute -> for each object, the *other* objects with the same value.
        values: attribute -> the value of each object.
    """

    everything: int
    having: Mapping[str, int]
    related: Mapping[str, tuple[int, ...]]
    same: Mapping[str, tuple[int, ...]]
    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, scene: Mapping[str, Any]) -> Facts:
        """Return the facts of a scene of a released scenes file (keys ``objects`` and ``relationships``).

        Raises:
            DataError: a key is missing, a value is not one of CLEVR's, or a relation contains an unknown object.
        """
        try:
            objects, relationships = scene["objects"], scene["relationships"]
            values = {name: tuple(thing[name] for thing in objects) for name in ATTRIBUTES}
            related = {name: tuple(map(_to_bits, relationships[name])) for name in RELATIONS}
        except KeyError as error:
            raise DataError(
                f"{_name(scene)} has no key {error}; scenes must follow the CLEVR v1.0 schema"
            ) from error
        everything = (1 << len(objects)) - 1
        having = {value: 0 for known in ATTRIBUTES.values() for value in known}
        for name, column in values.items():
            for number, value in enumerate(column):
                if value not in ATTRIBUTES[name]:
                    raise DataError(f"{_name(scene)}: object {number} has the unknown {name} {value!r}")
                having[value] |= 1 << number
        for name, sets in related.items():
            if len(sets) != len(objects) or any(members & ~everything for members in sets):
                raise DataError(
                    f"{_name(scene)}: the relation {name!r} does not fit its {len(objects)} objects"
                )
        same = {
            name: tuple(having[value] & ~(1 << number) for number, value in enumerate(column))
            for name, column in values.items()
        }
        return cls(everything, having, related, same, values)


def _to_bits(members: Sequence[int]) -> int:
    bits = 0
    for member in members:
        bits |= 1 << member
    return bits


def _name(scene: Mapping[str, Any]) -> str:
    return f"the scene of {scene.get('image_filename', 'an unnamed image')}"


def execute(program: Sequence[ProgramNode], facts: Facts) -> str:
    """Run a program in the released form (``function``, ``inputs``, ``value_inputs`` per node) and return its answer.

    Args:
        program: nodes in topological order; the last one gives the answer.
        facts: the facts of the scene.

    Returns:
        One of `ANSWERS`.

    Raises:
        ProgramError: the program is malformed, or applies ``unique`` to a set of no or several objects.
    """
    function, answer = _run(program, facts)
    if function not in _ANSWERING:
        raise ProgramError(f"the program ends in {function or 'nothing'!r}, which returns no answer")
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer)


def find(program: Sequence[ProgramNode], facts: Facts) -> int:
    """Return the number of the object that a program finds; the program ends in ``unique``.

    Raises:
        ProgramError: the program is malformed, or finds no or several objects.
    """
    function, thing = _run(program, facts)
    if function != "unique":
        raise ProgramError(
            f"the program ends in {function or 'nothing'!r}, which does not return a single object"
        )
    return int(thing)


def _run(program: Sequence[ProgramNode], facts: Facts) -> tuple[str, Any]:
    """Run a program; return its last function and the result."""
    results: list[Any] = []
    function = ""
    for number, node in enumerate(program):
        try:
            function = node["function"]
            arguments = [results[index] for index in node["inputs"]]
            results.append(_FUNCTIONS[function](facts, *arguments, *node["value_inputs"]))
        except ProgramError as error:
            raise ProgramError(f"node {number} ({function}): {error}") from None
        except (KeyError, IndexError, TypeError) as error:
            raise ProgramError(
                f"node {number} ({node!r}) is not a node of CLEVR's released programs, whose keys are "
                f"'function', 'inputs' and 'value_inputs' ({type(error).__name__}: {error})"
            ) from error
    return function, results[-1] if results else None


def _filter(attribute: str) -> Callable[[Facts, int, str], int]:
    known = frozenset(ATTRIBUTES[attribute])

    def run(facts: Facts, chosen: int, value: str) -> int:
        if value not in known:
            raise ProgramError(f"{value!r} is not a value of {attribute}")
        return chosen & facts.having[value]

    return run


def _unique(facts: Facts, chosen: int) -> int:
    del facts
    if chosen.bit_count() != 1:
        raise ProgramError(f"the set has {chosen.bit_count()} objects, not one")
    return chosen.bit_length() - 1


def _same(attribute: str) -> Callable[[Facts, int], int]:
    return lambda facts, thing: facts.same[attribute][thing]


def _query(attribute: str) -> Callable[[Facts, int], str]:
    return lambda facts, thing: facts.values[attribute][thing]


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "scene": lambda facts: facts.everything,
    "unique": _unique,
    "relate": lambda facts, thing, relation: facts.related[relation][thing],
    "union": lambda _, first, second: first | second,
    "intersect": lambda _, first, second: first & second,
    "count": lambda _, chosen: chosen.bit_count(),
    "exist": lambda _, chosen: chosen != 0,
    "equal_integer": lambda _, first, second: first == second,
    "less_than": lambda _, first, second: first < second,
    "greater_than": lambda _, first, second: first > second,
    **{f"filter_{name}": _filter(name) for name in ATTRIBUTES},
    **{f"same_{name}": _same(name) for name in ATTRIBUTES},
    **{f"query_{name}": _query(name) for name in ATTRIBUTES},
    **{f"equal_{name}": lambda _, first, second: first == second for name in ATTRIBUTES},
}
_ANSWERING = frozenset(
    name for name in _FUNCTIONS if name.partition("_")[0] in {"query", "equal", "less", "greater"}
)
_ANSWERING |= {"count", "exist"}

"""Checks of the inputs that a module reads, in both directions, and of the position of their effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_bench.checking.subject import (
    TOLERANCE,
    CheckFailed,
    NotApplicable,
    Subject,
    difference,
    image,
    language,
)
from fusion_bench.contract import FusionModule, Language


def reacts(subject: Subject) -> str:
    """Every input that the module declares to read changes its output, with all parameters perturbed."""
    module = subject.perturbed()
    expected = module(image(), language())
    for what, inputs in _changes().items():
        if what in _declared(module) and difference(module(*inputs), expected) <= TOLERANCE:
            raise CheckFailed(
                f"other {what}, same output", f"use the {what}, or do not declare to (reads, listens)"
            )
    return (
        f"to {', '.join(sorted(_declared(module)))}" if _declared(module) else "it declares to read nothing"
    )


def ignores(subject: Subject) -> str:
    """An input that the module does not declare to read has no effect: the output is the same bit for bit."""
    module = subject.perturbed()
    expected = module(image(), language())
    for what, inputs in _changes().items():
        if what not in _declared(module) and not torch.equal(module(*inputs), expected):
            raise CheckFailed(
                f"it does not declare to read the {what}, yet its output changes with it",
                f"declare it (reads, listens), or leave the {what} alone",
            )
    unread = sorted(_changes().keys() - _declared(module))
    return f"the {', the '.join(unread)}" if unread else "it declares to read everything"


def _declared(module: FusionModule) -> frozenset[str]:
    """Return those of ``image``, ``words``, ``sentence`` that ``reads`` and ``listens`` declare."""
    heard = {"words": {"words"}, "sentence": {"sentence"}, "both": {"words", "sentence"}}
    return frozenset((module.reads & {"image"}) | heard.get(module.listens, set()))


def _changes() -> dict[str, tuple[Tensor, Language]]:
    heard, other = language(), language(seed=1)
    return {
        "image": (image(seed=1), heard),
        "words": (image(), Language(other.words, heard.mask, heard.sentence)),
        "sentence": (image(), Language(heard.words, heard.mask, other.sentence)),
    }


@dataclass(frozen=True)
class Misplacement:
    """A wrong order of positions: ``to`` maps a (row, column) to its wrong position on ``height x width``."""

    name: str
    height: int
    width: int
    to: Callable[[int, int], tuple[int, int]]


# A square map with more than 36 positions, so that modules with a pooled grid do pool, and one that is not square.
_MISPLACEMENTS = (
    Misplacement("the transposed position", 7, 7, lambda row, column: (column, row)),
    Misplacement(
        "the position in a transposed map that is read as H x W",
        4,
        6,
        lambda row, column: divmod(column * 4 + row, 6),
    ),
    Misplacement(
        "the position in a map that is read as W x H and transposed",
        4,
        6,
        lambda row, column: divmod(row * 6 + column, 4)[::-1],
    ),
)
_DRAWS, _SPOTS = 3, 8
_NOTHING = 1e-9
_REMEDY = "check the order of H and W wherever positions are flattened and laid out again"


def places(subject: Subject) -> str:
    """A change at a position has its effect at this position, not at the transposed position.

    One position of the map is changed at a time. The change of the output is measured at every position, minus the
    change that is common to all positions (such as a vector added everywhere). Two conditions must hold, for several
    random modules:

    - if only part of the output changes (pointwise modules, windows), this part contains the changed position;
    - the transposed position is not special: among the positions at the same distance from the changed position, it
      changes most in at most half of the trials. By chance it does so in one of 4 to 24. A global mixture spreads a
      change according to the values, and a position code favours rows, columns or near positions; neither prefers
      the transposed position. An attention map that is added transposed to a correct residual changes the transposed
      position most in nearly every trial.
    """
    if "image" not in subject.kind.reads:
        raise NotApplicable("it does not read the image")
    pools = True
    for wrong in _MISPLACEMENTS:
        hits = trials = 0
        for draw in range(_DRAWS):
            for row, column, change in _changed(subject.perturbed(seed=draw), wrong, draw):
                if not change.max() > _NOTHING:
                    continue  # all positions changed by the same amount
                pools = False
                # A global effect may leave single positions unchanged; a local effect must include this position.
                if change[row, column] <= _NOTHING and change.median() <= _NOTHING:
                    raise CheckFailed(
                        f"a change at row {row}, column {column} of a {wrong.height}x{wrong.width} map changes "
                        "the output at other positions and not there",
                        _REMEDY,
                    )
                rivals = _rivals(change, row, column, wrong.to(row, column))
                if rivals is not None:
                    trials += 1
                    hits += float(change[wrong.to(row, column)]) > 1.001 * float(rivals.max()) + _NOTHING
        if trials and hits > trials / 2:
            raise CheckFailed(
                f"a change at a position changes the output most at {wrong.name}, in {hits} of {trials} trials",
                _REMEDY,
            )
    return "it pools: a change at one position changes all positions by the same amount" if pools else ""


def _changed(module: FusionModule, wrong: Misplacement, draw: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yield row, column and the change at each position ``[H, W]``, minus the common change, per changed position."""
    height, width = wrong.height, wrong.width
    spots = [
        (row, column)
        for row in range(height)
        for column in range(width)
        if wrong.to(row, column) != (row, column)
    ]
    spots = spots[draw :: len(spots) // _SPOTS][:_SPOTS]
    base, heard = image(1, height, width, seed=10 + draw), language((5,), seed=10 + draw)
    maps = base.repeat(1 + len(spots), 1, 1, 1)
    fresh = 2 * image(len(spots), 1, 1, seed=20 + draw)[:, :, 0, 0]
    for index, (row, column) in enumerate(spots):
        maps[1 + index, :, row, column] = fresh[index]
    many = Language(
        *(part.expand(len(maps), *part.shape[1:]) for part in (heard.words, heard.mask, heard.sentence))
    )
    with torch.no_grad():
        out = module(maps, many)
    moved = (out[1:] - out[:1]).flatten(2)  # [P, C', HW]
    beyond = moved - moved.median(dim=2, keepdim=True).values
    size = beyond.norm(dim=1).unflatten(1, (height, width)) / out.norm(dim=1).mean()  # [P, H, W]
    for (row, column), change in zip(spots, size, strict=True):
        yield row, column, change


def _rivals(change: Tensor, row: int, column: int, target: tuple[int, int]) -> Tensor | None:
    """Return the changes at the other positions as far from (row, column) as ``target``; None if fewer than 3."""
    rows = torch.arange(change.shape[0])[:, None].sub(row).abs()
    columns = torch.arange(change.shape[1])[None].sub(column).abs()
    distance = torch.maximum(rows.expand_as(change), columns.expand_as(change))
    ring = distance == distance[target]
    ring[target] = False
    return change[ring] if int(ring.sum()) >= 3 else None

"""What a module reads, proved in both directions; and that what it reads at a place, it answers at that place."""

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
    """Every input that it declares to read changes its output, once all parameters are perturbed."""
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
    """What it does not declare to read has no effect at all: same output, bit for bit."""
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
    """``image``, ``words``, ``sentence``: those that ``reads`` and ``listens`` speak of."""
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
    """A way to put a map down wrongly: ``to`` leads from a (row, column) to where it lands on ``height x width``."""

    name: str
    height: int
    width: int
    to: Callable[[int, int], tuple[int, int]]


# A square map large enough that modules which pool to 36 cells do so, and one that is not square.
_MISPLACEMENTS = (
    Misplacement("its transposed place", 7, 7, lambda row, column: (column, row)),
    Misplacement(
        "the place of a transposed map read as H x W", 4, 6, lambda row, column: divmod(column * 4 + row, 6)
    ),
    Misplacement(
        "the place of a map read as W x H and transposed",
        4,
        6,
        lambda row, column: divmod(row * 6 + column, 4)[::-1],
    ),
)
_DRAWS, _SPOTS = 3, 8
_NOTHING = 1e-9
_REMEDY = "check the order of H and W wherever positions are flattened and laid out again"


def places(subject: Subject) -> str:
    """What is seen at a place is answered there, not at its transposed place.

    One position of a map is changed at a time, and the change of the output is measured everywhere, beyond
    what changed at all positions alike (a tiled answer). Two things must hold, for several random modules:

    - where only part of the map changes (pointwise modules, windows), the changed position is in that part;
    - the place where a transposed map would put it does not stand out: among the places at the same distance
      from the changed position it is the most changed one in no more than half of the trials. By chance it is
      so in one of 4 to 24. A global mixture spreads a change over places that its values choose, a position
      code favours rows, columns or nearness; none of them knows the transposed place. An attention map that is
      added transposed, beside a correct residual, changes that one place most in nearly every trial.
    """
    if "image" not in subject.kind.reads:
        raise NotApplicable("it does not read the image")
    pools = True
    for wrong in _MISPLACEMENTS:
        hits = trials = 0
        for draw in range(_DRAWS):
            for row, column, change in _changed(subject.perturbed(seed=draw), wrong, draw):
                if not change.max() > _NOTHING:
                    continue  # all positions changed alike, as a tiled answer does
                pools = False
                # A global answer may leave single places as they were; a local one must not leave this one.
                if change[row, column] <= _NOTHING and change.median() <= _NOTHING:
                    raise CheckFailed(
                        f"a change at row {row}, column {column} of a {wrong.height}x{wrong.width} map shows "
                        "elsewhere and not there",
                        _REMEDY,
                    )
                rivals = _rivals(change, row, column, wrong.to(row, column))
                if rivals is not None:
                    trials += 1
                    hits += float(change[wrong.to(row, column)]) > 1.001 * float(rivals.max()) + _NOTHING
        if trials and hits > trials / 2:
            raise CheckFailed(
                f"a change at a position changes {wrong.name} most, in {hits} of {trials} trials",
                _REMEDY,
            )
    return "it pools: a change at one position changes all alike" if pools else ""


def _changed(module: FusionModule, wrong: Misplacement, draw: int) -> Iterator[tuple[int, int, Tensor]]:
    """For positions off the diagonal: row, column, and how much each place ``[H, W]`` changed beyond the common."""
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
    """Changes at the other places as far from (row, column) as ``target``; None where they are fewer than 3."""
    rows = torch.arange(change.shape[0])[:, None].sub(row).abs()
    columns = torch.arange(change.shape[1])[None].sub(column).abs()
    distance = torch.maximum(rows.expand_as(change), columns.expand_as(change))
    ring = distance == distance[target]
    ring[target] = False
    return change[ring] if int(ring.sum()) >= 3 else None

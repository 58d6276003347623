"""The settings of the arms as ``plan`` shows them: trained, chosen by a search, or still to be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_bench.contract import Choice, Space
from fusion_bench.spec.arms import Arm
from fusion_bench.spec.study import Study

NOT_CHOSEN = "the search has not chosen its settings"
"""The reason why a cell is missing whose settings, and so whose id, are not known yet."""


def space_to_search(study: Study, arm: Arm) -> Mapping[str, Space]:
    """Return the values from which a search will choose; empty without a search and after it.

    Args:
        study: the study as written.
        arm: one of its arms, or that arm after the search.
    """
    return {} if study.search is None or arm.searched or arm.abandoned else study.search.space_of(arm)


def settings_text(study: Study, arm: Arm) -> str:
    """Return ``depth=2, kernel_size searched over [3, 5]``, or ``kernel_size=5 (chosen by search)`` after the search.

    Args:
        study: the study as written.
        arm: one of its arms, or that arm after the search.
    """
    space = space_to_search(study, arm)
    later = set(_widths(study, arm)) if space else set()
    marks = dict.fromkeys(arm.searched, " (chosen by search)")
    marks |= dict.fromkeys(later, " (matched again after the search)")
    known = [f"{key}={value}{marks.get(key, '')}" for key, value in arm.factors.items() if key not in space]
    return ", ".join([*known, *(f"{key} searched over {_text(values)}" for key, values in space.items())])


def settings_json(study: Study, arm: Arm) -> dict[str, Any]:
    """Return ``settings``, and of a study with a search also ``chosen_by_search`` and the ``search_space`` to come.

    Args:
        study: the study as written.
        arm: one of its arms, or that arm after the search.
    """
    space = space_to_search(study, arm)
    unknown = {*space, *(_widths(study, arm) if space else ())}
    shown: dict[str, Any] = {
        "settings": {key: value for key, value in arm.factors.items() if key not in unknown}
    }
    if study.search is not None:
        shown["chosen_by_search"] = list(arm.searched)
        shown["search_space"] = {key: _json(values) for key, values in space.items()}
    return shown


def _widths(study: Study, arm: Arm) -> tuple[str, ...]:
    """Return the width that the budget of the study chooses for an arm; empty if it chooses none."""
    width = None if study.budget is None else study.budget.widths.get(arm.label)
    return () if width is None else (width.argument,)


def _text(space: Space) -> str:
    if isinstance(space, Choice):
        return f"[{', '.join(map(str, space.values))}]"
    return f"{space.low:g} to {space.high:g}{' (log)' if space.log else ''}"


def _json(space: Space) -> Any:
    return list(space.values) if isinstance(space, Choice) else vars(space)

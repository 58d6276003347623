"""An arm of a study with all its settings, and the function that changes them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fusion_bench.errors import StudyFileError, bounded_line
from fusion_bench.registry import Target
from fusion_bench.training.config import CellConfig, Component, Json

if TYPE_CHECKING:
    from fusion_bench.spec.signatures import Signature

Role = Literal["reference", "arm", "control"]


@dataclass(frozen=True)
class BudgetMatch:
    """The distance of an arm from the budget that its study matches.

    Attributes:
        distance: the arm's fusion cost divided by the budget, minus 1; None where the cost cannot be counted.
        unranked: the reason why the arm is not ranked; empty for a ranked arm.
    """

    distance: float | None
    unranked: str = ""


@dataclass(frozen=True)
class Arm:
    """One thing under comparison.

    Attributes:
        label: the arm's name in the study.
        role: ``reference``, ``arm`` or ``control``.
        component: the module or network, as the study names it.
        config: the settings of its cells, with seed 0; ``dataclasses.replace(config, seed=s)`` gives those of a cell.
        factors: the values in which arms differ, by setting or study key (``kernel_size``, ``train.learning_rate``):
            those that the arm writes, or for ``vary`` the value of every key that any arm varies.
        abandoned: the reason why the arm is not trained (its search found no settings); empty if it is trained.
        budget_match: the arm's distance from the budget; None if the study matches no budget.
    """

    label: str
    role: Role
    component: str
    config: CellConfig
    factors: Mapping[str, Json] = field(default_factory=dict)
    abandoned: str = ""
    budget_match: BudgetMatch | None = None


def with_settings(config: CellConfig, settings: Mapping[str, Json]) -> CellConfig:
    """Return the settings of a cell with some values replaced.

    Args:
        config: the settings of the arm's cells.
        settings: new values by the keys of `Arm.factors`: settings of the arm's class, ``train.*`` and ``fusion.*``.

    Raises:
        StudyFileError: a value does not have the type of its setting.
    """
    own = dict(config.arm.settings)
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        if dot:
            changed: dict[str, Any] = {section: replace(getattr(config, section), **{name: value})}
            config = replace(config, **changed)
        else:
            own[key] = value
    signature = _signature(config.arm.target)
    try:
        validated = signature.adapter.validate_json(json.dumps(own), strict=True)
    except ValueError as error:
        raise StudyFileError(
            f"{config.arm.target.asked} does not accept the settings {own}: {bounded_line(str(error))}"
        ) from error
    return replace(config, arm=Component(config.arm.target, signature.without_defaults(validated)))


@functools.lru_cache(maxsize=256)  # matching a budget reads the same few signatures many times
def _signature(target: Target) -> Signature:
    from fusion_bench.spec.signatures import signature_of  # noqa: PLC0415 - bare machines have no pydantic

    return signature_of(target.load())

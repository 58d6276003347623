"""An arm of a study with all its settings, and the function that changes them."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fusion_bench.errors import StudyFileError, bounded_line
from fusion_bench.registry import Target
from fusion_bench.serialisation import to_json
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
        setting: the setting whose value is chosen to match it; empty if there is none, or the study fixes it.
    """

    distance: float | None
    unranked: str = ""
    setting: str = ""


@dataclass(frozen=True)
class Arm:
    """One thing under comparison.

    Attributes:
        label: the arm's name in the study.
        role: ``reference``, ``arm`` or ``control``.
        component: the module or network, as the study names it.
        config: the settings of its cells, with seed 0; ``dataclasses.replace(config, seed=s)`` gives those of a cell.
        factor_names: the settings and study keys in which arms differ (``kernel_size``, ``train.learning_rate``):
            those that the arm writes (for ``vary``, every key that any arm varies), that a matched budget chose and
            that a search chose.
        searched: those of ``factor_names`` that a search chose.
        abandoned: the reason why the arm is not trained (its search found no settings); empty if it is trained.
        budget_match: the arm's distance from the budget; None if the study matches no budget.
    """

    label: str
    role: Role
    component: str
    config: CellConfig
    factor_names: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    abandoned: str = ""
    budget_match: BudgetMatch | None = None

    @property
    def factors(self) -> dict[str, Json]:
        """The values of ``factor_names`` with which the arm's cells are trained."""
        return settings_of(self.config, self.factor_names)

    def having(self, settings: Mapping[str, Json]) -> Arm:
        """Return the arm with some settings replaced, which then are among its factors.

        Raises:
            StudyFileError: as `with_settings`.
        """
        names = tuple(dict.fromkeys((*self.factor_names, *settings)))
        return replace(self, config=with_settings(self.config, settings), factor_names=names)


def settings_of(config: CellConfig, names: Iterable[str]) -> dict[str, Json]:
    """Return the values with which a cell is trained, defaults included.

    Args:
        config: the settings of the cell.
        names: settings of the arm's class (``kernel_size``), settings of the text encoder (``text.embedding``) and
            keys of the study's other sections (``fusion.depth``).
    """
    return {name: _setting(config, name) for name in names}


def _setting(config: CellConfig, key: str) -> Json:
    section, dot, name = key.partition(".")
    if not dot:
        return _component_setting(config.arm, key)
    if section == "text":
        return config.text.target.asked if name == "encoder" else _component_setting(config.text, name)
    value: Json = to_json(getattr(getattr(config, section), name, None))  # a network has no backbone
    return value or _default_head(config) if key == "head.kind" else value


def _component_setting(component: Component, name: str) -> Json:
    return component.settings.get(name, _signature(component.target).defaults.get(name))


def _default_head(config: CellConfig) -> Json:
    from fusion_bench.training.splits import task_class  # noqa: PLC0415 - imports torch

    return next(iter(task_class(config.data).heads), "")


def with_settings(config: CellConfig, settings: Mapping[str, Json]) -> CellConfig:
    """Return the settings of a cell with some values replaced.

    Args:
        config: the settings of the arm's cells.
        settings: new values by the keys of `Arm.factors`: settings of the arm's class, ``train.*`` and ``fusion.*``.

    Raises:
        StudyFileError: a value does not have the type of its setting or key.
    """
    own = dict(config.arm.settings)
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        if dot:
            changed: dict[str, Any] = {
                section: replace(getattr(config, section), **{name: _validated_key(section, name, value)})
            }
            config = replace(config, **changed)
        else:
            own[key] = value
    signature = _signature(config.arm.target)
    try:
        validated = signature.adapter.validate_json(json.dumps(own), strict=True)
    except ValueError as error:
        raise StudyFileError(
            f"{config.arm.target.asked} does not accept the settings {own}: {bounded_line(_reason(error))}"
        ) from error
    return replace(config, arm=Component(config.arm.target, signature.without_defaults(validated)))


def _validated_key(section: str, name: str, value: Json) -> Any:
    """Return a value of ``train`` or ``fusion`` as the section reads it: 0 becomes 0.0 where a number is meant.

    The id of a cell hashes values, so each spelling of a value must become the same value first.

    Raises:
        StudyFileError: the section does not accept the value.
    """
    from fusion_bench.spec.document.sections import SECTIONS  # noqa: PLC0415 - bare machines have no pydantic

    try:
        validated = SECTIONS[section].model_validate_json(json.dumps({name: value}), strict=True)
    except ValueError as error:
        raise StudyFileError(f"{section}.{name} does not accept {value!r}: {_reason(error)}") from error
    return getattr(validated, name)


def _reason(error: ValueError) -> str:
    """Return the first mistake that a validation error lists, as one line."""
    details: list[dict[str, Any]] = getattr(error, "errors", list)()
    return f"{'.'.join(map(str, details[0]['loc']))}: {details[0]['msg']}" if details else str(error)


@functools.lru_cache(maxsize=256)  # matching a budget reads the same few signatures many times
def _signature(target: Target) -> Signature:
    from fusion_bench.spec.signatures import signature_of  # noqa: PLC0415 - bare machines have no pydantic

    return signature_of(target.load())

"""One thing under comparison, decided in full, and how its settings are changed."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fusion_bench.errors import StudyFileError
from fusion_bench.registry import Target
from fusion_bench.training.config import CellConfig, Component, Json

if TYPE_CHECKING:
    from fusion_bench.spec.signatures import Signature

Role = Literal["reference", "arm", "control"]


@dataclass(frozen=True)
class Fit:
    """How an arm stands to the budget that its study matches.

    Attributes:
        distance: its fusion cost over the budget, less 1; None where it cannot be counted.
        unranked: why it gets no verdict; empty if it may have one.
    """

    distance: float | None
    unranked: str = ""


@dataclass(frozen=True)
class Arm:
    """One thing under comparison.

    Attributes:
        label: its name in the study.
        role: ``reference``, ``arm`` or ``control``.
        component: what it is, as the study names it.
        config: what its cells are asked, with seed 0; ``dataclasses.replace(config, seed=s)`` for a cell.
        factors: what sets it apart, flat (``kernel_size``, ``train.learning_rate``): what it writes, or for
            ``vary`` the value of every key that any arm varies.
        abandoned: why it is not trained (a search found no settings for it); empty if it is.
        fit: how it stands to the budget; None where none is matched.
    """

    label: str
    role: Role
    component: str
    config: CellConfig
    factors: Mapping[str, Json] = field(default_factory=dict)
    abandoned: str = ""
    fit: Fit | None = None


def with_settings(config: CellConfig, settings: Mapping[str, Json]) -> CellConfig:
    """A cell's settings with some of them replaced: what a trial of a search trains.

    Args:
        config: the arm's settings.
        settings: by the keys of `Arm.factors`: settings of the arm's class, ``train.*`` and ``fusion.*``.

    Raises:
        StudyFileError: a value does not fit its setting.
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
        raise StudyFileError(f"{config.arm.target.asked} cannot take {own}: {error}") from error
    return replace(config, arm=Component(config.arm.target, signature.kept(validated)))


@functools.lru_cache(maxsize=256)  # matching a budget asks for the same few classes over and over
def _signature(target: Target) -> Signature:
    from fusion_bench.spec.signatures import signature_of  # noqa: PLC0415 - bare machines have no pydantic

    return signature_of(target.load())

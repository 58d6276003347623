"""One thing under comparison, decided in full, and how its settings are changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fusion_bench.errors import StudyFileError
from fusion_bench.study.results import Role
from fusion_bench.training.config import CellConfig, Component, Json


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
    """

    label: str
    role: Role
    component: str
    config: CellConfig
    factors: Mapping[str, Json] = field(default_factory=dict)
    abandoned: str = ""


def with_settings(config: CellConfig, settings: Mapping[str, Json]) -> CellConfig:
    """A cell's settings with some of them replaced: what a trial of a search trains.

    Args:
        config: the arm's settings.
        settings: by the keys of `Arm.factors`: settings of the arm's class, ``train.*`` and ``fusion.*``.

    Raises:
        StudyFileError: a value does not fit its setting.
    """
    from fusion_bench.study.signatures import signature_of  # noqa: PLC0415 - bare machines have no pydantic

    own = dict(config.arm.settings)
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        if dot:
            changed: dict[str, Any] = {section: replace(getattr(config, section), **{name: value})}
            config = replace(config, **changed)
        else:
            own[key] = value
    signature = signature_of(config.arm.target.load())
    try:
        validated = signature.adapter.validate_json(json.dumps(own), strict=True)
    except ValueError as error:
        raise StudyFileError(f"{config.arm.target.reference} cannot take {own}: {error}") from error
    return replace(config, arm=Component(config.arm.target, signature.kept(validated)))

"""The surroundings of an arm: every setting of its cells but the arm itself and the seed, by the study's keys.

The settings in which an arm differs as its study says (its factors) belong to the arm. What the other arms of the
study have in common are the surroundings of the study.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from fusion_bench.registry import Target
from fusion_bench.serialisation import to_json
from fusion_bench.storage import canonical, digest
from fusion_bench.training.config import BackboneConfig, CellConfig, Component

BACKBONE = "whether the backbone is trained from scratch"
"""The key under which a module and an end-to-end network are compared, which has no backbone of its own."""
DEFAULT = "its default"
"""The value of a setting that a component has and a study does not write."""


@dataclass(frozen=True)
class ArmSettings:
    """The settings of an arm, and the names of those in which it differs as its study says."""

    config: CellConfig
    factors: frozenset[str]


def common_settings(arms: Collection[ArmSettings], keys: Iterable[str] = ()) -> dict[str, frozenset[str]]:
    """Return the values of each setting outside the arm, as texts.

    The values are those of the arms that do not differ in this setting as their study says; where every arm differs
    in it so, those of all.

    Args:
        arms: the arms of a study.
        keys: further settings; one that no arm writes has its default.
    """
    flat = [(arm.factors, settings_around(arm.config)) for arm in arms]
    found = {}
    for key in dict.fromkeys((*(key for _, settings in flat for key in settings), *keys)):
        values = [(factors, _value(settings, key)) for factors, settings in flat]
        fixed = {value for factors, value in values if value is not None and key not in factors}
        if known := fixed or {value for _, value in values if value is not None}:
            found[key] = frozenset(known)
    return found


def _value(settings: Mapping[str, str], key: str) -> str | None:
    """Return a setting; None for one of a part that the arm does not have, such as the slot of a network."""
    section = key.rpartition(".")[0]
    has_part = any(name.rpartition(".")[0] == section for name in settings)
    return settings.get(key, DEFAULT if has_part else None)


def settings_around(config: CellConfig) -> dict[str, str]:
    """Return the settings of a cell outside its arm, as texts by the keys of a study (``fusion.depth``).

    An end-to-end network has neither a slot nor a backbone.
    """
    return dict(_around(config))


def _around(config: CellConfig) -> Iterator[tuple[str, str]]:
    yield from _component(config.data.adapter, "data", "data.adapter")
    yield from _fields(config.data, "data", skipped={"adapter"})
    yield BACKBONE, _scratch(config.backbone)
    if config.kind == "module":
        yield from _fields(config.backbone or "no backbone", "backbone")
        yield from _fields(config.fusion, "fusion")
    yield from _component(config.text, "text", "text.encoder")
    yield from _fields(config.head, "head")
    yield from _fields(config.train, "train", skipped={"checkpoint"})
    yield "threads", str(config.threads)
    if config.start is None:
        yield "start", "none"
    else:
        yield from ((f"start.{key}", value) for key, value in _around(config.start))


def _scratch(backbone: BackboneConfig | None) -> str:
    return "yes" if backbone is None or (backbone.weights == "random" and not backbone.frozen) else "no"


def _component(component: Component, section: str, name: str) -> Iterator[tuple[str, str]]:
    yield name, _identity(component.target)
    for key, value in component.settings.items():
        yield f"{section}.{key}", canonical(to_json(value))


def _identity(target: Target) -> str:
    if target.source is None:
        return target.asked
    return f"{target.reference} (file {digest(target.source)})"


def _fields(section: Any, name: str, skipped: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    if isinstance(section, str):
        yield name, section
        return
    for item in fields(section):
        if item.name not in skipped:
            value = getattr(section, item.name)
            yield f"{name}.{item.name}", value if isinstance(value, str) else canonical(to_json(value))

"""``studies/schema.json``: the JSON schema of study files for editors, with the components of this repository."""

from __future__ import annotations

from typing import Any

import fusion_modules
from fusion_bench.registries import DATASETS, TEXT_ENCODERS
from fusion_bench.registry import Registry
from fusion_bench.spec.catalogue import Catalogue
from fusion_bench.spec.editor.schema import schema_text

_OWN = ("fusion_bench.", "fusion_modules.")


def shipped_catalogue() -> Catalogue:
    """Return the components of this repository, without those of other installed packages."""
    return Catalogue(
        modules=Registry("module", builtin=fusion_modules.CATALOGUE),
        networks=Registry("network", builtin=fusion_modules.NETWORK_CATALOGUE),
        text_encoders=Registry("text encoder", builtin=_own(TEXT_ENCODERS)),
        datasets=Registry("data set", builtin=_own(DATASETS)),
        backbones=tuple,
        backbone_problem=lambda name, layer, image_size: None,
    )


def _own(registry: Registry[Any]) -> dict[str, str]:
    return {
        name: entry.target.reference
        for name, entry in registry.entries().items()
        if entry.target.reference.startswith(_OWN)
    }


def schema_file() -> str:
    """Return the text of the schema."""
    return schema_text(shipped_catalogue())

"""Completion of names in a shell, without an import of torch."""

from __future__ import annotations

from collections.abc import Iterable

import typer

LISTED = ("modules", "networks", "datasets", "encoders", "heads", "backbones", "studies")
"""The rows of ``fusion-bench list``."""


def complete_listed(incomplete: str) -> list[str]:
    """Return what ``fusion-bench list`` lists and starts like ``incomplete``."""
    return _starting(LISTED, incomplete)


def complete_modules(incomplete: str) -> list[str]:
    """Return the registered fusion modules whose names start like ``incomplete``."""
    from fusion_bench.registries import MODULES  # noqa: PLC0415 - other commands do not need it

    return _starting(MODULES.entries(), incomplete)


def complete_component(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the kind that ``fusion-bench list KIND`` asks for and that start like ``incomplete``."""
    from fusion_bench.registries import DATASETS, MODULES, NETWORKS, TEXT_ENCODERS  # noqa: PLC0415 - as above

    kinds = {
        "modules": (MODULES, NETWORKS),
        "networks": (NETWORKS,),
        "datasets": (DATASETS,),
        "encoders": (TEXT_ENCODERS,),
    }
    registries = kinds.get(str(ctx.params.get("what")), ())
    return _starting((name for registry in registries for name in registry.entries()), incomplete)


def complete_datasets(incomplete: str) -> list[str]:
    """Return the registered data sets whose names start like ``incomplete``."""
    from fusion_bench.registries import DATASETS  # noqa: PLC0415 - other commands do not need it

    return _starting(DATASETS.entries(), incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]

"""A package that holds weights, as pip leaves it: files, the metadata that lists them, and code that may not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_bench.encoders import packages
from fusion_bench.encoders.packages import WeightsPackage
from fusion_bench.storage import file_digest


def install(site: Path, name: str, write: Callable[[Path], object]) -> Path:
    """Install a package into the folder ``site``, which is on ``sys.path``; return the package's folder.

    Args:
        site: the folder.
        name: the name that pip would install, with hyphens.
        write: is given the package's folder and fills it.
    """
    imported = name.replace("-", "_")
    folder = site / imported
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('code of the package runs')\n")
    write(folder)
    metadata = site / f"{imported}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    files = [file for file in folder.rglob("*") if file.is_file()]
    (metadata / "RECORD").write_text("".join(f"{file.relative_to(site)},,\n" for file in files))
    return folder


def know_package(
    monkeypatch: pytest.MonkeyPatch, model: str, file: Path, distribution: str = "toy-weights"
) -> WeightsPackage:
    """Let ``weights: package`` of a timm model read a file of a package, under timm's own names."""
    package = WeightsPackage(
        distribution=distribution,
        file=f"{file.parent.name}/{file.name}",
        sha256=file_digest(file),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        names=lambda names: {name: name for name in names},
    )
    monkeypatch.setattr(packages, "PACKAGES", {**packages.PACKAGES, model: package})
    return package
